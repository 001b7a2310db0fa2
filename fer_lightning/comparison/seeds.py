"""Runs that differ in nothing but their seed, as one: mean, deviation and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fer_lightning.comparison.ranking import Group, chosen_by
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import SEEDS, identity, told


@dataclass(frozen=True)
class Repeats:
    """Runs of the same settings but for the seed.

    Attributes:
        told: the values of the settings that differ between groups of runs, as text.
        runs: at least one.
        mean: of the monitored values.
        deviation: of the sample; None for one run.
        interval: of the mean at 95 % by Student's t, which thinks of the seeds as drawn from all seeds; None for one
            run, and for runs that agree to the last digit, which would say that all seeds do.
        images: how many sets of images they were scored on; more than one where the seed also chose the images.
    """

    told: tuple[str, ...]
    runs: tuple[RecordedRun, ...]
    mean: float
    deviation: float | None
    interval: tuple[float, float] | None
    images: int


def average_seeds(groups: Sequence[Group], keys: Sequence[str]) -> list[Repeats]:
    """Unite ranked runs that one value chose and whose settings differ in seeds only; best mean first.

    Args:
        groups: ranked; a seed may have chosen the images, so they are looked through all together.
        keys: of the settings that differ between the runs.
    """
    others = [key for key in keys if key not in SEEDS]
    repeats: dict[tuple[object, ...], list[tuple[str, RecordedRun]]] = {}
    for group in groups:
        for run in group.runs:
            alike = (*chosen_by(run), run.metrics.get("split"), identity(run.settings, others))
            repeats.setdefault(alike, []).append((group.letter, run))
    found = [
        _summarise(told(members[0][1].settings, others), [run for _, run in members], len({at for at, _ in members}))
        for members in repeats.values()
    ]
    sign = {"max": -1, "min": 1}
    return sorted(found, key=lambda item: (str(item.runs[0].monitor), sign.get(item.runs[0].mode, 1) * item.mean))


def _summarise(values_told: tuple[str, ...], runs: Sequence[RecordedRun], images: int) -> Repeats:
    values = np.array([run.value for run in runs], dtype=float)
    mean = float(values.mean())
    if len(values) < 2:
        return Repeats(values_told, tuple(runs), mean, None, None, images)
    deviation = float(values.std(ddof=1))
    if deviation == 0:
        return Repeats(values_told, tuple(runs), mean, deviation, None, images)
    margin = float(stats.t.ppf(0.975, len(values) - 1) * deviation / np.sqrt(len(values)))
    return Repeats(values_told, tuple(runs), mean, deviation, (mean - margin, mean + margin), images)
