"""Loss and accuracy of a training epoch are those of its images, however few steps are logged, and nobody waits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from fer_lightning.data.loading.dataset import Batch, SplitImages
from fer_lightning.data.loading.loaders import ResidentLoader, TrainLoader
from fer_lightning.data.loading.sampler import TrainBatchSampler
from fer_lightning.models.classifier import ExpressionClassifier

CLASSES = ["angry", "happy", "sad"]
COUNT, BATCH = 40, 7  # the sixth batch has five images
DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, 3, COUNT)
IMAGES = SplitImages(
    DRAW.integers(0, 256, (COUNT, 1, 16, 16), dtype=np.uint8), np.arange(COUNT), LABELS, np.arange(COUNT)
)
SETTINGS = {"image_size": 16, "backbone_kwargs": {"widths": [4]}}


class Noting(ExpressionClassifier):
    """Keeps the batches that it was trained on, by epoch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trained: dict[int, list[Batch]] = {}
        self.logged: dict[int, dict[str, float]] = {}

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.trained.setdefault(self.current_epoch, []).append(batch)
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        names = ("train/loss", "train/acc")
        self.logged[self.current_epoch] = {name: self.trainer.callback_metrics[name].item() for name in names}


def untrained() -> Noting:
    torch.manual_seed(0)
    return Noting("small_cnn", CLASSES, optimizer=partial(torch.optim.SGD, lr=0.0), **SETTINGS)


def fit(ckpt_path: Path | None = None, model: Noting | None = None, **options: Any) -> Noting:
    sampler = TrainBatchSampler(LABELS, BATCH, strategy="shuffle", seed=1, drop_last=False)
    loader = TrainLoader(ResidentLoader(IMAGES, sampler, torch.device("cpu")), sampler)
    model = untrained() if model is None else model
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False}
    settings = {"logger": False, "enable_checkpointing": False, "max_epochs": 3, **quiet, **options}
    trainer = pl.Trainer(accelerator="cpu", devices=1, **settings)
    trainer.fit(model, loader, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return model


def recomputed(batches: list[Batch]) -> dict[str, float]:
    model, losses, hits = untrained().train(), [], []
    for images, labels, _ in batches:
        logits = model(images).detach()
        losses.append(F.cross_entropy(logits, labels, reduction="none"))
        hits.append(logits.argmax(1) == labels)
    return {"train/loss": torch.cat(losses).mean().item(), "train/acc": torch.cat(hits).float().mean().item()}


@pytest.mark.parametrize(("log_every_n_steps", "accumulate"), [(1, 1), (4, 1), (50, 1), (4, 4)])
def test_scores_of_an_epoch_are_those_of_its_images(log_every_n_steps: int, accumulate: int) -> None:
    model = fit(log_every_n_steps=log_every_n_steps, accumulate_grad_batches=accumulate)
    for epoch in range(3):
        assert [len(batch.labels) for batch in model.trained[epoch]] == [7, 7, 7, 7, 7, 5]
        assert model.logged[epoch] == pytest.approx(recomputed(model.trained[epoch]), abs=1e-6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Noting, Path]:
    """An unbroken run, and the folder with its checkpoints of each step."""
    folder = tmp_path_factory.mktemp("whole")
    saver = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    return fit(enable_checkpointing=True, callbacks=[saver]), folder


@pytest.mark.parametrize("done", [7, 9, 11, 12])
def test_a_resumed_epoch_has_the_scores_of_what_was_left(whole: tuple[Noting, Path], done: int) -> None:
    resumed = fit(whole[1] / f"step={done}.ckpt")
    assert [len(batches) for batches in resumed.trained.values()] == [12 - done, 6] if done < 12 else [6]
    for epoch, batches in resumed.trained.items():
        assert resumed.logged[epoch] == pytest.approx(recomputed(batches), abs=1e-6)
    assert resumed.logged[2] == whole[0].logged[2]


class Broken(Exception):
    """Ends a run as Ctrl-C does."""


class Breaking(pl.Callback):
    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.global_step == 3:
            raise Broken


def test_the_epoch_after_a_broken_one_starts_from_nothing() -> None:
    model = untrained()
    with pytest.raises(Broken):
        fit(model=model, callbacks=[Breaking()])
    model.trained.clear()
    fit(model=model, max_epochs=1)
    assert model.logged[0] == pytest.approx(recomputed(model.trained[0]), abs=1e-6)


def test_the_loss_between_two_logged_steps_is_theirs(tmp_path: Path) -> None:
    model = fit(log_every_n_steps=4, max_epochs=1, logger=CSVLogger(tmp_path, name="", version=""))
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    (row,) = [row for row in rows if row["train/loss_step"]]
    assert row["step"] == "3"
    expected = recomputed(model.trained[0][1:4])["train/loss"]  # the first is logged by itself, for the bar
    assert float(row["train/loss_step"]) == pytest.approx(expected, abs=1e-5)
