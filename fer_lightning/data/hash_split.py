"""Divide images by a hash of their pixels, so that new images do not move old ones to another side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.data.table.columns import CategoricalColumn


def hash_split(
    labels: np.ndarray,
    identities: np.ndarray,
    fractions: Mapping[str, float],
    *,
    seed: int,
    classes: Sequence[str] | None = None,
) -> CategoricalColumn:
    """Put every image into a split by a number in [0, 1) that its seed and its pixels alone determine.

    The last split takes the numbers below its fraction, the one before it those above, and so on, as in consistent
    hashing (Karger et al., 1997). So an image's split does not depend on the other images, on names, order or classes,
    and the sizes of splits are binomial: of 1,000 images 100 ± 9 are in a tenth.

    Where this leaves a class without an image in a split, the image next to the boundary fills it. That is the only way
    in which other images matter, and it keeps these promises, for a class of which two images or more fall outside the
    last split by their own numbers (at 10 % and ten images, all but one class in 100 million):

    - adding images moves none into the last split, nor from the first into another; where a split was filled, it may
      return an image towards the first;
    - removing images moves some only where they were the last that a class had in a split.

    Args:
        labels: (N,) int, not negative.
        identities: (N,) uint64, equal for pixel-identical images, which stay together. Those with several labels count
            as their most frequent one.
        fractions: Split name to its fraction, each above 0, together 1; the result holds these names, (N,) str.
        seed: 0 or more.
        classes: Names by label, for messages.

    Raises:
        ConfigError: `fractions` are not above 0 or do not sum to 1.
        DataError: A class has fewer different images than there are splits.
    """
    names, parts = check_fractions(fractions)
    group, label_of_group = group_labels(np.asarray(labels), identities)
    numbers = _numbers(np.unique(identities), seed)
    bounds = np.cumsum(parts[:0:-1])  # of the last split, of the last two, …
    split_of_group = np.zeros(len(numbers), dtype=np.uint8)
    for label in np.unique(label_of_group).tolist():
        members = np.flatnonzero(label_of_group == label)
        check_members(len(members), names, label if classes is None else classes[label])
        members = members[np.argsort(numbers[members])]
        begin = 0
        for place, below in enumerate(np.searchsorted(numbers[members], bounds).tolist()):
            split = len(names) - 1 - place
            end = min(max(below, begin + 1), len(members) - split)  # one image at least, also for those to come
            split_of_group[members[begin:end]] = split
            begin = end
    return CategoricalColumn(split_of_group[group], names)


def check_fractions(fractions: Mapping[str, float]) -> tuple[list[str], np.ndarray]:
    """Return names and fractions (K,) of splits; raise ConfigError if they are not above 0 or do not sum to 1."""
    names, parts = list(fractions), np.array(list(fractions.values()), dtype=float)
    if (parts <= 0).any() or abs(parts.sum() - 1) > 1e-6:
        raise ConfigError(f"fractions of a split must be above 0 and sum to 1: {dict(fractions)}")
    return names, parts


def check_members(count: int, splits: Sequence[str], name: object) -> None:
    """Raise DataError if a class of `count` different images cannot have one in each split."""
    if count < len(splits):
        what = f"{count} different images, too few for {len(splits)} splits ({', '.join(splits)})"
        raise DataError(f"class {name} has {what}: add images, or leave it out with data.classes=[…]")


def group_labels(labels: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the group of each image, (N,), and the most frequent label of each group, (G,), in the order of groups."""
    if groups is None:
        return np.arange(len(labels)), labels
    distinct, group = np.unique(groups, return_inverse=True)
    width = int(labels.max(initial=0)) + 1
    votes = np.bincount(group * width + labels, minlength=len(distinct) * width)
    return group, votes.reshape(-1, width).argmax(axis=1)


def _numbers(identities: np.ndarray, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each different identity, (G,) float64, independent for every seed."""
    key = _mix(np.array([seed], dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return np.asarray((_mix(identities ^ key) >> np.uint64(11)) * 2.0**-53)


def _mix(words: np.ndarray) -> np.ndarray:
    """Return the finalizer of SplitMix64 (Steele et al., 2014) of uint64 words: one to one, and every bit matters."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))
