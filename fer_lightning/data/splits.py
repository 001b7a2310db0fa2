"""Which images are for training, for choosing the checkpoint and for the reported score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.hash_split import hash_split
from fer_lightning.data.random_split import stratified_split
from fer_lightning.data.table.columns import CategoricalColumn
from fer_lightning.data.table.image_table import SPLITS, ImageTable

Division = Literal["hash", "random"]


def resolve_splits(
    table: ImageTable,
    groups: np.ndarray,
    *,
    holdout: float | str,
    split: Sequence[float],
    seed: int,
    division: Division = "hash",
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    """Put every image into `train`, `validation` or `test`.

    A download without splits is divided by `split`. Another keeps its splits, unless it has two at most and `holdout`
    takes a fraction of train to choose the checkpoint (`auto`: 0.1 if there is no validation split, else 0);
    the other split is then `test`. Images of equal `groups`, uint64 `(N,)`, stay on one side of every division: their
    identities for `hash`, and for `random`, which is for checkpoints of version 0.1, their digests.

    Returns:
        splits `(N,)`, and notes for the user.

    Raises:
        DataError: `holdout` is given for a download with three splits, or a class is too small to be divided.
    """
    splits, divide = table.splits, {"hash": hash_split, "random": stratified_split}[division]
    if (splits == "").all():
        fractions = {name: part for name, part in zip(SPLITS, split, strict=True) if part > 0}
        cut = divide(table.labels, groups, fractions, seed=seed, classes=table.classes)
        sizes = ", ".join(f"{(cut == name).sum():,} {name}" for name in fractions)
        method = "by class and pixels" if division == "hash" else "by class as version 0.1 did"
        return cut, (f"no splits in the download, so it is divided {method} (data.split): {sizes}",)
    has_validation, has_test = (name in splits for name in ("validation", "test"))
    if holdout == "auto":
        holdout = 0.0 if has_validation else 0.1
    if holdout == 0 or "train" not in splits:
        return splits, ()
    if has_validation and has_test:
        raise DataError(f"{table.root} has its own validation and test split: type data.holdout=0")
    codes, train = splits.codes.copy(), np.flatnonzero(splits == "train")
    codes[splits == "validation"] = SPLITS.index("test")
    fractions = {"train": 1.0 - float(holdout), "validation": float(holdout)}
    cut = divide(table.labels[train], groups[train], fractions, seed=seed, classes=table.classes)
    codes[train] = CategoricalColumn.of(cut, splits.words).codes
    held = (cut == "validation").sum()
    note = f"held out {held:,} of the training images to choose the checkpoint (data.holdout={holdout})"
    return CategoricalColumn(codes, splits.words), (note,)


def duplicates_across(identities: np.ndarray, splits: CategoricalColumn | np.ndarray) -> dict[tuple[str, str], int]:
    """Count the images of a later split that have a duplicate in an earlier one, by (earlier, later), where any has.

    `identities` are (N,) uint64, equal for pixel-identical images, and `splits` (N,) str.
    ("train", "test"): 288 means that 288 test images are also in train.
    """
    parts = {split: np.sort(identities[splits == split]) for split in SPLITS}
    counts = {}
    for earlier, later in combinations(SPLITS, 2):
        begin, end = (np.searchsorted(parts[earlier], parts[later], side=side) for side in ("left", "right"))
        counts[earlier, later] = int((begin < end).sum())  # as np.isin, which sorts both parts together, takes longer
    return {pair: count for pair, count in counts.items() if count}
