"""The table that every layout is read into, one row per image; its classes are selected, merged and checked here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import EMOTIONS, canonical

SPLITS: tuple[str, ...] = ("train", "validation", "test")
RESERVED: frozenset[str] = frozenset({"path", "split", "label", "predicted"})  # no names of classes


@dataclass(frozen=True, eq=False)
class ImageTable:
    """The images of one data set; listed, not opened.

    Attributes:
        root: Folder that `paths` are relative to: the one that holds the data set, without wrapper folders.
        source: "folders", "csv" or "synthetic".
        paths: (N,) str, posix path relative to `root`, or "fer2013.csv#17" (data row 17, from 0); any column of str.
        labels: (N,) indices into `classes`, unsigned integers of the smallest type that fits.
        splits: (N,) str: "train", "validation", "test", or "" where the download gives none; any column of str.
        classes: Class names, as ordered by `order_classes`.
        explanation: What was recognised, one line.
        rows: (N,) int64, the row in the unselected table, which is the row in the cache.
        notes: One line each, such as a second copy that was left out.
        empty: (split, class) pairs whose folder holds no image.
    """

    root: Path
    source: str
    paths: PathColumn
    labels: np.ndarray
    splits: CategoricalColumn
    classes: tuple[str, ...]
    explanation: str
    rows: np.ndarray
    notes: tuple[str, ...] = ()
    empty: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        small = np.min_scalar_type(len(self.classes))
        object.__setattr__(self, "paths", PathColumn.of(self.paths))
        object.__setattr__(self, "splits", CategoricalColumn.of(self.splits, (*SPLITS, "")))
        object.__setattr__(self, "labels", np.asarray(self.labels).astype(small, copy=False))
        lengths = {len(column) for column in (self.paths, self.labels, self.splits, self.rows)}
        if len(lengths) != 1:
            raise ValueError(f"columns of an ImageTable differ in length: {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> dict[str, np.ndarray]:
        """Return images per class, (K,) int64, for each split that is present, in the order of `SPLITS`."""
        present = [split for split in (*SPLITS, "") if split in self.splits]
        return {split: np.bincount(self.labels[self.splits == split], minlength=len(self.classes)) for split in present}

    def take(self, rows: np.ndarray, **changes: Any) -> ImageTable:
        """Return a table of some rows, a mask or positions, with other fields replaced by `changes`."""
        columns = {name: getattr(self, name)[rows] for name in ("paths", "labels", "splits", "rows")}
        return replace(self, **columns | changes)


def order_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct names, canonical ones first and in canonical order, the others alphabetically."""
    distinct = set(names)
    return (*(name for name in EMOTIONS if name in distinct), *sorted(distinct - set(EMOTIONS)))


def describe_counts(splits: CategoricalColumn | np.ndarray, classes: Sequence[str]) -> str:
    """Return "28,695 train, 3,589 validation images, 7 classes" for a column of splits, (N,) str."""
    counts = [f"{(splits == split).sum():,} {split}".rstrip() for split in (*SPLITS, "") if (splits == split).any()]
    return f"{', '.join(counts)} images, {len(classes)} classes"


def select_classes(
    table: ImageTable, classes: Sequence[str] | None, merge: Mapping[str, Sequence[str]] | None
) -> ImageTable:
    """Merge classes, keep some of them, and check that every split has images of each; None and None only check.

    Args:
        table: As it was read. Rows keep their order, and `rows` points into the cache as before.
        classes: To keep, in the order wanted, named as after the merge in any known spelling; None keeps all.
        merge: New class to the classes merged into it, for example {"negative": ["angry", "sad"]}.

    Raises:
        ConfigError: An unknown class, one that is merged twice, or fewer than two classes are left.
        DataError: A split has no image of a class, or the data set has fewer than two classes.
    """
    if classes is None and merge is None:
        _check_classes(table)
        return table
    becomes = _merged_names(table.classes, {} if merge is None else merge)
    kept = order_classes(becomes.values())
    if classes is not None:
        kept = tuple(dict.fromkeys(_known_class(name, kept, becomes) for name in _as_list(classes, "data.classes")))
    if len(kept) < 2:
        what = f"data.classes and data.merge leave {' and '.join(kept) or 'no class'}, but a classifier needs two"
        raise ConfigError(f"{what}; classes of the data set: {', '.join(table.classes)}")
    code = np.array([kept.index(becomes[name]) if becomes[name] in kept else -1 for name in table.classes])
    keep = (code >= 0)[table.labels]
    explanation = f"{table.explanation}; used: {describe_counts(table.splits[keep], kept)} ({', '.join(kept)})"
    selected = table.take(keep, labels=code[table.labels[keep]], classes=kept, explanation=explanation)
    _check_classes(selected)
    return selected


def digest_table(table: ImageTable) -> str:
    """Return 16 hex digits, equal for tables that put the same images of the same labels into the same splits."""
    digest = hashlib.sha256()
    numbers = CategoricalColumn(table.labels, [str(label) for label in range(len(table.classes))])
    for column in (table.paths, table.splits, numbers):
        for piece in column.joined(b"\n"):
            digest.update(piece)
    return digest.hexdigest()[:16]


def keep_first(table: ImageTable, limit: int) -> ImageTable:
    """Keep the first `limit` images, 1 or more, of each class in each split."""
    groups = product((*SPLITS, ""), range(len(table.classes)))
    kept = [np.flatnonzero((table.splits == split) & (table.labels == label))[:limit] for split, label in groups]
    return table.take(np.sort(np.concatenate(kept)))


def _merged_names(classes: Sequence[str], merge: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return what each class of the table is called after the merge."""
    taken: dict[str, str] = {}
    for target, sources in merge.items():
        members = _as_list(sources, f"data.merge.{target}")
        if not members:
            raise ConfigError(f"data.merge.{target} is empty: name classes to merge, some of {list(classes)}")
        for member in members:
            name = _known_class(member, classes, {}, key=f"data.merge.{target}")
            if name in taken:
                raise ConfigError(f"data.merge merges {name} into both {taken[name]} and {target}: keep one")
            taken[name] = str(target)
    return {name: taken.get(name, name) for name in classes}


def _as_list(names: Sequence[str], key: str) -> list[str]:
    # A str is a sequence too: data.classes=happy would otherwise mean the classes h, a, p, p and y.
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ConfigError(f"{key}={names} is not a list: type {key}=[{names},…]")
    return [str(name) for name in names]


def _known_class(name: str, classes: Sequence[str], becomes: Mapping[str, str], key: str = "data.classes") -> str:
    """Return the class that a name in the configuration means."""
    meanings = [meaning for meaning in (name, canonical(name)) if meaning is not None]
    for meaning in meanings:
        if meaning in classes:
            return meaning
    for meaning in meanings:
        if meaning in becomes:
            raise ConfigError(f"{key} names {name}, which data.merge merges into {becomes[meaning]}: name that class")
    hint = did_you_mean(name, classes) or f": type one of {', '.join(classes)}"
    raise ConfigError(f"{key} names {name}, which is not a class of the data set{hint}")


def _check_classes(table: ImageTable) -> None:
    """Raise DataError where a split lacks a class, there are fewer than two, or one has the name of a column."""
    if taken := [name for name in table.classes if name in RESERVED]:
        setting = f"'data.aliases={{{taken[0]}: {taken[0]}_class}}'"
        raise DataError(f"a class cannot be called {taken[0]}, as a column of predictions.csv is: type {setting}")
    counts = table.counts()
    lacking = []
    for split, per_class in counts.items():
        absent = [name for name, count in zip(table.classes, per_class, strict=True) if count == 0]
        if absent:
            names = [
                f"{name} (its folder holds none that can be read)" if (split, name) in table.empty else name
                for name in absent
            ]
            lacking.append(f"{f'{split} has ' if split else ''}no images of {', '.join(names)}")
    if lacking:
        shared = np.all([per_class > 0 for per_class in counts.values()], axis=0)
        complete = [name for name, has in zip(table.classes, shared, strict=True) if has]
        hint = f"or use the classes that are complete: data.classes=[{','.join(complete)}]" if len(complete) > 1 else ""
        what = "classes differ between the splits" if len(counts) > 1 else "a class is empty"
        raise DataError(f"{table.root}: {what}: {'; '.join(lacking)}. Add images, {hint}".rstrip(", "))
    if len(table.classes) < 2:
        hint = "point data.root=… at the folder that holds all the class folders"
        raise DataError(f"{table.root}: only one class, {', '.join(table.classes)}; {hint}")
