"""Reading rows by position: the same bytes as a memory map gives, and no memory that grows with the file."""

from __future__ import annotations

import os
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.data.cache.read_rows import FILE_NAME, map_images, read_rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "cache"
    folder.mkdir()
    np.save(folder / FILE_NAME, np.random.default_rng(0).integers(0, 256, (40, 3, 5, 5), dtype=np.uint8))
    return folder


@pytest.mark.parametrize(
    "rows", [[], [7], range(40), [3, 4, 5, 20, 21, 39], [39, 38, 0, 0, 1, 7, 8, 8]], ids=lambda rows: str(len(rows))
)
def test_rows_are_those_of_the_map(folder: Path, rows: list[int]) -> None:
    images, chosen = map_images(folder), np.array(rows, dtype=np.int64)
    expected = np.load(folder / FILE_NAME)[chosen]
    for source in (images, np.load(folder / FILE_NAME), images[:], pickle.loads(pickle.dumps(images))):
        result = read_rows(source, chosen)
        np.testing.assert_array_equal(result, expected)
        assert (type(result), result.dtype, result.flags.writeable) == (np.ndarray, np.uint8, True)


def test_rows_are_read_where_the_system_cannot_read_by_position(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv", raising=False)
    images, chosen = map_images(folder), np.array([39, 3, 4, 4])
    for source in (images, pickle.loads(pickle.dumps(images))):
        result = read_rows(source, chosen)
        np.testing.assert_array_equal(result, np.load(folder / FILE_NAME)[chosen])
        assert (type(result), result.dtype, result.flags.writeable) == (np.ndarray, np.uint8, True)
    with pytest.raises(IndexError):
        read_rows(images, np.array([40]))


@pytest.mark.parametrize("row", [-1, 40])
def test_rows_that_are_not_there(folder: Path, row: int) -> None:
    with pytest.raises(IndexError, match=f"{row}.* of 40 images"):
        read_rows(map_images(folder), np.array([3, row]))


def test_images_pickle_as_their_path(folder: Path) -> None:
    images = map_images(folder)
    assert len(pickle.dumps(images)) < 500 < images.nbytes
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images)), images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(images[3:5])), images[3:5])
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_many_threads_read_one_file(folder: Path) -> None:
    images = map_images(folder)
    orders = [np.random.default_rng(seed).permutation(40) for seed in range(50)]
    with ThreadPoolExecutor(8) as pool:
        for rows, result in zip(orders, pool.map(lambda rows: read_rows(images, rows), orders), strict=True):
            np.testing.assert_array_equal(result, images[rows])


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system cannot read by position")
def test_a_deleted_cache_is_read_to_the_end_of_the_run_and_a_cut_one_is_told(folder: Path) -> None:
    images = map_images(folder)
    expected = np.array(images[[1, 30]])
    with (folder / FILE_NAME).open("r+b") as file:
        file.truncate(30 * 75 + 128)
    with pytest.raises(OSError, match="cut short"):
        read_rows(images, np.array([1, 30]))
    shutil.rmtree(folder)
    np.testing.assert_array_equal(read_rows(images, np.array([1])), expected[:1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the resident set from")
def test_memory_does_not_grow_with_the_file(folder: Path) -> None:
    shape = (100_000, 1, 48, 48)
    with (folder / FILE_NAME).open("wb") as file:  # 230 MB that take no room: nothing is written but the header
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + int(np.prod(shape)))
    images = map_images(folder)
    batches = np.random.default_rng(0).permutation(shape[0])[:8_000].reshape(-1, 100)

    def mapped() -> float:
        """Return MB of files that are resident in this process."""
        return int(re.search(r"RssFile:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e3  # type: ignore[index]

    before = mapped()
    for rows in batches:
        assert not read_rows(images, rows).any()
    assert mapped() - before < 5
    for rows in batches:
        assert not images[rows].any()
    assert mapped() - before > 30  # what is spared, or else the check above proves nothing
