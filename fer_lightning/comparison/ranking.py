"""Which runs may be ranked together, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np

from fer_lightning.comparison.formatting import shorten
from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.counts import count_images
from fer_lightning.data.cache.image_header import MAX_PIXELS
from fer_lightning.evaluation.score_name import name_score
from fer_lightning.runs.files import BEST_CHECKPOINT
from fer_lightning.runs.objectives import MODES
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import identity


@dataclass(frozen=True)
class Group:
    """Runs whose checkpoints were selected by the same score and which were scored on the same images, best first."""

    letter: str  # A for the largest group
    runs: tuple[RecordedRun, ...]  # at least one
    differences: tuple[Difference | None, ...]  # in accuracy to the first, on the same images; None: not known

    @property
    def best(self) -> RecordedRun:
        return self.runs[0]

    @property
    def objectives(self) -> list[str]:
        """The objectives of the sweep beside the monitored value."""
        return [*dict.fromkeys(name for run in self.runs for name in run.objectives)]

    @property
    def pareto_front(self) -> list[RecordedRun]:
        """The runs that no other run beats in the monitored value and all objectives; none where there are no others.

        A run beats another if it is as good in all of them and better in one. A run that lacks one is left out.
        """
        names = self.objectives
        known = [run for run in self.runs if names and all(name in run.objectives for name in names)]
        signs = [1 if mode == "max" else -1 for mode in (self.best.mode, *(MODES.get(name, "max") for name in names))]
        values = [[float(run.value or 0), *(run.objectives[name] for name in names)] for run in known]
        table = np.array(values, dtype=float).reshape(len(known), len(signs)) * signs
        beaten = [((table >= row).all(axis=1) & (table > row).any(axis=1)).any() for row in table]
        return [run for run, lost in zip(known, beaten, strict=True) if not lost]

    @property
    def split(self) -> str | None:
        """Which images the accuracy is of."""
        return next((run.metrics["split"] for run in self.runs if run.metrics.get("split")), None)

    @property
    def title(self) -> str:
        """By what the runs are ranked, and what was scored."""
        count = next((run.metrics["count"] for run in self.runs if "count" in run.metrics), None)
        order = "highest" if self.best.mode == "max" else "lowest"
        scored = "not scored" if count is None else f"accuracy on {count_images(count, self.split)}"
        return f"{self.best.monitor}, {order} first; {scored}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know to believe neither too much nor too little."""
        found = []
        if len(self.runs) > 1:
            end = self._part_of_test() if self.split == "test" else self._how_to_test()
            found.append(
                f"The best of {len(self.runs)} runs on the images that chose it is optimistic: do not report its"
                f" {self.best.monitor}{end}"
            )
        if self.objectives:
            front = {run.folder for run in self.pareto_front}
            places = [str(place) for place, run in enumerate(self.runs, 1) if run.folder in front]
            found.append(
                f"The sweep optimised {' and '.join(self.objectives)} too; the order is by {self.best.monitor} alone."
                f" No other run beats these in all of them (Pareto front), by place: {shorten(places, 20)}."
            )
        if self.split == "test":
            found.append("The accuracy is of the test split: it is shown beside, and ranks nothing.")
        found += [name_score(run.metrics)[1] for run in self.runs if run.metrics.get("partial")][:1]
        unknown = [run.name for run in self.runs if run.scored is None]
        if unknown and len(self.runs) > 1:
            named = shorten(unknown, 5)
            found.append(f"Runs without predictions.csv are here because nothing else that is known differs: {named}.")
        seeds = {run.settings.values.get("data.seed") for run in self.runs if run.splits is None}
        if self.split != "validation" and len(seeds) > 1:
            found.append("Whether the same validation images chose these runs is not known: their data.seed differs.")
        if _other_pixels(self.runs):
            found.append("The images have the same paths but not the same pixels in all runs: were files replaced?")
        return found

    def _part_of_test(self) -> str:
        """Return whether the test images had a part in training or selection, the end of a sentence."""
        known = [[run.metrics.get(f"duplicates_in_{role}") for role in ("train", "validation")] for run in self.runs]
        if any(map(any, known)):
            most = max(sum(filter(None, counts)) for counts in known)
            return f"; up to {most:,} of the test images have pixel-identical duplicates in train or validation."
        if any(None in counts for counts in known):
            return "; whether test images have duplicates in train or validation is not known of all."
        return "; the test images had no part in it."

    def _how_to_test(self) -> str:
        checkpoint = path_setting("ckpt_path", self.best.folder / BEST_CHECKPOINT)
        evaluate = f"python -m fer_lightning.evaluate {checkpoint}"
        if self.best.test_images == 0:
            return (
                ", but score it once on images that chose nothing. These data have no test split; for the folder of"
                f" another data set: {evaluate} data.root=FOLDER split=all"
            )
        # what a checkpoint does not hold, where it is not the default
        defaults: dict[str, Any] = {"data.root": None, "data.layout": "auto", "data.on_error": "raise"}
        defaults |= {"data.limit": None, "data.max_pixels": MAX_PIXELS}
        told = {key: self.best.settings.values.get(key, default) for key, default in defaults.items()}
        words = [path_setting(key, value) for key, value in told.items() if value != defaults[key]]
        return f", but score it once on images that chose nothing: {' '.join([evaluate, *words])} split=test"


def rank(runs: Sequence[RecordedRun]) -> tuple[list[Group], list[RecordedRun]]:
    """Return groups of runs that may be ranked, largest first, and the runs without a value to be ranked by.

    Two runs are in one group if the same score selected their checkpoints and the same images were scored. A run
    without predictions joins the one group that nothing known of it contradicts; if there are several, it stays alone.
    """
    members = defaultdict[tuple[str, ...], list[RecordedRun]](list)
    for run in sorted((run for run in runs if run.ranked), key=lambda run: run.scored is None):
        if run.scored is None:
            fitting = [key for key, others in members.items() if _may_join(run, others[0])]
            key = fitting[0] if len(fitting) == 1 else (*selection_of(run), str(run.folder))
        else:
            # where others were scored, the validation images still matter: a seed may have drawn them from train
            held_out = "" if run.metrics.get("split") == "validation" else run.splits or ""
            key = (*selection_of(run), run.scored.digest, held_out)
        members[key].append(run)
    ordered = sorted(map(best_first, members.values()), key=lambda group: (-len(group), group[0].name))
    letters = [*ascii_uppercase, *(f"A{number}" for number in range(26, len(ordered)))]
    groups = [Group(letter, tuple(group), _differences(group)) for letter, group in zip(letters, ordered, strict=False)]
    return groups, [run for run in runs if not run.ranked]


def selection_of(run: RecordedRun) -> tuple[str, str, str]:
    """Return what selected a checkpoint: the monitored score, its mode, and how many batches it was computed on."""
    limit = run.settings.values.get("trainer.limit_val_batches")
    return str(run.monitor), run.mode, "all" if limit in (None, 1.0) and not isinstance(limit, int) else str(limit)


def best_first(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Return ranked runs by value; equal values keep their order."""
    sign = -1 if runs[0].mode == "max" else 1
    return sorted(runs, key=lambda run: sign * float(run.value or 0))


def _may_join(run: RecordedRun, other: RecordedRun) -> bool:
    pairs = [(run.fingerprint, other.fingerprint), (run.splits, other.splits)]
    pairs += [(run.metrics.get(key), other.metrics.get(key)) for key in ("split", "count")]
    known = [pair for pair in pairs if None not in pair]
    return selection_of(run) == selection_of(other) and bool(known) and all(one == two for one, two in known)


def _differences(runs: Sequence[RecordedRun]) -> tuple[Difference | None, ...]:
    best, *others = (run.scored for run in runs)
    if best is None:
        return (None,) * len(runs)
    return None, *(None if one is None else paired_difference(one.correct, best.correct) for one in others)


def _other_pixels(runs: Sequence[RecordedRun]) -> bool:
    """Whether runs with the same image size and channels have data of several fingerprints."""
    known = [run for run in runs if run.fingerprint is not None and run.scored is not None]
    sizes = [identity(run.settings, ("data.image_size", "data.channels")) for run in known]
    return len({(size, run.fingerprint) for size, run in zip(sizes, known, strict=True)}) > len(set(sizes))
