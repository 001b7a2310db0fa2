"""No split that the data names is ever drawn anew: folders, a column, files side by side, in any known or odd words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lightning.core.errors import DataError
from fer_lightning.data.datamodule import ExpressionDataModule

SPLITS = ("train", "validation", "test")
CODES = {"happy": 3, "sad": 4}
WORDS = (
    *(("train", "val", "test"), ("Training", "PublicTest", "PrivateTest"), ("TRAIN", "VALID", "TEST")),
    *(("training_set", "validation_set", "test_set"), ("train_images", "dev", "TestData"), ("trn", "validate", "tst")),
    *(("train", "", "test"), ("train", "valid", ""), ("train", "eval", "test"), ("train", "holdout", "")),
    *(("A", "B", "C"), ("1", "2", "3"), ("train", "test1", "test2"), ("learn", "check", "final")),
)
Faces = dict[tuple[str, str, int], np.ndarray]
"""(split, class, number) → picture."""


@pytest.fixture(scope="module")
def faces() -> Faces:
    rng = np.random.default_rng(0)
    counts = {"train": 12, "validation": 3, "test": 3}
    keys = [(split, name, at) for split in SPLITS for name in CODES for at in range(counts[split])]
    return {key: rng.integers(0, 256, (16, 16), dtype=np.uint8) for key in keys}


def write_folders(root: Path, words: Sequence[str], faces: Faces) -> None:
    for (split, name, at), picture in faces.items():
        if word := words[SPLITS.index(split)]:
            (root / word / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / word / name / f"{at}.png")


def lines_of(words: Sequence[str], faces: Faces, wanted: Sequence[str] = SPLITS) -> list[str]:
    return [
        f"{CODES[name]},{' '.join(map(str, picture.ravel()))},{words[SPLITS.index(split)]}"
        for (split, name, _), picture in faces.items()
        if words[SPLITS.index(split)] and split in wanted
    ]


def write_column(root: Path, words: Sequence[str], faces: Faces) -> None:
    root.mkdir()
    (root / "faces.csv").write_text("\n".join(["emotion,pixels,partition", *lines_of(words, faces)]))


def write_files(root: Path, words: Sequence[str], faces: Faces) -> None:
    root.mkdir()
    for split, word in zip(SPLITS, words, strict=True):
        lines = [line.rpartition(",")[0] for line in lines_of(words, faces, [split])]
        if word:
            (root / f"{word}.csv").write_text("\n".join(["emotion,pixels", *lines]))


@pytest.mark.parametrize("words", WORDS, ids="-".join)
@pytest.mark.parametrize("write", [write_folders, write_column, write_files])
def test_a_named_split_is_kept_or_refused(
    write: Callable[[Path, Sequence[str], Faces], None], words: Sequence[str], faces: Faces, tmp_path: Path
) -> None:
    if write is write_folders and words[0].isdecimal():
        pytest.skip("folders that are numbers are people")
    write(tmp_path / "data", words, faces)
    with contextlib.suppress(DataError):
        data = ExpressionDataModule(str(tmp_path / "data"), image_size=16, cache_dir=str(tmp_path / "cache"))
        data.setup()
        said = {picture.tobytes(): split for (split, *_), picture in faces.items() if words[SPLITS.index(split)]}
        got = {data.images(np.array([row])).tobytes(): data.table.splits[row] for row in range(len(data.table))}
        assert got.keys() == said.keys()
        assert {said[pixels] for pixels, split in got.items() if split == "train"} == {"train"}
        assert {said[pixels] for pixels, split in got.items() if split == "test"} <= {"test"}
        if words[1]:
            assert got == said
        return
    assert words in WORDS[8:], "these words are known everywhere"
