"""What two ranks compute together is what one process computes: curves, scores, and which images.

The ranks are processes on a CPU that talk through gloo, started by the programs themselves.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from fer_lightning.training.evaluate_checkpoint import evaluate
from fer_lightning.training.run import TrainingRun

pytestmark = pytest.mark.slow  # starts processes
Compose = Callable[..., DictConfig]
CURVES = ("train/loss", "train/acc", "val/loss", "val/acc", "val/f1_macro")
SCORING = ("trainer.precision=32-true", "trainer.enable_progress_bar=false", "machine.threads=1")
# 65 images: the second rank has one fewer to score, and in the second batch of 32 none at all
DATA = ("data.synthetic={train: 196, validation: 65, test: 65}", "data.image_size=32", "data.seed=5")
TINY = (*DATA, *SCORING, "trainer.max_epochs=3", "logger=none", "callbacks.batch_preview.count=4")
# layer norm looks at one image at a time, so that nothing depends on how a batch is cut
WITHOUT_BATCH_NORM = ("model=timm", "model.backbone=test_convnext", "model.drop_rate=0", "optimizer.lr=3e-3", "seed=1")
SMALL_CNN = ("model=small_cnn", "model.drop_rate=0", "seed=1")  # batch norm, and no other draw that differs by rank
ALONE = ("trainer=cpu", "data.batch_size=64")
TOGETHER = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=32")


class Scores(NamedTuple):
    """What one evaluation left."""

    predictions: bytes
    metrics: dict[str, object]


def run_together(verb: str, folder: Path, *overrides: str) -> Path:
    """Run a program with two ranks in a folder, and return that."""
    command = [sys.executable, "-m", f"fer_lightning.{verb}", *TOGETHER, *overrides, f"hydra.run.dir={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stdout + done.stderr
    return folder


def fit_alone(compose: Compose, folder: Path, *overrides: str) -> pd.DataFrame:
    """Train in this process, without results, and return the curves."""
    TrainingRun(compose("train", *TINY, *ALONE, *overrides, f"output_dir={folder}")).fit()
    return curves(folder)


def curves(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")[list(CURVES)]


def scores_of(folder: Path) -> Scores:
    return Scores((folder / "predictions.csv").read_bytes(), json.loads((folder / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks whose network treats each image by itself."""
    return run_together("train", tmp_path_factory.mktemp("exact") / "run", *TINY, *WITHOUT_BATCH_NORM)


@pytest.fixture(scope="module")
def again(exact: Path, compose: Compose) -> Mapping[str, Scores]:
    """The best checkpoint of that run, scored again on both splits, by one process and by two."""
    best = f"ckpt_path={exact / 'checkpoints/best.ckpt'}"
    scored = {}
    for split in ("test", "validation"):
        folder = exact.parent / f"alone_{split}"
        evaluate(compose("evaluate", best, *SCORING, *ALONE, f"split={split}", f"output_dir={folder}"))
        scored[f"alone, {split}"] = scores_of(folder)
    together = run_together("evaluate", exact.parent / "together", best, *SCORING, "split=validation")
    return scored | {"together, validation": scores_of(together)}


def test_two_ranks_of_32_follow_one_of_64(exact: Path, compose: Compose, tmp_path: Path) -> None:
    alone = fit_alone(compose, tmp_path, *WITHOUT_BATCH_NORM)
    assert alone["train/loss"].iloc[-1] < alone["train/loss"].iloc[0] - 0.01  # else there is nothing to follow
    np.testing.assert_allclose(curves(exact), alone, rtol=1e-5)


@pytest.mark.parametrize("view", ["augmented", "plain"])
def test_a_student_on_two_ranks_follows_that_on_one(exact: Path, compose: Compose, tmp_path: Path, view: str) -> None:
    teacher, network = exact / "checkpoints/best.ckpt", [*WITHOUT_BATCH_NORM[1:], "seed=2"]
    options = (f"model.teachers=[{teacher}]", f"model.teacher_view={view}", "trainer.max_epochs=2")
    learning = ("model=distilled", *network, *options)
    caches = (f"data.cache_dir={tmp_path / name}" for name in ("one", "two"))
    alone = fit_alone(compose, tmp_path / "alone", *learning, next(caches))
    together = run_together("train", tmp_path / "together", *TINY, *learning, next(caches))
    np.testing.assert_allclose(curves(together), alone, rtol=1e-4)  # a batch decides on the last digit of fp16


def test_with_batch_norm_they_follow_within_the_noise_of_seeds(compose: Compose, tmp_path: Path) -> None:
    """Each rank normalises by its own 32 images, which makes less of a difference than another seed."""
    alone = [fit_alone(compose, tmp_path / str(seed), *SMALL_CNN, f"seed={seed}") for seed in (1, 2, 3, 4)]
    together = curves(run_together("train", tmp_path / "together", *TINY, *SMALL_CNN))
    for name in ("train/loss", "val/loss"):
        noise = max(distance(one, other, name) for one, other in itertools.combinations(alone, 2))
        assert 0 < distance(together, alone[0], name) < noise, name


def distance(one: pd.DataFrame, other: pd.DataFrame, name: str) -> float:
    return float(np.sqrt(np.mean((one[name] - other[name]) ** 2)))


def test_two_ranks_score_as_one_process_does(exact: Path, again: Mapping[str, Scores]) -> None:
    fitted = scores_of(exact)
    for one, other in ((fitted, again["alone, test"]), (again["together, validation"], again["alone, validation"])):
        assert one.predictions == other.predictions
        assert {"accuracy", "loss", "ece", "per_class"} <= one.metrics.keys() & other.metrics.keys()
        for key in one.metrics.keys() & other.metrics.keys() - {"checkpoint"}:
            assert one.metrics[key] == other.metrics[key], key


def test_validation_while_training_gives_the_score_of_the_checkpoint(exact: Path, again: Mapping[str, Scores]) -> None:
    epoch = json.loads((exact / "metrics.json").read_text())["epoch"]
    row, metrics = curves(exact).iloc[epoch - 1], again["alone, validation"].metrics
    assert row["val/acc"] == np.float32(metrics["accuracy"])
    assert row["val/f1_macro"] == np.float32(metrics["f1_macro"])
    assert row["val/loss"] == pytest.approx(metrics["loss"], rel=1e-6)  # summed in fp32, in another order


@pytest.mark.parametrize("name", ["run", "together"])
def test_each_image_is_scored_once(exact: Path, again: Mapping[str, Scores], name: str) -> None:
    table = pd.read_csv(exact.parent / name / "predictions.csv")
    assert len(table) == 65
    assert table["path"].is_unique


def test_the_ranks_share_one_folder(exact: Path, again: Mapping[str, Scores]) -> None:
    assert {path.name for path in exact.parent.iterdir()} == {"run", "alone_test", "alone_validation", "together"}
