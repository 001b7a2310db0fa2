"""The division that version 0.1 drew; its checkpoints are still continued and scored with it.

One more image and every later draw is another, so that images change sides: see `hash_split` for what is done today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fer_lightning.data.hash_split import check_fractions, check_members, group_labels
from fer_lightning.data.table.columns import CategoricalColumn


def stratified_split(
    labels: np.ndarray,
    groups: np.ndarray | None,
    fractions: Mapping[str, float],
    *,
    seed: int,
    classes: Sequence[str] | None = None,
) -> CategoricalColumn:
    """Put every image into a split, drawn at random, each class in the same proportions, each group on one side.

    Within a class whole groups are drawn, so a class is off by less than one group from its fraction; a class too small
    for that still gets one group in every split. A group with several labels counts as its most frequent one. Where
    `groups` are content digests, the result depends on the seed and the set of images, not on the order of rows.

    Args:
        labels: (N,) int, not negative.
        groups: (N,) sortable, equal for images that must stay together, such as pixel-identical ones; None for none.
        fractions: Split name to its fraction, each above 0, together 1; the result holds these names, (N,) str.
        seed: 0 or more.
        classes: Names by label, for messages.

    Raises:
        ConfigError: `fractions` are not above 0 or do not sum to 1.
        DataError: A class has fewer groups than there are splits.
    """
    names, parts = check_fractions(fractions)
    group, label_of_group = group_labels(np.asarray(labels), groups)
    split_of_group = np.zeros(len(label_of_group), dtype=np.uint8)
    for label in np.unique(label_of_group).tolist():
        members = np.flatnonzero(label_of_group == label)
        check_members(len(members), names, label if classes is None else classes[label])
        sizes = _apportion(len(members), parts)
        state = int(np.random.SeedSequence([seed, label]).generate_state(1)[0])
        for split in range(1, len(names)):
            # The same draws as scikit-learn's train_test_split, which earlier checkpoints used; its import takes 0.5 s.
            mixed = members[np.random.RandomState(state).permutation(len(members))]
            drawn, members = np.split(mixed, [sizes[split]])
            split_of_group[drawn] = split
    return CategoricalColumn(split_of_group[group], names)


def _apportion(total: int, fractions: np.ndarray) -> np.ndarray:
    """Return integers near `total * fractions` that sum to `total`, each at least 1."""
    quota = total * fractions
    sizes: np.ndarray = np.maximum(np.floor(quota).astype(np.int64), 1)
    while sizes.sum() < total:
        sizes[np.argmax(quota - sizes)] += 1
    while sizes.sum() > total:
        sizes[np.argmax(np.where(sizes > 1, sizes - quota, -np.inf))] -= 1
    return sizes
