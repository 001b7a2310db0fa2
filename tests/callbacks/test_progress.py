"""The progress bar looks at the metrics, for which a program waits, only now and then, and ends where it should."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from fer_lightning.callbacks import progress
from fer_lightning.callbacks.progress import ProgressBar

STEPS = 12


class Counting(ProgressBar):
    """A bar as on a terminal, that notes at which batches it was moved and when the metrics were read."""

    def __init__(self) -> None:
        super().__init__()
        self.on_terminal = True
        self.moved: list[int] = []
        self.read = 0

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        self.read += 1
        return super().get_metrics(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        before = self.train_progress_bar.n
        super().on_train_batch_end(trainer, *args)
        if self.train_progress_bar.n != before:
            self.moved.append(self.train_progress_bar.n)


class Model(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.layer(batch).mean()
        self.log("train/loss_step", loss.detach())  # as the classifier does
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(bar: ProgressBar) -> None:
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_model_summary=False, callbacks=[bar],
    )  # fmt: skip
    trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(STEPS, 1), batch_size=1))


@pytest.mark.parametrize(
    ("pause", "moved"), [(0.0, [*range(1, STEPS + 1)] * 2), (1e9, [STEPS] * 2)], ids=["none", "long"]
)
def test_the_bar_moves_after_a_pause_and_at_the_end(
    pause: float, moved: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_PAUSE", pause)
    bar = Counting()
    fit(bar)
    assert bar.moved == moved
    assert bar.read - len(moved) <= 2  # once more at the end of each epoch
    shown = capsys.readouterr()
    assert f"{STEPS}/{STEPS}" in shown.out + shown.err
    assert "epoch 2/2" in shown.out + shown.err
    assert "train/loss_step=" in shown.out + shown.err


def test_a_log_file_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    fit(ProgressBar())
    shown = capsys.readouterr()
    assert "epoch" not in shown.out + shown.err
