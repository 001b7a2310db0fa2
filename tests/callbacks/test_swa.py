"""The mean of the weights of the last epochs is validated, saved and returned, with statistics of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from fer_lightning.callbacks.averaged_weights import AveragedWeights
from fer_lightning.callbacks.swa import SWA
from fer_lightning.core.errors import ConfigError
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.models.batch_norm import recompute_statistics
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.training import build


class Course(pl.Callback):
    """Notes the latest weights after each epoch, and what was validated."""

    def __init__(self) -> None:
        self.latest: list[dict[str, Tensor]] = []
        self.losses: list[float] = []
        self.saved: dict[str, Tensor] = {}

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        if trainer.is_last_batch:
            self.latest.append({name: value.detach().clone() for name, value in module.named_parameters()})

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.losses.append(trainer.callback_metrics["val/loss"].item())
        self.saved = trainer._checkpoint_connector.dump_checkpoint()["state_dict"]


def fitted(*averages: AveragedWeights, epochs: int = 4) -> tuple[ExpressionClassifier, ExpressionDataModule, Course]:
    pl.seed_everything(1, verbose=False)
    data = ExpressionDataModule(synthetic={"train": 28, "validation": 7, "test": 7}, image_size=16, batch_size=28)
    data.setup()
    model = ExpressionClassifier("small_cnn", data.classes, image_size=16, backbone_kwargs={"widths": [4, 4]})
    course = Course()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=[*averages, course],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    return model, data, course


def check_first_statistics(model: ExpressionClassifier, data: ExpressionDataModule) -> None:
    """Compare with the mean and variance over all training images at once."""
    images = torch.from_numpy(data.images(data.rows("train")))
    layer, norm = model.backbone.blocks[0][0], model.backbone.blocks[0][1]
    maps = layer(model.pixels(images)).detach().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, maps.mean(1))
    torch.testing.assert_close(norm.running_var, maps.var(1))


@pytest.mark.parametrize(("settings", "averaged"), [((0.5,), [2, 3]), ((0.2, 2), [1, 3]), ((0.9,), [3])])
def test_the_last_epochs_are_averaged(settings: tuple[Any, ...], averaged: list[int]) -> None:
    model, data, course = fitted(SWA(*settings))
    for name, value in model.named_parameters():
        mean = torch.stack([course.latest[epoch][name] for epoch in averaged]).mean(0)
        torch.testing.assert_close(value, mean)
        assert torch.equal(course.saved[name], value)
    check_first_statistics(model, data)
    assert torch.equal(course.saved["backbone.blocks.0.1.running_mean"], model.backbone.blocks[0][1].running_mean)


def test_before_and_during_the_average_the_course_is_that_of_a_plain_run() -> None:
    (_, _, plain), (_, _, course) = fitted(), fitted(SWA(0.5))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(plain.latest, course.latest, strict=True) for name in a)
    assert course.losses[:2] == plain.losses[:2]
    assert course.losses[2] != plain.losses[2]  # the latest weights, with statistics that are exact
    assert course.losses[3] != plain.losses[3]


def test_statistics_draw_the_same_dropout_each_time_and_nothing_of_the_run() -> None:
    model = ExpressionClassifier("small_cnn", ["a", "b"], image_size=16, backbone_kwargs={"widths": [4]})
    model.backbone.blocks.insert(0, nn.Dropout(0.5))
    images = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    state, found = torch.get_rng_state(), []
    for _ in range(2):
        recompute_statistics(model.eval(), [images])
        found.append(torch.cat([norm.running_mean for norm in norms]))
    assert torch.equal(*found)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    model = ExpressionClassifier("small_cnn", ["a", "b"], image_size=16, freeze_backbone=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    recompute_statistics(model, [torch.zeros(2, 1, 16, 16, dtype=torch.uint8)])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_two_averages_are_refused(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    ema = "+callbacks.ema={_target_: fer_lightning.callbacks.moving_average.MovingAverage}"
    with pytest.raises(ConfigError, match=r"both average the weights: type '~callbacks\.ema'"):
        build.build_components(compose("train", "callbacks=swa", ema, f"output_dir={tmp_path}"))
    build.build_components(compose("train", "callbacks=swa", "scheduler=swa", f"output_dir={tmp_path}"))


def test_of_a_run_that_ends_within_an_epoch_the_last_whole_one_counts() -> None:
    length = {"max_epochs": -1, "max_steps": 14, "num_training_batches": 4, "accumulate_grad_batches": 1}  # 3.5 epochs
    due = [SWA(0.2, 2)._is_due(cast(pl.Trainer, SimpleNamespace(current_epoch=epoch, **length))) for epoch in range(4)]
    assert due == [True, False, True, False]


@pytest.mark.parametrize("wrong", [{"start": 1.0}, {"start": -0.1}, {"every_n_epochs": 0}])
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SWA(**wrong)  # type: ignore[arg-type]
