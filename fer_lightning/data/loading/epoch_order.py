"""In which order rows are drawn: functions of their arguments alone."""

from __future__ import annotations

import numpy as np

STRATEGIES = ("shuffle", "balanced", "sequential")


def fixed_order(count: int) -> np.ndarray:
    """Return rows int64 `(count,)` in an order that never changes, mixed since tables are sorted by class.

    So the first few batches, as under `trainer.limit_val_batches` or `trainer.overfit_batches`, hold all classes.
    """
    return np.random.default_rng(0).permutation(count)


def epoch_order(labels: np.ndarray, strategy: str, seed: int, epoch: int) -> np.ndarray:
    """Return rows int64 `(N,)` in the order of one epoch, for labels int `(N,)` and one of `STRATEGIES`."""
    if strategy == "sequential":
        return fixed_order(len(labels))
    shuffled = np.random.default_rng([seed, epoch]).permutation(len(labels))
    return shuffled if strategy == "shuffle" else _balanced(labels, seed, epoch)[shuffled]


def count_repeats(rows: np.ndarray) -> np.ndarray:
    """Return int64 `(N,)`: how often each of rows int64 `(N,)` came before.

    >>> count_repeats(np.array([3, 5, 3, 3]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(rows, kind="stable")
    repeats = np.empty(len(rows), dtype=np.int64)
    repeats[order] = np.arange(len(rows)) - np.searchsorted(rows, rows[order], sorter=order)
    return repeats


def _balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Rows (N,) of one epoch in which each class has its share, class after class.

    Draw number t, counted over all epochs, belongs to class t mod K. So how often a class was drawn before this epoch,
    and with it the place in its deck, needs no memory.
    """
    count = len(labels)
    classes = np.unique(labels)
    rows = []
    for number, label in enumerate(classes):
        start, stop = (-(-(draws - number) // len(classes)) for draws in (epoch * count, (epoch + 1) * count))
        members = np.flatnonzero(labels == label)
        decks = [
            np.random.default_rng([seed, number, deck, 1]).permutation(members)
            for deck in range(start // len(members), -(-stop // len(members)))
        ]
        skipped = start % len(members)
        rows.append(np.concatenate(decks)[skipped : skipped + stop - start] if decks else members[:0])
    return np.concatenate(rows)
