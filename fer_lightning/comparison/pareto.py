"""The Pareto front of runs with several objectives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer_lightning.runs.objectives import MODES
from fer_lightning.runs.read import RecordedRun


def pareto_front(runs: Sequence[RecordedRun], objectives: Sequence[str]) -> list[RecordedRun]:
    """Return the runs for which no other run is as good in every objective and better in one.

    Args:
        runs: ranked together, so that one score selected their checkpoints.
        objectives: names of the objectives beside that score; a run that lacks one is left out.
    """
    known = [run for run in runs if all(name in run.objectives for name in objectives)]
    signs = [1 if mode == "max" else -1 for mode in (runs[0].mode, *(MODES.get(name, "max") for name in objectives))]
    values = [[float(run.value or 0), *(run.objectives[name] for name in objectives)] for run in known]
    table = np.array(values, dtype=float).reshape(len(known), len(signs)) * signs
    beaten = [((table >= row).all(axis=1) & (table > row).any(axis=1)).any() for row in table]
    return [run for run, lost in zip(known, beaten, strict=True) if not lost]
