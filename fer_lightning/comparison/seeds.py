"""Average runs that differ in their seed only: mean, deviation and interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fer_lightning.comparison.ranking import Group, selection_of
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import SEEDS, identity


@dataclass(frozen=True)
class SeedGroup:
    """Runs of the same settings but for the seed.

    Attributes:
        runs: at least one.
        image_sets: how many sets of images they were scored on; more than one where the seed also chose the images.
    """

    runs: tuple[RecordedRun, ...]
    image_sets: int

    @property
    def mean(self) -> float:
        """Of the monitored values."""
        return float(self._values.mean())

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample; None for one run."""
        return float(self._values.std(ddof=1)) if len(self.runs) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean by Student's t, for seeds drawn from all seeds.

        None for one run, and for runs that agree to the last digit: an interval without width would claim that all
        seeds agree.
        """
        if not self.deviation:
            return None
        margin = float(stats.t.ppf(0.975, len(self.runs) - 1) * self.deviation / np.sqrt(len(self.runs)))
        return self.mean - margin, self.mean + margin

    @property
    def _values(self) -> np.ndarray:
        return np.array([run.value for run in self.runs], dtype=float)


def average_seeds(groups: Sequence[Group], keys: Sequence[str]) -> list[SeedGroup]:
    """Group ranked runs whose settings differ in seeds only; best mean first.

    Args:
        groups: ranked; all are searched together, since a seed may have chosen the images.
        keys: of the settings that differ between the runs.
    """
    others = [key for key in keys if key not in SEEDS]
    alike: dict[tuple[object, ...], list[tuple[str, RecordedRun]]] = {}
    for group in groups:
        for run in group.runs:
            key = (*selection_of(run), run.metrics.get("split"), identity(run.settings, others))
            alike.setdefault(key, []).append((group.letter, run))
    found = [
        SeedGroup(tuple(run for _, run in members), len({letter for letter, _ in members}))
        for members in alike.values()
    ]
    sign = {"max": -1, "min": 1}
    return sorted(found, key=lambda group: (str(group.runs[0].monitor), sign.get(group.runs[0].mode, 1) * group.mean))
