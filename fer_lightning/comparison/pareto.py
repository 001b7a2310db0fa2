"""Runs that were to be good at several things at once: which of them no other beats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer_lightning.runs.objectives import MODES
from fer_lightning.runs.read import RecordedRun


def find_unbeaten(runs: Sequence[RecordedRun], objectives: Sequence[str]) -> list[RecordedRun]:
    """Return the runs that no other is as good as in everything and better than in something (Pareto's front).

    Args:
        runs: ranked together, so that one value chose them all.
        objectives: names of what they were to be good at besides; a run that lacks one is left out.
    """
    known = [run for run in runs if all(name in run.objectives for name in objectives)]
    signs = [1 if mode == "max" else -1 for mode in (runs[0].mode, *(MODES.get(name, "max") for name in objectives))]
    values = [[float(run.value or 0), *(run.objectives[name] for name in objectives)] for run in known]
    table = np.array(values, dtype=float).reshape(len(known), len(signs)) * signs
    beaten = [bool(((table >= row).all(axis=1) & (table > row).any(axis=1)).any()) for row in table]
    return [run for run, lost in zip(known, beaten, strict=True) if not lost]
