"""A split that the data names is kept or refused, never drawn anew: over spellings, wrappers and kinds of trees."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.splits import resolve_splits
from fer_lightning.data.table.image_table import ImageTable

Plant = Callable[[Path, Mapping[str, str]], Path]
NAMES = {
    "train": ("train", "training", "Train", "TRAINING", "train_set", "trainset", "train_images", "TrainData"),
    "validation": ("val", "valid", "validation", "dev", "PublicTest", "public_test", "VAL", "ValidationSet"),
    "test": ("test", "testing", "Test", "PrivateTest", "PRIVATETEST", "test-set", "TestImages", "fer2013-test"),
}
UNCLEAR = ["eval", "holdout", "fold1", "Evaluation", "train2", "extra", "trainval"]
CLASSES = ("angry", "happy")
MANY = " ".join(f"{number}.jpg" for number in range(12))


def resolved(table: ImageTable) -> dict[str, str]:
    groups = np.arange(len(table), dtype=np.uint64) * np.uint64(2**50)
    splits, _ = resolve_splits(table, groups, holdout="auto", split=(0.8, 0.1, 0.1), seed=1)
    return dict(zip(table.paths, splits, strict=True))


@pytest.mark.parametrize("seed", range(60))
def test_a_named_split_is_kept(tmp_path: Path, plant: Plant, seed: int) -> None:
    draw = random.Random(seed)
    wrapper = draw.choice([".", "archive", "a/b"])
    inner = draw.choice(["{0}", "{0}/{0}", "{0}/images"])
    people = draw.choice(["", "", "person{}/", "S{:03d}/"])
    chosen = {split: draw.choice(names) for split, names in NAMES.items() if draw.random() < 0.8}
    chosen = chosen or {"test": "test"}
    for name in chosen.values():
        place = f"{wrapper}/{inner.format(name)}"
        for number in (1, 2) if people else (0,):
            plant(tmp_path, {f"{place}/{people.format(number)}{label}": MANY for label in CLASSES})
    if draw.random() < 0.3:  # without labels
        plant(tmp_path, {f"{wrapper}/unlabelled": MANY})
    table = read_layout(tmp_path)
    assert set(table.splits) == set(chosen)
    assert len(table) == 24 * len(chosen) * (2 if people else 1)
    for path, split in resolved(table).items():
        named = next(known for known, name in chosen.items() if name in path.split("/"))
        # only of train, where nothing else chooses the checkpoint, a part may be held out
        assert split == named or (named, split, "validation" in chosen) == ("train", "validation", False)


@pytest.mark.parametrize("name", UNCLEAR)
@pytest.mark.parametrize("inner", ["{0}", "{0}/{0}"])
def test_a_name_that_takes_a_guess_is_asked_for(tmp_path: Path, plant: Plant, name: str, inner: str) -> None:
    for place in ("train", "test", inner.format(name)):
        plant(tmp_path, {f"{place}/{label}": "1.jpg" for label in CLASSES})
    with pytest.raises(DataError, match=f"{name} holds classes and is not named for a split"):
        read_layout(tmp_path)
    key = name.lower()
    table = read_layout(tmp_path, aliases={key: "validation"})
    assert {path.split("/")[0]: split for path, split in resolved(table).items()} == {
        "train": "train",
        "test": "test",
        name: "validation",
    }
    assert {path.split("/")[0] for path in read_layout(tmp_path, aliases={key: None}).paths} == {"train", "test"}


@pytest.mark.parametrize(("one", "other"), [("train", "Training"), ("val", "PublicTest"), ("test", "PrivateTest")])
def test_two_folders_for_one_split(tmp_path: Path, plant: Plant, one: str, other: str) -> None:
    for place in ("train", "test", one, other):
        plant(tmp_path, {f"{place}/{label}": "1.jpg" for label in CLASSES})
    with pytest.raises(DataError, match=f"(?=.*{one}/)(?=.*{other}/).*both mean") as caught:
        read_layout(tmp_path)
    setting = re.search(r"'data\.aliases={(\w+): (\w+)}'", str(caught.value))
    assert setting
    folders = len({"train", "test", one, other})
    assert len(read_layout(tmp_path, aliases={setting[1]: setting[2]})) == folders * len(CLASSES)
    assert len(read_layout(tmp_path, aliases={setting[1]: None})) == (folders - 1) * len(CLASSES)


@pytest.mark.parametrize("names", ["train train_aug test", "train1 train2 test", "train trainval test"])
def test_folders_that_the_user_puts_into_one_split(tmp_path: Path, plant: Plant, names: str) -> None:
    for place in names.split():
        plant(tmp_path, {f"{place}/{label}": "1.jpg" for label in CLASSES})
    aliases: dict[str, str] = {}
    for _ in range(sum(name not in ("train", "test") for name in names.split())):
        with pytest.raises(DataError) as caught:
            read_layout(tmp_path, aliases=aliases)
        setting = re.search(r"'data\.aliases={(.*): (train)}'", str(caught.value))
        assert setting, caught.value
        aliases[setting[1]] = setting[2]
    table = read_layout(tmp_path, aliases=aliases)
    assert {path.split("/")[0]: split for path, split in zip(table.paths, table.splits, strict=True)} == {
        name: "test" if name == "test" else "train" for name in names.split()
    }


def test_classes_beside_splits(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"{place}/{label}": "1.jpg" for place in (".", "test") for label in CLASSES})
    with pytest.raises(DataError, match="is a class folder beside test/, in no split: move it into one"):
        read_layout(tmp_path)


@pytest.mark.parametrize("words", ["Training PublicTest PrivateTest", "train val test", "Train Test"])
@pytest.mark.parametrize("form", ["{word}_{number}", "{word}-{number}", "{word}{number:05d}", "{word} ({number})"])
@pytest.mark.parametrize("last", [False, True])
def test_files_that_name_their_split(tmp_path: Path, plant: Plant, words: str, form: str, last: bool) -> None:
    form = "im{number}_{word}" if last else form
    split_of = {word: ("train", "validation", "test")[at] for at, word in enumerate(words.split())} | {"Test": "test"}
    named = {(form.format(word=word, number=n) + ".jpg"): split_of[word] for word in words.split() for n in range(12)}
    for name in ("happy", "sad"):
        (tmp_path / name).mkdir()
        for file in named:
            (tmp_path / name / file).touch()
    table = read_layout(tmp_path)
    read = dict(zip(table.paths, table.splits, strict=True))
    assert read == {f"{name}/{file}": split for name in ("happy", "sad") for file, split in named.items()}
    assert "split by the file names" in table.notes[0]
    plant(tmp_path, {"happy": "smile.jpg"})
    with pytest.raises(DataError, match=r"the split of 1 image, such as happy/smile\.jpg, is not in their names"):
        read_layout(tmp_path)


def test_file_names_with_and_without_words(tmp_path: Path, plant: Plant) -> None:
    names = " ".join([*(f"{number}.jpg" for number in range(9)), "test_1.jpg", "training_day.jpg"])
    plant(tmp_path, {"happy": names, "sad": " ".join(f"train_{number}.jpg" for number in range(2))})
    assert set(read_layout(tmp_path).splits) == {""}
    plant(tmp_path, {"sad": "PrivateTest_3.jpg"})
    with pytest.raises(DataError, match=r"the split of 9 images, such as happy/0\.jpg, is not in their names"):
        read_layout(tmp_path)


@pytest.mark.parametrize("place", ["test/unknown", "test", "test/images", "Test/test", "PrivateTest/0"])
@pytest.mark.parametrize("own_names", [False, True])
def test_a_test_without_labels_does_not_stop_training(
    tmp_path: Path, plant: Plant, place: str, own_names: bool
) -> None:
    plant(tmp_path, {f"train/{label}": MANY for label in CLASSES} | {place: "1.jpg 2.jpg 3.jpg"})
    table = read_layout(tmp_path, own_names=own_names)
    assert table.notes == (f"{place.split('/')[0]}/ left out: 3 images without class folders in it",)
    assert set(resolved(table).values()) == {"train", "validation"}  # and none of train is called test


@pytest.mark.parametrize("form", ["{split}_{label}", "{label}-{split}", "{label}/{split}", "{label}/{split}/s1"])
@pytest.mark.parametrize("words", ["train val test", "Training PublicTest PrivateTest"])
def test_splits_in_or_with_the_names_of_classes(tmp_path: Path, plant: Plant, form: str, words: str) -> None:
    places = {form.format(split=word, label=label): (word, label) for word in words.split() for label in CLASSES}
    plant(tmp_path, dict.fromkeys(places, "1.jpg 2.jpg"))
    table = read_layout(tmp_path)
    split_of = dict(zip(words.split(), ("train", "validation", "test"), strict=True))
    assert {
        path.rpartition("/")[0]: (split, table.classes[label])
        for path, split, label in zip(table.paths, table.splits, table.labels, strict=True)
    } == {place: (split_of[word], label) for place, (word, label) in places.items()}
    assert len(table) == 2 * len(places)
    plant(tmp_path, {"sad": "1.jpg"})
    with pytest.raises(DataError, match=r"sad/1\.jpg is in no split, others are"):
        read_layout(tmp_path)
