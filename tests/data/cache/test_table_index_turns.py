"""An image that was written in place is found when its turn comes, and ranks of one run agree on it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.data.cache import table_index
from fer_lightning.data.cache.table_index import TableIndex
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.source import Source, read_source
from fer_lightning.data.synthetic.dataset import write_tree


def read(root: Path, cache_dir: Path) -> Source:
    settings = {"aliases": None, "code_order": None, "image_size": 24, "channels": 1, "on_error": "raise"}
    return read_source(root, "auto", cache_dir=cache_dir, **settings)  # type: ignore[arg-type]


def changed(root: Path, cache_dir: Path) -> bool:
    """Start once more, and return whether the remembered table holds no longer."""
    return TableIndex(cache_dir, root, "auto", None, None).find() is None


@pytest.fixture
def sliced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tree whose 28 images are looked at by three starts, remembered in tmp_path / "cache"."""
    monkeypatch.setattr(table_index, "_MOST_CHECKED", 10)
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    tree = tmp_path / "faces"
    write_tree(tree, layout="train_validation", per_class=2, image_size=24)
    for path in [tree, *tree.rglob("*")]:
        os.utime(path, (1e9, 1e9))  # what is fresh is not remembered
    read(tree, tmp_path / "cache")
    return tree


def write_in_place(root: Path, row: int) -> None:
    """Write another picture into the file of a row; the time of its folder stays."""
    file = root / read_layout(root).paths[row]
    before = file.parent.stat().st_mtime_ns
    shutil.copyfile(root / "train/happy/10.png", file)
    os.utime(file, (1.1e9, 1.1e9))  # another time, though no fresh one
    assert file.parent.stat().st_mtime_ns == before


@pytest.mark.parametrize("row", [0, 13, 26, 27])
@pytest.mark.parametrize("earlier", [0, 1, 2])
def test_written_image_is_found_when_its_turn_comes(sliced: Path, tmp_path: Path, row: int, earlier: int) -> None:
    for _ in range(earlier):
        assert not changed(sliced, tmp_path / "cache")
    write_in_place(sliced, row)
    expected = read(sliced, tmp_path / "other cache").images
    wait = (row - earlier) % 3
    for start in range(wait + 1):
        source = read(sliced, tmp_path / "cache")
        assert np.array_equal(source.images, expected) is (start == wait)
    for _ in range(3):  # remembered as it is now
        assert not changed(sliced, tmp_path / "cache")


def test_what_was_found_is_found_again_until_the_table_is_made_anew(sliced: Path, tmp_path: Path) -> None:
    write_in_place(sliced, 1)
    found = [changed(sliced, tmp_path / "cache") for _ in range(4)]
    assert found == [False, True, True, True]


def test_ranks_that_lightning_starts_agree(sliced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_in_place(sliced, 1)
    for noticed in (False, True):
        assert changed(sliced, tmp_path / "cache") is noticed
        for rank in range(4):
            monkeypatch.setenv("LOCAL_RANK", str(rank))
            assert changed(sliced, tmp_path / "cache") is noticed
        monkeypatch.delenv("LOCAL_RANK")


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "RANK", "SLURM_PROCID"])
def test_ranks_that_others_start_look_at_every_image(
    sliced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    assert not changed(sliced, tmp_path / "cache")
    write_in_place(sliced, 1)
    assert changed(sliced, tmp_path / "cache")


def test_every_image_is_looked_at_where_turns_cannot_be_kept(sliced: Path, tmp_path: Path) -> None:
    (file,) = (tmp_path / "cache/tables").iterdir()
    file.with_suffix(".turn").mkdir()
    assert not changed(sliced, tmp_path / "cache")
    write_in_place(sliced, 1)
    assert changed(sliced, tmp_path / "cache")
