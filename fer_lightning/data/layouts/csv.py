"""fer2013.csv and similar files: labels and, in most, the split that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.csv_file import CsvFile, name_rows, shown_column
from fer_lightning.data.layouts.folder_search import FolderSearch
from fer_lightning.data.layouts.naming_advice import class_settings, describe_numbers
from fer_lightning.data.layouts.split_column import LEFT_OUT, read_split_column
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import CODE_ORDERS, CodeOrder, canonical, code_of, fold
from fer_lightning.data.table.image_table import SPLITS, ImageTable, describe_counts, order_classes

if TYPE_CHECKING:
    import pandas as pd

# The expressions of FER-2013 and its kin have these numbers, unless the labels or the user say otherwise.
_USUAL_ORDER: CodeOrder = "fer2013"


def read_csv_table(files: Mapping[CsvFile, str], root: Path, search: FolderSearch) -> ImageTable:
    """Read labels and splits of one CSV, or of several that are the splits of one data set.

    `csv_pixels.read_csv_pixels` reads the pixels.

    Args:
        files: Each with the split that its name stands for, "" for none; a column of the file takes precedence.
        root: The folder that paths are relative to.
        search: Knows what the user's own names of labels and splits mean. Without `code_order`, labels that are numbers
            have the order of FER-2013, where they can.

    Raises:
        DataError: No rows, an unknown label or split, two files of one split.
    """
    import pandas as pd

    frames = {file: _read_columns(file) for file in files}
    reader = _LabelReader(frames, search)
    names = pd.concat([reader.read(file) for file in files]).to_numpy()
    split_names = []
    for file, frame in frames.items():
        by_row = read_split_column(file.path, {name: frame[name].tolist() for name in file.others}, search)
        split_names.append([files[file]] * len(frame) if by_row is None else by_row)
    _refuse_shared_splits(files, split_names, root, search)
    splits = CategoricalColumn.of(np.concatenate(split_names), (*SPLITS, "", LEFT_OUT))
    rows = pd.concat([frame.index.to_series() for frame in frames.values()]).to_numpy()
    places = np.repeat(
        [file.path.relative_to(root).as_posix() for file in files], [len(frames[file]) for file in files]
    )
    kept = (names != "") & (splits != LEFT_OUT)
    classes = order_classes(names[kept])
    labels = CategoricalColumn.of(names[kept], classes).codes
    splits, rows, places = CategoricalColumn.of(splits[kept], (*SPLITS, "")), rows[kept], places[kept]
    order = np.lexsort((labels, splits.codes))
    paths = PathColumn.of(f"{place}#{row}" for place, row in zip(places[order], rows[order], strict=True))
    unsplit = " without a Usage column (no split)" if (splits == "").all() else ""
    found = " and ".join(file.path.relative_to(root).as_posix() for file in files)
    explanation = f"found {found}{unsplit} in {root}: {describe_counts(splits, classes)}"
    notes = [*reader.notes]
    if not kept.all():
        notes.append(f"{(~kept).sum():,} rows left out, as data.aliases says")
    return ImageTable(
        root, "csv", paths, labels[order], splits[order], classes, explanation, np.arange(len(labels)), tuple(notes)
    )


def _read_columns(file: CsvFile) -> pd.DataFrame:
    """Read all but the pixels, without blank lines of separators at the end."""
    import pandas as pd

    frame = pd.concat(file.read([*file.labels, *file.others]), ignore_index=True)
    if len(frame) and not any(frame.iloc[-1]):
        filled = np.flatnonzero((frame != "").any(axis=1))
        last = int(filled[-1]) + 1 if len(filled) else 0
        frame = frame.iloc[:last] if _no_pixels(file, last) else frame
    if frame.empty:
        raise DataError(f"{file.path} has a header and no rows; point data.root=… at a complete copy")
    return frame


def _no_pixels(file: CsvFile, first: int) -> bool:
    """Return whether the pixel columns are blank from a row on."""
    seen = 0
    for chunk in file.read(file.pixels):
        if not (chunk.iloc[max(0, first - seen) :] == "").all(axis=None):
            return False
        seen += len(chunk)
    return True


class _LabelReader:
    """Reads the labels of all files together, because numbers are understood by which of them occur."""

    def __init__(self, frames: Mapping[CsvFile, pd.DataFrame], search: FolderSearch) -> None:
        self.frames, self._search = frames, search
        self.notes: list[str] = []
        self._columns = {file: self._choose_column(file) for file in frames}
        for file, name in self._columns.items():
            unused = ", ".join(shown_column(other) for other in file.labels if other != name)
            if unused:
                self.notes.append(
                    f"{file.path.name}: labels are those in the column {shown_column(name)}; not used: {unused}"
                )
        texts = dict.fromkeys(text for file in frames for text in self._texts(file).unique())
        self._meanings = {text: self._meaning(text, None) for text in texts}
        codes = {code for text in texts if self._meanings[text] is None and (code := code_of(_tidy(text))) is not None}
        if codes:
            order = search.code_order if search.code_order is not None else self._usual_order(codes)
            self._meanings = {text: self._meaning(text, order) for text in texts}

    def read(self, file: CsvFile) -> pd.Series:
        """Return the class of each row, "" where the user leaves it out; raise DataError for an unknown label."""
        texts = self._texts(file)
        found = texts.map(self._meanings)
        unknown = np.flatnonzero(found.isna())
        if len(unknown):
            self._refuse(file, unknown)
        return found

    def _choose_column(self, file: CsvFile) -> str:
        """Return the column of labels: of several, the first that holds words, which need no order of numbers."""
        frame = self.frames[file]
        for name in file.labels:
            texts = frame[name].unique()
            if all(code_of(text) is None and self._meaning(text, None) is not None for text in texts):
                return name
        return file.labels[0]

    def _texts(self, file: CsvFile) -> pd.Series:
        return self.frames[file][self._columns[file]]

    def _meaning(self, text: str, order: CodeOrder | None) -> str | None:
        text = _tidy(text)
        code = code_of(text)
        if (fold(text) if code is None else str(code)) in self._search.unwanted:
            return ""
        known = self._search.meaning(text) if text else None
        return canonical(text, self._search.aliases, order) if known is None else known

    def _usual_order(self, codes: set[int]) -> CodeOrder:
        """Return FER-2013's order; raise DataError where the numbers that occur are of another data set."""
        file, name = next(iter(self._columns.items()))
        numbers = sorted(codes)
        counted_from_1 = numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 1
        if codes <= set(CODE_ORDERS[_USUAL_ORDER]) and not counted_from_1:
            if fold(name) != "emotion":
                order = ", ".join(f"{code} {word}" for code, word in CODE_ORDERS[_USUAL_ORDER].items())
                what = f"numbers in the column {shown_column(name)} are read as FER-2013's ({order})"
                self.notes.append(f"{what}; data.code_order says otherwise")
            return _USUAL_ORDER
        others = [at for at, text in enumerate(self._texts(file)) if (code_of(_tidy(text)) or 0) > 6]
        where = f", {name_rows(others)}" if others else ""
        raise DataError(describe_numbers(f"{file.path}{where}", numbers, None))

    def _refuse(self, file: CsvFile, unknown: np.ndarray) -> None:
        texts, name = self._texts(file).iloc[unknown].map(_tidy), shown_column(self._columns[file])
        codes = [code for text in texts.unique() if (code := code_of(text)) is not None]
        # what is nothing without its punctuation, such as -1, cannot be a key of data.aliases
        senseless = np.flatnonzero([not fold(text).strip("0123456789") for text in texts])
        if codes:
            raise DataError(describe_numbers(f"{file.path}, {name_rows(unknown)}", codes, self._search.code_order))
        if len(senseless):
            what = f"{name} is {texts.iloc[senseless[0]]!r}, not a label"
            raise DataError(f"{file.path}, {name_rows(unknown[senseless])}: {what}; correct the row or delete it")
        what = f"{name} is {texts.iloc[0]!r}, not a number nor an expression"
        settings = class_settings(texts.unique()[:8].tolist())
        raise DataError(f"{file.path}, {name_rows(unknown)}: {what}; say what is meant: {settings}")


def _tidy(text: str) -> str:
    return re.sub(r"^(\d+),(0*)$", r"\1.\2", text.strip())  # 3,0 in much of Europe


def _refuse_shared_splits(
    files: Iterable[CsvFile], splits: Sequence[Sequence[str]], root: Path, search: FolderSearch
) -> None:
    """Raise DataError where two files hold images of one split, and the user has not said so."""
    holds: dict[str, Path] = {}
    for file, column in zip(files, splits, strict=True):
        for split in sorted({*column} - {LEFT_OUT}):
            other = holds.setdefault(split, file.path)
            if other != file.path and not any(search.is_own_name(path.stem) for path in (other, file.path)):
                one, two = (path.relative_to(root).as_posix() for path in (other, file.path))
                what = f"{root}: {one} and {two} both mean {split}" if split else f"{one} and {two} name no split"
                setting = f"'data.aliases={{{fold(file.path.stem)}: null}}'"
                raise DataError(f"{what}; keep one of them, or type {setting}, or data.root={root / one}")
