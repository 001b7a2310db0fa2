"""No image that a checkpoint was trained on or chosen by is scored as test without a word."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from fer_lightning.core.errors import CheckpointError, DataError
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.random_split import stratified_split
from fer_lightning.data.seen_images import SeenImages, seen_by
from fer_lightning.data.table.image_table import SPLITS
from fer_lightning.training.evaluate_checkpoint import Evaluation, Rescored
from fer_lightning.training.run import TrainingRun

Compose = Callable[..., DictConfig]
NAMES = ("angry", "disgust", "fear")
TINY = (
    "model=timm", "model.backbone=resnet10t", "+model.backbone_kwargs.channels=[4,4,4,8]",
    "+model.backbone_kwargs.stem_width=4", "optimizer=sgd", "data.image_size=16", "data.batch_size=16",
    "trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false", "trainer.max_epochs=1",
    "logger=none", "~callbacks.batch_preview", "~callbacks.validation_pictures",
)  # fmt: skip
JUDGED = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")


def face(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 20), dtype=np.uint8)


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face(seed)).save(path)


def write(root: Path, places: tuple[str, ...] = ("",), count: int = 20, first: int = 0) -> Path:
    """Write pictures of noise, `count` a class and place."""
    for place in places:
        for name in NAMES:
            for number in range(count):
                save(root / place / name / f"{number:02d}.png", first)
                first += 1
    return root


def pictures(table: pd.DataFrame, root: Path) -> set[bytes]:
    """Return the pixels of the pictures in a predictions table."""
    if root.is_file():
        pixels = [bytes(map(int, text.split())) for text in pd.read_csv(root)["pixels"]]
        return {pixels[int(path.rpartition("#")[2])] for path in table["path"]}
    return {np.asarray(Image.open(root / path)).tobytes() for path in table["path"]}


Verb = Callable[..., Any]


@pytest.fixture
def learn(tmp_path: Path, compose: Compose) -> Verb:
    """Return a function that trains in `tmp_path / "run"`."""

    def start(root: Path, *words: str) -> TrainingRun:
        own = (f"data.cache_dir={tmp_path / 'cache'}", f"data.root='{root}'", f"output_dir={tmp_path / 'run'}")
        (tmp_path / "run").mkdir(exist_ok=True)
        run = TrainingRun(compose("train", *TINY, *own, *words))
        run.fit()
        return run

    return start


@pytest.fixture
def judge(tmp_path: Path, compose: Compose) -> Verb:
    """Return a function that predicts with the checkpoint of that run, as `evaluate` does."""

    def start(root: Path, *words: str, file: str = "best.ckpt") -> Rescored:
        checkpoint = f"ckpt_path={tmp_path / 'run/checkpoints' / file}"
        own = (f"data.cache_dir={tmp_path / 'cache'}", f"data.root='{root}'", f"output_dir={tmp_path / 'out'}")
        return Evaluation.prepare(compose("evaluate", checkpoint, *JUDGED, *own, *words)).predict()

    return start


def add(root: Path) -> Path:
    for number, name in enumerate(NAMES):
        save(root / name / "new.png", 900 + number)
    return root


def remove(root: Path) -> Path:
    for path in sorted(root.rglob("*.png"))[::7]:
        path.unlink()
    return root


def rename(root: Path) -> Path:
    for path in sorted(root.rglob("*.png")):
        path.rename(path.with_name(f"z{99 - int(path.stem)}.bmp.png"))
    return root


def move_elsewhere(root: Path) -> Path:
    return root.rename(root.with_name("another root"))


def save_as_csv(root: Path) -> Path:
    codes = {"angry": 0, "disgust": 1, "fear": 2}
    rows = ((codes[path.parent.name], " ".join(map(str, np.asarray(Image.open(path)).ravel()))) for path in
            sorted(root.rglob("*.png"), reverse=True))  # fmt: skip
    pd.DataFrame(rows, columns=["emotion", "pixels"]).to_csv(root.with_suffix(".csv"), index=False)
    return root.with_suffix(".csv")


def shuffle_classes(root: Path) -> Path:
    """Give every fifth picture another label, as a relabelling does."""
    for number, path in enumerate(sorted(root.rglob("*.png"))[::5]):
        path.rename(root / NAMES[number % 3] / f"moved{number}.png")
    return root


def hand_split(root: Path) -> Path:
    """Sort the pictures into train/ and test/, whatever they were before, and test gets some more."""
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        target = root / ("test" if number % 2 else "train") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for name in NAMES:
        shutil.rmtree(root / name)
    return write(root, ("test",), count=2, first=500)


CHANGES: list[Callable[[Path], Path]] = [
    add, remove, rename, move_elsewhere, save_as_csv, shuffle_classes, hand_split,
]  # fmt: skip


@pytest.mark.parametrize("words", [(), ("data.channels=3", "data.seed=3", "data.classes=[fear,angry]")])
def test_no_image_is_scored_as_test_that_was_seen(tmp_path: Path, learn: Verb, judge: Verb, words: tuple[str]) -> None:
    first = write(tmp_path / "faces")
    data = learn(first, *words).data
    sides = {split: {str(path) for path in data.table.paths[data.rows(split)]} for split in SPLITS}
    pixels = {
        split: {np.asarray(Image.open(first / path)).tobytes() for path in paths} for split, paths in sides.items()
    }
    assert sum(map(len, pixels.values())) == (40 if words else 60)
    for change in CHANGES:
        shutil.rmtree(tmp_path / "now", ignore_errors=True)
        root = change(shutil.copytree(first, tmp_path / "now" / "faces"))
        done = judge(root, "split=test")
        scored = pictures(done.table, root)
        assert scored & pixels["test"], change.__name__
        assert not scored & (pixels["train"] | pixels["validation"]), change.__name__
        assert done.same_data == (change is move_elsewhere)
        assert set(done.table["seen"]) == {""}
        assert (sum(done.left_out.values()) > 0) == (change is hand_split), change.__name__


def test_a_checkpoint_remembers_its_images_and_loads_without_running_code(tmp_path: Path, learn: Verb) -> None:
    data = learn(write(tmp_path / "faces")).data
    for name in ("best", "last"):
        content = torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)
        seen = SeenImages.from_checkpoint(content)
        assert seen is not None
        for split in ("train", "validation"):
            np.testing.assert_array_equal(getattr(seen, split), np.unique(data.identities(data.rows(split))))
    assert SeenImages.from_checkpoint({"state_dict": {}}) is None


def test_what_the_initial_weights_were_trained_on_is_remembered_too(tmp_path: Path, learn: Verb) -> None:
    learn(write(tmp_path / "faces"))
    shutil.move(tmp_path / "run", tmp_path / "before")
    weights, others = tmp_path / "before/checkpoints/best.ckpt", write(tmp_path / "others", first=300)
    before = seen_by(weights)
    learn(others, f"model.weights={weights}")
    assert len(before.train) + len(before.validation) > 40
    assert np.isin(before.train, seen_by(tmp_path / "run/checkpoints/last.ckpt").train).all()
    last = tmp_path / "run/checkpoints/last.ckpt"
    again = learn(others, f"model.weights={weights}", f"ckpt_path={last}", "trainer.max_epochs=2")  # nor forgotten
    assert np.isin(before.train, again.data.seen.train).all()
    assert np.isin(before.train, seen_by(last).train).all()


def test_images_that_were_all_seen_are_refused_and_what_to_type_instead_works(
    tmp_path: Path, learn: Verb, judge: Verb
) -> None:
    root = write(tmp_path / "faces", ("train", "test"), count=6)
    learn(root)
    shutil.rmtree(root / "test")
    (root / "train").rename(root / "test")
    write(root, ("train",), count=2, first=700)
    with pytest.raises(DataError, match=r"all 18 test images.*split=all"):
        judge(root, "split=test")
    done = judge(root, "split=all")
    assert set(done.table["seen"]) == {"", "train", "validation"}
    assert (done.table["seen"] != "").sum() == 18


def test_train_and_validation_are_scored_when_they_are_asked_for(tmp_path: Path, learn: Verb, judge: Verb) -> None:
    root = write(tmp_path / "faces")
    learn(root)
    for split in ("train", "validation"):
        done = judge(root, f"split={split}")
        assert (done.same_data, set(done.table["seen"]), set(done.table["split"])) == (True, {""}, {split})
    add(root)
    done = judge(root, "split=train")
    assert not done.same_data
    assert set(done.table["seen"]) <= {"train", ""}
    assert (done.table["seen"] == "train").sum() >= 40
    assert set(judge(root, "split=validation").table["seen"]) <= {"validation", ""}


def test_a_layout_that_was_typed_is_that_of_evaluate(tmp_path: Path, learn: Verb, judge: Verb) -> None:
    """Where folders and a CSV lie side by side, the CSV's test images are those that were not trained on."""
    root = write(tmp_path / "faces", ("train", "test"), count=6)
    table = save_as_csv(write(tmp_path / "others", count=20))
    table.rename(root / "fer2013.csv")
    run = learn(root, "data.layout=csv")
    done = judge(root, "split=test")
    assert done.same_data
    assert set(done.table["path"]) == set(np.asarray(run.data.source.table.paths)[run.data.require("test")])
    assert set(judge(root, "split=test", "data.layout=folders").table["seen"]) == {""}


def test_other_splits_of_the_same_images_are_refused_and_what_to_type_instead_works(
    tmp_path: Path, learn: Verb, judge: Verb
) -> None:
    root = write(tmp_path / "faces")
    learn(root, "data.split=[0.6,0.2,0.2]", "data.seed=7")
    with pytest.raises(CheckpointError, match=r"Leave out data.seed, or type data\.seed=7$"):
        judge(root, "data.seed=8", "split=test")
    with pytest.raises(CheckpointError, match=r"Leave out data\.seed and data\.split, or type") as refused:
        judge(root, "data.seed=8", "data.split=[0.2,0.2,0.6]", "split=test")
    typed = shlex.split(str(refused.value).partition("or type ")[2])
    assert judge(root, *typed, "split=test").same_data
    some = judge(root, "data.classes=[fear,disgust]", "split=test")  # the same sides, of two classes
    assert set(some.table["label"]) == {"fear", "disgust"}


def forget(path: Path) -> None:
    """Make a checkpoint one of version 0.1, which recorded neither how it divided its images nor which it had seen."""
    content = torch.load(path, weights_only=True)
    del content["ExpressionDataModule"], content["hyper_parameters"]["data_facts"]["settings"]["division"]
    torch.save(content, path)


def test_a_checkpoint_of_version_0_1_is_scored_and_continued_with_the_splits_it_was_trained_on(
    tmp_path: Path, learn: Verb, judge: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "faces")
    with monkeypatch.context() as before:
        before.setattr(ExpressionDataModule, "division", "random")
        data = learn(root).data
    drawn = stratified_split(
        data.table.labels, data.source.digests, dict(zip(SPLITS, (0.8, 0.1, 0.1), strict=True)), seed=42
    )
    assert [np.sum(data.table.splits == split) for split in SPLITS] == [48, 6, 6]
    np.testing.assert_array_equal(data.table.splits, drawn)
    for name in ("best", "last"):
        forget(tmp_path / f"run/checkpoints/{name}.ckpt")
    done = judge(root, "split=test")
    assert done.same_data
    assert sorted(done.table["path"]) == sorted(data.table.paths[data.rows("test")])
    assert set(done.table["seen"]) == {""}  # the images are the same, so that its training images are known
    grown = judge(add(shutil.copytree(root, tmp_path / "grown")), "split=test")
    assert (grown.same_data, "seen" in grown.table) == (False, False)  # now they are not
    again = learn(root, f"ckpt_path={tmp_path / 'run/checkpoints/last.ckpt'}", "trainer.max_epochs=2")
    np.testing.assert_array_equal(again.data.table.splits, drawn)
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert (content["epoch"], content["hyper_parameters"]["data_facts"]["settings"]["division"]) == (1, "random")
    assert SeenImages.from_checkpoint(content) is not None


def test_a_leaked_test_set_is_said_in_every_result(tmp_path: Path, learn: Verb, judge: Verb) -> None:
    root = write(tmp_path / "faces", ("train", "validation", "test"), count=6)
    for name in NAMES:
        shutil.copy(root / "test" / name / "00.png", root / "train" / name / "leak.png")
        shutil.copy(root / "test" / name / "01.png", root / "validation" / name / "leak.png")
    run = learn(root)
    run.score()
    table = pd.read_csv(tmp_path / "run/predictions.csv", keep_default_na=False)
    new = table[table["seen"] == ""]
    assert table["seen"].value_counts().to_dict() == {"": 12, "train": 3, "validation": 3}
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert (metrics["duplicates_in_train"], metrics["duplicates_in_validation"], metrics["count"]) == (3, 3, 18)
    assert metrics["accuracy_without_duplicates"] == pytest.approx((new["label"] == new["predicted"]).mean())
    page = (tmp_path / "run/report.html").read_text()
    said = "3 have a pixel-identical duplicate in train and 3 in validation: without them, the accuracy is"
    assert said in page
    assert "accuracy without duplicates" in page
    assert "Test score with duplicates" in page
    assert "had no part in it" not in page
    done = judge(root, "split=test")  # the same data: the same score
    pd.testing.assert_frame_equal(
        done.table.sort_values("path", ignore_index=True)[["path", "predicted", "seen"]],
        table.sort_values("path", ignore_index=True)[["path", "predicted", "seen"]],
    )
