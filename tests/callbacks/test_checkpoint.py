"""`best.ckpt` is of the best epoch, however many are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.callbacks.checkpoint import RunCheckpoint
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.run import TrainingRun

TINY = (
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=5",
    "optimizer.lr=0.02",  # so high that the loss rises and falls
    "scheduler=none",
    "monitor=val/loss",
    "mode=min",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)


@pytest.mark.parametrize("kept", [2, -1])
def test_the_best_of_many_has_the_one_name(compose: Callable[..., DictConfig], tmp_path: Path, kept: int) -> None:
    option = f"callbacks.best_checkpoint.save_top_k={kept}"
    run = TrainingRun(compose("train", *TINY, option, f"output_dir={tmp_path}"))
    run.fit()
    losses = pd.read_csv(tmp_path / "history.csv").set_index("epoch")["val/loss"].sort_values()
    assert losses.index[0] < 5  # or the last epoch would be right by chance
    best = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    assert best["epoch"] + 1 == losses.index[0]
    assert run.monitored == pytest.approx(losses.iloc[0])
    count = 5 if kept == -1 else kept
    names = {f"best_epoch{epoch}.ckpt" for epoch in losses.index[:count]} | {"best.ckpt", "last.ckpt"}
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == names
    for name, split in (("best.ckpt", "validation"), ("last.ckpt", None)):
        assert Checkpoint.read(tmp_path / "checkpoints" / name).selection == {"selected_on": split}


def test_a_best_that_nothing_tells_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without monitor nothing says which epoch"):
        RunCheckpoint(tmp_path, filename="best")
    with pytest.raises(ValueError, match="every_n_train_steps=5 saves weights that val/acc was not measured with"):
        RunCheckpoint(tmp_path, filename="best", monitor="val/acc", every_n_train_steps=5)
