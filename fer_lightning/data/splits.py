"""Which images are for training, for choosing the checkpoint and for the reported score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.data.table.columns import CategoricalColumn
from fer_lightning.data.table.image_table import SPLITS, ImageTable


def resolve_splits(
    table: ImageTable, digests: np.ndarray, *, holdout: float | str, split: Sequence[float], seed: int
) -> tuple[CategoricalColumn, tuple[str, ...]]:
    """Put every image into `train`, `validation` or `test`.

    A download without splits is divided by `split`. Another keeps its splits, unless it has two at most and `holdout`
    takes a fraction of train to choose the checkpoint (`auto`: 0.1 if there is no validation split, else 0);
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
        holdout = 0.0 if has_validation else 0.1
    if holdout == 0 or "train" not in splits:
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


def stratified_split(
    labels: np.ndarray,
    fractions: Mapping[str, float],
    *,
    groups: np.ndarray | None,
    seed: int,
    classes: Sequence[str] | None = None,
) -> CategoricalColumn:
    """Put every image into a split, each class in the same proportions, each group on one side.

    Within a class whole groups are drawn, so a class is off by less than one group from its fraction; a class too small
    for that still gets one group in every split. A group with several labels counts as its most frequent one. Where
    `groups` are content digests, the result depends on the seed and the set of images, not on the order of rows.

    Args:
        labels: (N,) int, not negative.
        fractions: Split name to its fraction, each above 0, together 1; the result holds these names, (N,) str.
        groups: (N,) sortable, equal for images that must stay together, such as pixel-identical ones; None for none.
        seed: 0 or more.
        classes: Names by label, for messages.

    Raises:
        ConfigError: `fractions` are not above 0 or do not sum to 1.
        DataError: A class has fewer groups than there are splits.
    """
    names, parts = list(fractions), np.array(list(fractions.values()), dtype=float)
    if (parts <= 0).any() or abs(parts.sum() - 1) > 1e-6:
        raise ConfigError(f"fractions of a split must be above 0 and sum to 1: {dict(fractions)}")
    group, label_of_group = _group_labels(np.asarray(labels), groups)
    split_of_group = np.zeros(len(label_of_group), dtype=np.uint8)
    for label in np.unique(label_of_group).tolist():
        members = np.flatnonzero(label_of_group == label)
        if len(members) < len(names):
            what = f"{len(members)} different images, too few for {len(names)} splits ({', '.join(names)})"
            hint = "add images, or leave it out with data.classes=[…]"
            raise DataError(f"class {label if classes is None else classes[label]} has {what}: {hint}")
        sizes = _apportion(len(members), parts)
        state = int(np.random.SeedSequence([seed, label]).generate_state(1)[0])
        for split in range(1, len(names)):
            # The same draws as scikit-learn's train_test_split, which earlier checkpoints used; its import takes 0.5 s.
            mixed = members[np.random.RandomState(state).permutation(len(members))]
            drawn, members = np.split(mixed, [sizes[split]])
            split_of_group[drawn] = split
    return CategoricalColumn(split_of_group[group], names)


def duplicates_across(digests: np.ndarray, splits: CategoricalColumn | np.ndarray) -> dict[tuple[str, str], int]:
    """Count the images of a later split that have a duplicate in an earlier one, by (earlier, later), where any has.

    `digests` are (N,) uint64, equal for pixel-identical images, and `splits` (N,) str.
    ("train", "test"): 288 means that 288 test images are also in train.
    """
    parts = {split: np.sort(digests[splits == split]) for split in SPLITS}
    counts = {}
    for earlier, later in combinations(SPLITS, 2):
        begin, end = (np.searchsorted(parts[earlier], parts[later], side=side) for side in ("left", "right"))
        counts[earlier, later] = int((begin < end).sum())  # as np.isin, which sorts both parts together, takes longer
    return {pair: count for pair, count in counts.items() if count}


def _group_labels(labels: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each image, (N,), and the most frequent label of each group, (G,)."""
    if groups is None:
        return np.arange(len(labels)), labels
    distinct, group = np.unique(groups, return_inverse=True)
    width = int(labels.max(initial=0)) + 1
    votes = np.bincount(group * width + labels, minlength=len(distinct) * width)
    return group, votes.reshape(-1, width).argmax(axis=1)


def _apportion(total: int, fractions: np.ndarray) -> np.ndarray:
    """Return integers near `total * fractions` that sum to `total`, each at least 1."""
    quota = total * fractions
    sizes: np.ndarray = np.maximum(np.floor(quota).astype(np.int64), 1)
    while sizes.sum() < total:
        sizes[np.argmax(quota - sizes)] += 1
    while sizes.sum() > total:
        sizes[np.argmax(np.where(sizes > 1, sizes - quota, -np.inf))] -= 1
    return sizes
