"""A table comes back from its file as it was, and from a damaged file not at all."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.data.cache.table_file import read_table, write_table
from fer_lightning.data.table.image_table import ImageTable

PATHS = ["train/happy/1.jpg", "train/sad/ü.jpg", "test/sad/3.jpg"]


@pytest.fixture
def table(tmp_path: Path) -> ImageTable:
    splits = np.array(["train", "train", "test"])
    labels = np.array([0, 1, 1])
    return ImageTable(tmp_path, "folders", PATHS, labels, splits, ("happy", "sad"), "found", np.arange(3), ("note",))  # type: ignore[arg-type]


def test_table_is_what_it_was(table: ImageTable, tmp_path: Path) -> None:
    write_table(tmp_path / "table", table, {"key": "abc", "seen": {"a": [1, 2]}})
    again, record = read_table(tmp_path / "table")
    for name in ("root", "source", "classes", "explanation", "notes", "empty"):
        assert getattr(again, name) == getattr(table, name)
    for name in ("paths", "labels", "splits", "rows"):
        assert getattr(again, name).tolist() == getattr(table, name).tolist()
    assert record == {"key": "abc", "seen": {"a": [1, 2]}}


def test_every_flipped_byte_behind_the_paths_is_noticed(table: ImageTable, tmp_path: Path) -> None:
    write_table(tmp_path / "table", table, {"key": "abc"})
    content = (tmp_path / "table").read_bytes()
    begin = content.index(b"3.jpg\0") + 6
    assert len(content) - begin > 500
    for place in range(begin, len(content)):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :])
        with pytest.raises(ValueError, match=r"not an image table|damaged"):
            read_table(damaged)
        damaged.unlink()  # it may still be mapped


@pytest.mark.parametrize("kept", [0, 1, 30, -1])
def test_a_file_that_was_cut_short_is_refused(table: ImageTable, tmp_path: Path, kept: int) -> None:
    write_table(tmp_path / "table", table, {})
    content = (tmp_path / "table").read_bytes()
    (tmp_path / "cut").write_bytes(content[:kept])
    (tmp_path / "tail").write_bytes(content[len(content) - kept :] if kept > 0 else content[1:])
    for name in ("cut", "tail"):
        with pytest.raises(ValueError):  # noqa: PT011  (an empty file cannot be mapped, and says so in other words)
            read_table(tmp_path / name)


def test_paths_are_read_where_memory_cannot_be_handed_back(
    table: ImageTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(tmp_path / "table", table, {})
    monkeypatch.delattr(mmap, "MADV_DONTNEED", raising=False)
    paths = read_table(tmp_path / "table")[0].paths
    assert paths.tolist() == PATHS
    assert b"".join(paths.joined(b"|")) == "|".join(PATHS).encode()
