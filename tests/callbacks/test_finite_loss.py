"""A loss that is not finite ends training within one logging interval, and names step and images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.core.errors import DivergedError
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.training.run import TrainingRun

TINY = (  # six batches an epoch
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=7",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
AT_STEP = "++callbacks.last_checkpoint.every_n_train_steps=1"


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        (["trainer.log_every_n_steps=2"], 10),
        (["trainer.limit_val_batches=0", "monitor=train/loss", "mode=min"], 12),
        ([AT_STEP, "callbacks.last_checkpoint.save_on_train_epoch_end=false"], 9),
    ],
    ids=["logging interval", "end of epoch", "checkpoint"],
)
def test_a_loss_that_is_not_finite_ends_training(
    compose: Callable[..., DictConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    steps: int,
) -> None:
    plain = ExpressionClassifier.loss_and_hits

    def diverging(self: ExpressionClassifier, *batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        loss, hits = plain(self, *batch)
        return (loss * float("nan") if self.global_step >= 8 else loss), hits

    monkeypatch.setattr(ExpressionClassifier, "loss_and_hits", diverging)
    run = TrainingRun(compose("train", *TINY, *options, f"output_dir={tmp_path}"))
    message = r"not finite \(nan\) since step 9, batch 3 of epoch 2, of the images .*/.*, .* and 4 more: type a smaller"
    with pytest.raises(DivergedError, match=message):
        run.fit()
    assert run.trainer.global_step == steps
    kept = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert kept["global_step"] == (8 if AT_STEP in options else 6)
    assert all(value.isfinite().all() for value in kept["state_dict"].values())
