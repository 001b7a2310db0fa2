"""Average runs that differ in their seed only: mean, deviation and interval."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from fer_lightning.comparison.ranking import Group, selection_of
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import SEEDS, identity


@dataclass(frozen=True)
class SeedGroup:
    """Runs of the same settings but for the seed."""

    runs: tuple[RecordedRun, ...]  # at least one
    image_sets: int  # how many they were scored on; more than one where the seed also chose the images

    @property
    def values(self) -> np.ndarray:
        """The monitored values."""
        return np.array([run.value for run in self.runs], dtype=float)

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the sample; None for one run."""
        return float(self.values.std(ddof=1)) if len(self.runs) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the mean by Student's t, for seeds drawn from all seeds.

        None for one run, and for runs that agree to the last digit: no width would claim that all seeds agree.
        """
        if not self.deviation:
            return None
        margin = float(stats.t.ppf(0.975, len(self.runs) - 1) * self.deviation / np.sqrt(len(self.runs)))
        return self.mean - margin, self.mean + margin


def average_seeds(groups: Sequence[Group], keys: Sequence[str]) -> list[SeedGroup]:
    """Group ranked runs that differ in seeds only by these keys, best mean first.

    All groups are searched together, since a seed may have chosen the images.
    """
    others = [key for key in keys if key not in SEEDS]
    alike = defaultdict[tuple[object, ...], list[tuple[RecordedRun, str]]](list)
    for group in groups:
        for run in group.runs:
            key = (*selection_of(run), run.metrics.get("split"), identity(run.settings, others))
            alike[key].append((run, group.letter))
    members = (zip(*pairs, strict=True) for pairs in alike.values())
    found = [SeedGroup(runs, len(set(letters))) for runs, letters in members]
    sign = {"max": -1, "min": 1}
    return sorted(found, key=lambda group: (str(group.runs[0].monitor), sign.get(group.runs[0].mode, 1) * group.mean))
