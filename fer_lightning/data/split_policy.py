"""Which images train, which choose the checkpoint and which give the reported score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.stratified_split import stratified_split
from fer_lightning.data.table.columns import CategoricalColumn
from fer_lightning.data.table.image_table import SPLITS, ImageTable

DEFAULT_HOLDOUT = 0.1


def resolve_splits(
    table: ImageTable, digests: np.ndarray, *, holdout: float | str, split: Sequence[float], seed: int
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    """Put every image into `train`, `validation` or `test`.

    A download without splits is divided by `split`. One with a training and one other split keeps them, unless
    `holdout` takes a share of train to choose the checkpoint: then the other split is `test`, and is read once, after.
    Pixel-identical images stay on one side of every cut made here.

    Args:
        table: with N rows; `splits` may be empty strings.
        digests: uint64 `(N,)`.
        holdout: share of train, or `auto`: 0.1 if there is a test but no validation split, else 0.
        split: shares of train, validation and test.
        seed: of the cuts.

    Returns:
        splits `(N,)`, and remarks for the user.

    Raises:
        DataError: `holdout` is asked of a download with three splits, or a class is too small to be cut.
    """
    splits = table.splits
    if (splits == "").all():
        shares = {name: share for name, share in zip(SPLITS, split, strict=True) if share > 0}
        cut = stratified_split(table.labels, shares, groups=digests, seed=seed, classes=table.classes)
        sizes = ", ".join(f"{(cut == name).sum():,} {name}" for name in shares)
        return cut, (f"no splits in the download, so it is divided by class (data.split): {sizes}",)
    has_validation, has_test = (name in splits for name in ("validation", "test"))
    share = holdout
    if share == "auto":
        share = DEFAULT_HOLDOUT if has_test and not has_validation else 0.0
    if share == 0:
        return splits, ()
    if has_validation and has_test:
        raise DataError(f"{table.root} has its own validation and test split: type data.holdout=0")
    codes, train = splits.codes.copy(), np.flatnonzero(splits == "train")
    codes[splits == "validation"] = SPLITS.index("test")
    shares = {"train": 1.0 - float(share), "validation": float(share)}
    cut = stratified_split(table.labels[train], shares, groups=digests[train], seed=seed, classes=table.classes)
    codes[train] = CategoricalColumn.of(cut, splits.words).codes
    held = (cut == "validation").sum()
    remark = f"held out {held:,} of the training images to choose the checkpoint (data.holdout={share})"
    return CategoricalColumn(codes, splits.words), (remark,)
