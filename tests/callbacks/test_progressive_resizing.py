"""Training images grow in the course of a run; everything else sees their full size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import DictConfig
from torch.nn import functional as F

from fer_lightning.callbacks.progressive_resizing import ProgressiveResizing
from fer_lightning.core.errors import ConfigError
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.normalize import Normalize
from fer_lightning.training.run import TrainingRun


class Sides(pl.Callback):
    """Notes the pixels a side that the network sees in each epoch, in training and in validation."""

    def __init__(self, model: ExpressionClassifier) -> None:
        self.trained: list[int] = []
        self.validated: set[int] = set()
        model.backbone.register_forward_pre_hook(self.note)

    def note(self, network: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        side = inputs[0].shape[-1]
        self.trained.append(side) if network.training else self.validated.add(side)


def fitted(resizing: ProgressiveResizing, epochs: int, *, size: int = 24, **options: Any) -> Sides:
    data = ExpressionDataModule(synthetic={"train": 14, "validation": 7, "test": 7}, image_size=size, batch_size=14)
    data.setup()
    arguments = {"backbone_kwargs": {"widths": [4, 4]}, **options.pop("model", {})}
    model = ExpressionClassifier("small_cnn", data.classes, image_size=size, **arguments)
    sides = Sides(model)
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", devices=1, logger=False, callbacks=[resizing], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, **options,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    assert model.pixels.training_size is None
    return sides


@pytest.mark.parametrize(
    ("settings", "epochs", "trained"),
    [
        ({"start_size": 8, "until": 0.5}, 8, [8, 8, 16, 16, 24, 24, 24, 24]),
        ({"start_size": 8, "until": 0.5, "step": 16}, 4, [8, 8, 24, 24]),
        ({"start_size": 16, "until": 1.0, "step": 5}, 4, [16, 16, 21, 21]),  # 24 would begin after the last epoch
        ({"start_size": 8, "until": 0.0}, 2, [24, 24]),
        ({"start_size": None}, 2, [24, 24]),
    ],
)
def test_images_grow_with_the_run(settings: dict[str, Any], epochs: int, trained: list[int]) -> None:
    sides = fitted(ProgressiveResizing(**settings), epochs)
    assert sides.trained == trained
    assert sides.validated == {24}


def test_a_run_that_max_steps_ends_has_fewer_epochs() -> None:
    sides = fitted(ProgressiveResizing(8, until=0.5), -1, max_steps=4)
    assert sides.trained == [8, 16, 24, 24]


def test_upsampled_images_start_smaller_too() -> None:
    sides = fitted(ProgressiveResizing(16, until=0.5), 2, size=16, model={"input_size": 32})
    assert (sides.trained, sides.validated) == ([16, 32], {32})


def test_pixels_are_averaged_as_in_antialiased_resizing() -> None:
    images = torch.randint(0, 256, (2, 1, 24, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels = Normalize([0.5], [0.25])
    pixels.training_size = 8
    assert pixels.eval()(images).shape[-1] == 24
    expected = (F.interpolate(images / 255, size=8, mode="bilinear", antialias=True) - 0.5) / 0.25
    torch.testing.assert_close(pixels.train()(images), expected)


@pytest.mark.parametrize(
    ("settings", "model", "said", "cure"),
    [
        ((24,), {}, "start_size=24 must be less than the 24 pixels", "start_size=16"),
        ((4,), {"backbone_kwargs": {"widths": [4, 4, 4, 4]}}, "small_cnn cannot take images of 4 pixels", "=16"),
    ],
)
def test_sizes_that_the_network_cannot_take_are_refused(
    settings: tuple[int], model: dict[str, Any], said: str, cure: str
) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        fitted(ProgressiveResizing(*settings), 1, model=model)
    typed = int(str(error.value).rpartition("=")[2])
    assert f"={typed}".endswith(cure.rpartition("=")[2])
    fitted(ProgressiveResizing(typed), 1, model=model)


def test_a_network_of_one_size_only_is_told_to_do_without(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    # its first dense layer takes one size of map only
    settings = (
        "data.synthetic={train: 14, validation: 7, test: 7}",
        "data.image_size=32",
        "logger=none",
        "trainer=cpu",
    )
    resizing = ("model=keras_cnn", "callbacks.progressive_resizing.start_size=16")
    run = TrainingRun(compose("train", *settings, *resizing, f"output_dir={tmp_path}"))
    with pytest.raises(ConfigError, match=r"type callbacks\.progressive_resizing\.start_size=null"):
        run.fit()


@pytest.mark.parametrize("wrong", [{"until": -0.1}, {"until": 1.5}, {"step": 0}, {"start_size": 0}])
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProgressiveResizing(**wrong)  # type: ignore[arg-type]
