"""What a training step does beside learning, through a real Trainer."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from fer_lightning.models.classifier import ExpressionClassifier

IMAGES = torch.randint(0, 256, (16, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def fit(fused: bool, **options: Any) -> ExpressionClassifier:
    pl.seed_everything(1, verbose=False)
    model = ExpressionClassifier(
        "small_cnn", ["a", "b"], image_size=16, drop_rate=0.0, backbone_kwargs={"widths": [4, 8]},
        optimizer=lambda groups: torch.optim.AdamW(groups, lr=0.01, fused=fused),
    )  # fmt: skip
    rows = [(image, row % 2, row) for row, image in enumerate(IMAGES)]
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", devices=1, **quiet, **options)
    trainer.fit(model, DataLoader(rows, batch_size=8))  # type: ignore[arg-type]
    return model


@pytest.mark.parametrize("algorithm", ["norm", "value"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_a_fused_optimizer_takes_clipped_gradients(precision: str, algorithm: str) -> None:
    options = {"precision": precision, "gradient_clip_val": 1e-4, "gradient_clip_algorithm": algorithm}
    fused, plain = (fit(fused, **options) for fused in (True, False))
    for one, other in zip(fused.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    largest = [parameter.grad.abs().max().item() for parameter in fused.parameters()]
    assert 0 < max(largest) <= 1e-4 * (1 + 1e-3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_a_clipping_of_zero_is_none(precision: str) -> None:
    clipped, free = (fit(True, precision=precision, gradient_clip_val=value) for value in (0, None))
    for one, other in zip(clipped.parameters(), free.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_never_logging_is_no_division_by_nothing() -> None:
    model = fit(True, log_every_n_steps=0)
    assert set(model.trainer.callback_metrics) >= {"train/loss", "train/acc"}
