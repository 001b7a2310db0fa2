"""The moving average of the weights is that of the textbook, and its memory suits the run."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

from fer_lightning.callbacks.moving_average import MovingAverage
from fer_lightning.core.errors import ConfigError


class Line(pl.LightningModule):
    """A weight that training sets to its step, 1, 2, …, with batch normalisation beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.norm = nn.BatchNorm1d(1)
        self.register_buffer("constant", torch.tensor(1 / 510))
        self.means: list[Tensor] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.norm(batch)
        self.means.append(self.norm.running_mean.clone())
        return -self.weight

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([self.weight], lr=1.0)


def averaged(average: MovingAverage, steps: int = 6, epochs: int = 1, **options: Any) -> Line:
    model = Line()
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[average], accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_checkpointing=False, enable_model_summary=False, **options,
    )  # fmt: skip
    images = torch.arange(4.0 * steps).view(-1, 1) ** 2
    trainer.fit(model, torch.utils.data.DataLoader(images, batch_size=4))
    return model  # of which Lightning has replaced the weights by their average


def moving(values: list[Any], fractions: list[float]) -> Any:
    average = values[0]
    for value, kept in zip(values[1:], fractions, strict=True):
        average = kept * average + (1 - kept) * value
    return average


@pytest.mark.parametrize(
    ("settings", "fractions"),
    [
        ({"decay": 0.25, "warmup": False}, [0.25] * 5),
        ({"decay": 0.35}, [2 / 11, 3 / 12, 4 / 13, 0.35, 0.35]),  # 5 / 14 is more
        ({"horizon": 0.25, "warmup": False}, [1 - 1 / 1.5] * 5),
        ({"horizon": 1.0}, [2 / 11, 3 / 12, 4 / 13, 5 / 14, 6 / 15]),
        ({"horizon": 0.01, "warmup": False}, [0.0] * 5),  # less than a step
    ],
)
def test_weights_and_statistics_are_averaged(settings: dict[str, Any], fractions: list[float]) -> None:
    model = averaged(MovingAverage(**settings))
    assert model.weight.item() == pytest.approx(moving([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], fractions))
    torch.testing.assert_close(model.norm.running_mean, moving(model.means, fractions))
    assert model.norm.num_batches_tracked == 6
    assert model.constant == torch.tensor(1 / 510)  # not a bit is lost


def test_the_horizon_counts_steps_of_the_whole_run_whatever_the_updates() -> None:
    average = MovingAverage(horizon=0.5, warmup=False, update_every_n_steps=2)
    averaged(average, epochs=3)
    assert 1 / (1 - average.kept(99)) == pytest.approx(0.5 * 18 / 2)


def test_until_the_first_update_the_latest_weights_count() -> None:
    assert averaged(MovingAverage(decay=0.5, update_starting_at_step=99)).weight == 6
    late = averaged(MovingAverage(decay=0.5, warmup=False, update_starting_at_step=4))
    assert late.weight == (5 + 6) / 2


def test_a_run_without_an_end_has_no_horizon() -> None:
    with pytest.raises(ConfigError, match=r"type trainer\.max_epochs=20"):
        averaged(MovingAverage(horizon=0.1), epochs=-1)


@pytest.mark.parametrize("wrong", [{"decay": 1.0}, {"decay": -0.1}, {"horizon": 0.0}, {"horizon": 1.5}])
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MovingAverage(**wrong)
