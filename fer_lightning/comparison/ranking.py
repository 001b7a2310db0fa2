"""Which runs may be ranked together, and in which order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np

from fer_lightning.comparison.formatting import shorten
from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.config.overrides import quoted
from fer_lightning.evaluation.score_name import name_score
from fer_lightning.runs.files import BEST_CHECKPOINT
from fer_lightning.runs.objectives import MODES
from fer_lightning.runs.read import RecordedRun

OPTIMISTIC = "The best of {count} runs on the images that chose it is optimistic: do not report its {monitor}"


@dataclass(frozen=True)
class Group:
    """Runs whose checkpoints were selected by the same score and which were scored on the same images, best first.

    Attributes:
        letter: A for the largest group.
        runs: at least one.
        differences: in accuracy of each run to the first, on the same images; None where it is not known.
    """

    letter: str
    runs: tuple[RecordedRun, ...]
    differences: tuple[Difference | None, ...]

    @property
    def best(self) -> RecordedRun:
        return self.runs[0]

    @property
    def objectives(self) -> list[str]:
        """The objectives of the sweep beside the monitored value."""
        return [*dict.fromkeys(name for run in self.runs for name in run.objectives)]

    @property
    def pareto_front(self) -> list[RecordedRun]:
        """The runs that no other run beats in all objectives; none where the monitored value is the only one."""
        return pareto_front(self.runs, self.objectives) if self.objectives else []

    @property
    def split(self) -> str | None:
        """Which images the accuracy is of."""
        return next((run.metrics["split"] for run in self.runs if run.metrics.get("split")), None)

    @property
    def title(self) -> str:
        """By what the runs are ranked, and what was scored."""
        count = next((run.metrics["count"] for run in self.runs if "count" in run.metrics), None)
        order = "highest" if self.best.mode == "max" else "lowest"
        scored = "not scored" if count is None else f"accuracy on {count:,} {self.split} images"
        return f"{self.best.monitor}, {order} first; {scored}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know to believe neither too much nor too little."""
        found = []
        if len(self.runs) > 1:
            optimistic = OPTIMISTIC.format(count=len(self.runs), monitor=self.best.monitor)
            end = "; the test images had no part in it." if self.split == "test" else self._how_to_test()
            found.append(f"{optimistic}{end}")
        if self.objectives:
            found.append(self._trade_off())
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

    def _how_to_test(self) -> str:
        root = self.best.settings.values.get("data.root")
        words = [_typed("ckpt_path", self.best.folder / BEST_CHECKPOINT)]
        words += [] if root is None else [_typed("data.root", root)]
        command = f"python -m fer_lightning.evaluate {' '.join(words)} split=test"
        return f", but score it once on images that chose nothing: {command}"

    def _trade_off(self) -> str:
        front = {run.folder for run in self.pareto_front}
        places = [str(place) for place, run in enumerate(self.runs, 1) if run.folder in front]
        return (
            f"The sweep optimised {' and '.join(self.objectives)} too; the order is by {self.best.monitor} alone. No"
            f" other run beats these in all of them (Pareto front), by place: {shorten(places, 20)}."
        )


def rank(runs: Sequence[RecordedRun]) -> tuple[list[Group], list[RecordedRun]]:
    """Sort runs into groups that may be ranked, largest first.

    Two runs are in one group if the same score selected their checkpoints and the same images were scored. A run
    without predictions joins the one group that nothing known of it contradicts; if there are several, it stays alone.

    Returns:
        groups, and the runs without a value to be ranked by.
    """
    members: dict[tuple[str, ...], list[RecordedRun]] = {}
    ranked = [run for run in runs if run.ranked]
    for run in ranked:
        if run.scored is not None:
            # where others were scored, the validation images still matter: a seed may have drawn them from train
            held_out = "" if run.metrics.get("split") == "validation" else run.splits or ""
            members.setdefault((*selection_of(run), run.scored.digest, held_out), []).append(run)
    for run in ranked:
        if run.scored is None:
            fitting = [key for key, others in members.items() if _may_join(run, others[0])]
            key = fitting[0] if len(fitting) == 1 else (*selection_of(run), str(run.folder))
            members.setdefault(key, []).append(run)
    ordered = sorted(map(best_first, members.values()), key=lambda group: (-len(group), group[0].name))
    groups = [Group(_letter(number), tuple(group), _differences(group)) for number, group in enumerate(ordered)]
    return groups, [run for run in runs if not run.ranked]


def selection_of(run: RecordedRun) -> tuple[str, str, str]:
    """Return what selected a checkpoint: the monitored score, its mode, and how many batches it was computed on."""
    limit = run.settings.values.get("trainer.limit_val_batches")
    return str(run.monitor), run.mode, "all" if limit in (None, 1.0) and not isinstance(limit, int) else str(limit)


def best_first(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Return ranked runs by value; equal values keep their order."""
    sign = -1 if runs[0].mode == "max" else 1
    return sorted(runs, key=lambda run: sign * float(run.value or 0))


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


def _may_join(run: RecordedRun, other: RecordedRun) -> bool:
    pairs = [(run.fingerprint, other.fingerprint), (run.splits, other.splits)]
    pairs += [(run.metrics.get(key), other.metrics.get(key)) for key in ("split", "count")]
    known = [pair for pair in pairs if None not in pair]
    return selection_of(run) == selection_of(other) and bool(known) and all(one == two for one, two in known)


def _differences(runs: Sequence[RecordedRun]) -> tuple[Difference | None, ...]:
    best = runs[0].scored
    if best is None:
        return (None,) * len(runs)
    others = (None if run.scored is None else paired_difference(run.scored.correct, best.correct) for run in runs[1:])
    return None, *others


def _other_pixels(runs: Sequence[RecordedRun]) -> bool:
    """Whether runs with the same image size and channels have data of several fingerprints."""
    seen: dict[tuple[object, ...], set[str]] = {}
    for run in runs:
        if run.fingerprint is not None and run.scored is not None:
            size = tuple(run.settings.values.get(key) for key in ("data.image_size", "data.channels"))
            seen.setdefault(size, set()).add(run.fingerprint)
    return any(len(fingerprints) > 1 for fingerprints in seen.values())


def _typed(key: str, path: object) -> str:
    """Return an override with a path, quoted for Hydra and the shell, whatever the folder of a job is called."""
    if re.fullmatch(r"[\w./+-]+", str(path)):
        return f"{key}={path}"
    word = f"{key}={quoted(path)}"
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'  # the second is easier to read


def _letter(number: int) -> str:
    return ascii_uppercase[number] if number < len(ascii_uppercase) else f"A{number}"
