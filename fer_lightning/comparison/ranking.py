"""Which runs may be ranked together, and in which order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.comparison.pareto import find_unbeaten
from fer_lightning.config.overrides import quoted
from fer_lightning.evaluation.score_name import name_score
from fer_lightning.runs.files import BEST_CHECKPOINT
from fer_lightning.runs.read import RecordedRun

OPTIMISTIC = "The best of {count} runs on the images that chose it is optimistic: do not report its {monitor}"
CURE = "but score it once on images that chose nothing: python -m fer_lightning.evaluate {told} split=test"
TRADE_OFF = (
    "The sweep was to optimise {others} too; the order is by {monitor} alone. No other run beats these in all of them"
    " (Pareto's front), by place: {named}."
)


@dataclass(frozen=True)
class Group:
    """Runs that one value chose on the same images, best first.

    Attributes:
        letter: A for the largest group.
        runs: at least one.
        differences: of each run's accuracy to that of the first, on the same images; None where it cannot be had.
    """

    letter: str
    runs: tuple[RecordedRun, ...]
    differences: tuple[Difference | None, ...]

    @property
    def best(self) -> RecordedRun:
        return self.runs[0]

    @property
    def objectives(self) -> list[str]:
        """What the sweep was to optimise beside the monitored value."""
        return [*dict.fromkeys(name for run in self.runs for name in run.objectives)]

    @property
    def unbeaten(self) -> list[RecordedRun]:
        """Where the sweep had several objectives, the runs that no other run beats in all of them."""
        return find_unbeaten(self.runs, self.objectives) if self.objectives else []

    @property
    def split(self) -> str | None:
        """Which images the accuracy is of."""
        return next((run.metrics["split"] for run in self.runs if run.metrics.get("split")), None)

    @property
    def title(self) -> str:
        """By what the runs are ranked, and what was scored."""
        counts = (run.metrics["count"] for run in self.runs if "count" in run.metrics)
        count = next(counts, None)
        order = "highest" if self.best.mode == "max" else "lowest"
        about = f"accuracy on {count:,} {self.split} images" if count is not None else "not scored"
        return f"{self.best.monitor}, {order} first; {about}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know to believe neither too much nor too little."""
        found = []
        if len(self.runs) > 1:
            words = OPTIMISTIC.format(count=len(self.runs), monitor=self.best.monitor)
            root = self.best.settings.values.get("data.root")
            words_typed = [_typed("ckpt_path", self.best.folder / BEST_CHECKPOINT)]
            words_typed += [] if root is None else [_typed("data.root", root)]
            cure = CURE.format(told=" ".join(words_typed))
            found.append(f"{words}; the test images had no part in it." if self.split == "test" else f"{words}, {cure}")
        if self.objectives:
            found.append(self._trade_off())
        if self.split == "test":
            found.append("The accuracy is of the test split: it is shown beside, and ranks nothing.")
        if any(run.metrics.get("partial") for run in self.runs):
            found.append(name_score(next(run.metrics for run in self.runs if run.metrics.get("partial")))[1])
        unknown = [run.name for run in self.runs if run.scored is None]
        if unknown and len(self.runs) > 1:
            named = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
            found.append(f"Without predictions.csv, the same images are taken on trust of what else is known: {named}.")
        seeds = {run.settings.values.get("data.seed") for run in self.runs if run.splits is None}
        if self.split != "validation" and len(seeds) > 1:
            found.append("Whether the same validation images chose these runs is not known: their data.seed differs.")
        if _other_pixels(self.runs):
            found.append("The images are called alike but are not the same pixels in all runs: were files replaced?")
        return found

    def _trade_off(self) -> str:
        """By place in the ranking, the runs between which only taste decides."""
        unbeaten = {run.folder for run in self.unbeaten}
        places = [str(place) for place, run in enumerate(self.runs, 1) if run.folder in unbeaten]
        named = ", ".join(places[:20]) + (f" and {len(places) - 20} more" if len(places) > 20 else "")
        return TRADE_OFF.format(others=" and ".join(self.objectives), monitor=self.best.monitor, named=named)


def rank(runs: Sequence[RecordedRun]) -> tuple[list[Group], list[RecordedRun]]:
    """Sort runs into groups that may be ranked, largest first.

    Two runs are in one group if the same value chose their checkpoints and the same images were scored. A run whose
    predictions are not there joins the group that nothing it says speaks against, if there is just one.

    Returns:
        groups, and the runs without a value to be ranked by.
    """
    members: dict[tuple[str, ...], list[RecordedRun]] = {}
    unsure = []
    for run in (run for run in runs if run.ranked):
        if run.scored is None:
            unsure.append(run)
        else:
            members.setdefault((*chosen_by(run), run.scored.images, _held_out(run)), []).append(run)
    for run in unsure:
        fitting = [key for key, others in members.items() if _may_join(run, others[0])]
        members.setdefault(fitting[0] if len(fitting) == 1 else (*chosen_by(run), str(run.folder)), []).append(run)
    ordered = sorted((by_value(group) for group in members.values()), key=lambda group: (-len(group), group[0].name))
    groups = [Group(_letter(number), tuple(group), _differences(group)) for number, group in enumerate(ordered)]
    return groups, [run for run in runs if not run.ranked]


def _held_out(run: RecordedRun) -> str:
    """Which validation images there were, where others were scored: a seed may have cut them from training images."""
    return "" if run.metrics.get("split") == "validation" or run.splits is None else run.splits


def chosen_by(run: RecordedRun) -> tuple[str, ...]:
    """The monitored value, its direction, and how much of the validation images it was taken on."""
    limit = run.settings.values.get("trainer.limit_val_batches")
    return str(run.monitor), run.mode, "all" if limit in (None, 1.0) and not isinstance(limit, int) else str(limit)


def _may_join(run: RecordedRun, other: RecordedRun) -> bool:
    facts = [(run.fingerprint, other.fingerprint), (run.splits, other.splits)]
    facts += [(run.metrics.get(key), other.metrics.get(key)) for key in ("split", "count")]
    known = [(own, theirs) for own, theirs in facts if own is not None and theirs is not None]
    return chosen_by(run) == chosen_by(other) and bool(known) and all(own == theirs for own, theirs in known)


def by_value(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Best first; equal values keep their order."""
    sign = -1 if runs[0].mode == "max" else 1
    return sorted(runs, key=lambda run: sign * float(run.value if run.value is not None else np.nan))


def _differences(runs: Sequence[RecordedRun]) -> tuple[Difference | None, ...]:
    best = runs[0].scored
    if best is None:
        return (None,) * len(runs)
    others = (run.scored for run in runs[1:])
    return (
        None,
        *(None if other is None else paired_difference(other.correct, best.correct) for other in others),
    )


def _other_pixels(runs: Sequence[RecordedRun]) -> bool:
    """Whether runs that were given pictures of one size were given different ones."""
    seen: dict[tuple[object, ...], set[str]] = {}
    for run in runs:
        if run.fingerprint is not None and run.scored is not None:
            size = tuple(run.settings.values.get(key) for key in ("data.image_size", "data.channels"))
            seen.setdefault(size, set()).add(run.fingerprint)
    return any(len(prints) > 1 for prints in seen.values())


def _typed(key: str, path: object) -> str:
    """A path as the shell and Hydra take it, whatever the folder of a job is called."""
    if re.fullmatch(r"[\w./+-]+", str(path)):
        return f"{key}={path}"
    word = f"{key}={quoted(path)}"
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'  # the second is what people can read


def _letter(number: int) -> str:
    return ascii_uppercase[number] if number < len(ascii_uppercase) else f"A{number}"
