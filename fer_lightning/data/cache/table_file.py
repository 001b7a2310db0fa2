"""An image table as one file that is mapped into memory: opened at once, however long it is, and read where looked at.

    paths | starts | labels | splits | a record in JSON
          | where the columns begin and the record does, 8 bytes each | checksum, 4 bytes | what file this is

What was cut short lacks the end. The checksum is of all between the paths and itself. The paths have none: with
millions of them it would take longer than all the rest, and a damaged one names a file that is not there.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fer_lightning.data.table.columns import CategoricalColumn, PathColumn, starts_in
from fer_lightning.data.table.image_table import SPLITS, ImageTable

_END = b"fer_lightning image table 3\n"
_PLACES, _CHECKSUM = struct.Struct("<QQ"), struct.Struct("<I")
_FACTS = ("source", "classes", "explanation", "notes", "empty")


def write_table(path: Path, table: ImageTable, record: dict[str, Any]) -> None:
    """Write a table of one row or more, as it was read, before classes are selected.

    Args:
        path: the file.
        table: what to write.
        record: what else to keep, as JSON.

    Raises:
        OSError: `path` cannot be written.
    """
    columns: dict[str, tuple[str, int, int]] = {}
    checksum = 0

    def write(content: bytes | memoryview) -> None:
        nonlocal checksum
        checksum = zlib.crc32(content, checksum)
        file.write(content)

    with path.open("wb") as file:
        starts = _write_paths(file, table.paths)
        begin = file.tell()
        known = {"starts": starts, "labels": table.labels, "splits": table.splits.codes}
        for name, column in known.items():
            write(b"\0" * (-file.tell() % 64))  # so that no number lies across two lines of the processor's cache
            columns[name] = (column.dtype.str, file.tell(), column.size)
            write(np.ascontiguousarray(column).data)
        facts = {name: getattr(table, name) for name in _FACTS} | {"root": str(table.root)}
        text = json.dumps({"table": facts, "columns": columns, "record": record}).encode()
        write(text + _PLACES.pack(begin, file.tell()))
        file.write(_CHECKSUM.pack(checksum) + _END)


def read_table(path: Path) -> tuple[ImageTable, dict[str, Any]]:
    """Return table and record as they were written.

    Raises:
        OSError: there is no such file.
        ValueError: it is damaged, or something else.
    """
    with path.open("rb") as file:
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    stop = len(content) - len(_END) - _CHECKSUM.size
    if stop < _PLACES.size or content[stop + _CHECKSUM.size :] != _END:
        raise ValueError(f"{path} is no image table, or cut short")
    begin, start = _PLACES.unpack_from(content, stop - _PLACES.size)
    with memoryview(content)[begin:stop] as checked:
        if (zlib.crc32(checked),) != _CHECKSUM.unpack_from(content, stop):
            raise ValueError(f"{path} is damaged")
    header = json.loads(content[start : stop - _PLACES.size])
    columns = {
        name: np.frombuffer(content, dtype, count, offset) for name, (dtype, offset, count) in header["columns"].items()
    }
    facts = {name: _as_tuples(value) for name, value in header["table"].items()}
    table = ImageTable(
        **facts | {"root": Path(facts["root"])},
        paths=PathColumn(content, columns["starts"]),
        labels=columns["labels"],
        splits=CategoricalColumn(columns["splits"], (*SPLITS, "")),
        rows=np.arange(len(columns["starts"])),
    )
    return table, header["record"]


def _write_paths(file: BinaryIO, paths: PathColumn) -> np.ndarray:
    """Write the paths, each ended by a zero byte, and return where they begin."""
    starts = []
    for piece in paths.joined(b"\0"):
        piece = piece.removeprefix(b"\0") + b"\0"
        starts.append(starts_in(piece, file.tell()))
        file.write(piece)
    return np.concatenate(starts)


def _as_tuples(value: Any) -> Any:
    """Return what was a tuple, or one of tuples, before it went through JSON."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value
