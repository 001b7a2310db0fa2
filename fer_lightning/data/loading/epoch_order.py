"""The order of rows in an epoch, as functions of their arguments alone."""

from __future__ import annotations

import numpy as np

STRATEGIES = ("shuffle", "balanced", "sequential")


def fixed_order(count: int) -> np.ndarray:
    """Return rows int64 `(count,)` in a fixed random order.

    Tables are sorted by class; mixed, the first few batches (`trainer.limit_val_batches`) contain all classes.
    """
    return np.random.default_rng(0).permutation(count)


def epoch_order(labels: np.ndarray, strategy: str, seed: int, epoch: int) -> np.ndarray:
    """Return rows int64 `(N,)` in the order of one epoch, for labels int `(N,)` and one of `STRATEGIES`."""
    if strategy == "sequential":
        return fixed_order(len(labels))
    shuffled = np.random.default_rng([seed, epoch]).permutation(len(labels))
    return shuffled if strategy == "shuffle" else _balanced(labels, seed, epoch)[shuffled]


def count_repeats(rows: np.ndarray) -> np.ndarray:
    """Return int64 `(N,)`: how often each of rows int64 `(N,)` occurred before; 0, 0, 1, 2 for rows 3, 5, 3, 3."""
    order = np.argsort(rows, kind="stable")
    repeats = np.empty(len(rows), dtype=np.int64)
    repeats[order] = np.arange(len(rows)) - np.searchsorted(rows, rows[order], sorter=order)
    return repeats


def _balanced(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return rows (N,) of one epoch with equally many of each class, sorted by class.

    Draw number t, counted over all epochs, belongs to class t mod K. So the number of earlier draws of a class, and the
    position in its shuffled deck, follow from the epoch.
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
