"""Permutation importance of settings for the score of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import SEEDS, varying

MIN_RUNS = 8  # runs; with fewer, a forest finds patterns in noise
TREES, SHUFFLES = 100, 10


@dataclass(frozen=True)
class Importance:
    """How much a random forest loses when a setting is shuffled between the runs."""

    keys: tuple[str, ...]  # of the settings, the most important first
    loss: np.ndarray  # (k,) mean loss in R² of each, 0 or more
    deviation: np.ndarray  # (k,) of that over the shuffles
    explained: float  # R² on runs that each tree had not seen, above 0

    def first(self, count: int) -> Importance:
        """Return the most important ones only."""
        return Importance(self.keys[:count], self.loss[:count], self.deviation[:count], self.explained)


def weigh_settings(runs: Sequence[RecordedRun], keys: Sequence[str]) -> Importance | str:
    """Return the importance of settings for the value that ranks runs, or a sentence that says why there is none.

    The seed may be one of the settings; its importance is noise.
    """
    if len(runs) < MIN_RUNS:
        return f"Importance of settings: needs {MIN_RUNS} finished runs on the same images, and there are {len(runs)}."
    keys = varying(keys, [run.settings for run in runs])
    if not set(keys) - set(SEEDS):
        return "Importance of settings: these runs differ in their seed only."
    values = np.array([run.value for run in runs], dtype=float)
    if np.ptp(values) == 0:
        return "Importance of settings: all these runs have the same score."
    from sklearn.ensemble import RandomForestRegressor  # half a second
    from sklearn.inspection import permutation_importance

    table = np.column_stack([encode([run.settings.values.get(key) for run in runs]) for key in keys])
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=0).fit(table, values)
    if forest.oob_score_ <= 0:
        return (
            f"Importance of settings: from these {len(runs)} runs a random forest cannot predict the score of one that"
            " it has not seen, so the importance would be noise."
        )
    found = permutation_importance(forest, table, values, n_repeats=SHUFFLES, random_state=0)
    order = np.argsort(-found.importances_mean, kind="stable")
    loss, deviation = found.importances_mean[order].clip(0), found.importances_std[order]
    return Importance(tuple(keys[at] for at in order), loss, deviation, float(forest.oob_score_))


def encode(values: Sequence[object]) -> np.ndarray:
    """Return settings as float64 `(n,)`: numbers as they are, anything else as its position in the alphabet."""
    if is_numeric(values):
        return np.array(values, dtype=float)
    return np.unique([str(value) for value in values], return_inverse=True)[1].astype(float)


def is_numeric(values: Sequence[object]) -> bool:
    """Whether all are numbers, truth values not counted."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
