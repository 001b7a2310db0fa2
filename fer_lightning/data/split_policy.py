"""Which images are for training, for choosing the checkpoint and for the reported score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.stratified_split import stratified_split
from fer_lightning.data.table.columns import CategoricalColumn
from fer_lightning.data.table.image_table import SPLITS, ImageTable


def resolve_splits(
    table: ImageTable, digests: np.ndarray, *, holdout: float | str, split: Sequence[float], seed: int
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    """Put every image into `train`, `validation` or `test`.

    A download without splits is divided by `split`. One with train and one other split keeps them, unless `holdout`
    takes a fraction of train to choose the checkpoint (`auto`: 0.1 if there is a test but no validation split, else 0);
    the other split is then `test`. Images of equal `digests`, uint64 `(N,)`, stay on one side of every division.

    Returns:
        splits `(N,)`, and notes for the user.

    Raises:
        DataError: `holdout` is given for a download with three splits, or a class is too small to be divided.
    """
    splits = table.splits
    if (splits == "").all():
        fractions = {name: part for name, part in zip(SPLITS, split, strict=True) if part > 0}
        cut = stratified_split(table.labels, fractions, groups=digests, seed=seed, classes=table.classes)
        sizes = ", ".join(f"{(cut == name).sum():,} {name}" for name in fractions)
        return cut, (f"no splits in the download, so it is divided by class (data.split): {sizes}",)
    has_validation, has_test = (name in splits for name in ("validation", "test"))
    if holdout == "auto":
        holdout = 0.1 if has_test and not has_validation else 0.0
    if holdout == 0:
        return splits, ()
    if has_validation and has_test:
        raise DataError(f"{table.root} has its own validation and test split: type data.holdout=0")
    codes, train = splits.codes.copy(), np.flatnonzero(splits == "train")
    codes[splits == "validation"] = SPLITS.index("test")
    fractions = {"train": 1.0 - float(holdout), "validation": float(holdout)}
    cut = stratified_split(table.labels[train], fractions, groups=digests[train], seed=seed, classes=table.classes)
    codes[train] = CategoricalColumn.of(cut, splits.words).codes
    held = (cut == "validation").sum()
    note = f"held out {held:,} of the training images to choose the checkpoint (data.holdout={holdout})"
    return CategoricalColumn(codes, splits.words), (note,)
