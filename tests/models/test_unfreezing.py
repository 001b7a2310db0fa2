"""Gradual unfreezing: stage by stage from the last to the first, by the epoch alone."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.parameter_groups import layer_numbers
from fer_lightning.models.unfreezing import frozen_parameters

IMAGES = torch.randint(0, 256, (16, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


@pytest.mark.parametrize("name", ["small_cnn", "resnet10t", "test_vit"])
@pytest.mark.parametrize("per_stage", [1, 3])
def test_a_stage_more_is_trained_every_few_epochs(name: str, per_stage: int) -> None:
    network = build_backbone(name, num_classes=7, in_channels=1, image_size=48)
    stages = layer_numbers(network, coarse=True)
    last = max(stages.values())
    for epochs in range(per_stage * (last + 2)):
        trained = {stages[key] for key in stages.keys() - frozen_parameters(network, epochs, per_stage)}
        assert trained == set(range(max(0, last - 1 - epochs // per_stage), last + 1))


class States(pl.Callback):
    """The state of the backbone at the start of each epoch, and at the end of the last."""

    def __init__(self) -> None:
        self.states: list[dict[str, torch.Tensor]] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        backbone: Any = module.backbone
        self.states.append({name: value.clone() for name, value in backbone.state_dict().items()})

    on_train_end = on_train_epoch_start

    def moved(self, epoch: int) -> set[str]:
        """Return the parts that changed in an epoch, weights or statistics of batch norm."""
        before, after = self.states[epoch], self.states[epoch + 1]
        return {name.rsplit(".", 2)[0] for name in before if not torch.equal(before[name], after[name])}


def test_neither_weights_nor_statistics_of_a_frozen_stage_move() -> None:
    torch.manual_seed(1)
    model = ExpressionClassifier(
        "small_cnn", ["a", "b"], image_size=16, backbone_kwargs={"widths": [4, 4, 4]}, freeze_backbone=True,
        unfreeze_epoch=1, unfreeze_epochs_per_stage=2,
    )  # fmt: skip
    rows = [(image, row % 2, row) for row, image in enumerate(IMAGES)]
    states = States()
    trainer = pl.Trainer(max_epochs=6, accelerator="cpu", devices=1, callbacks=[states], **QUIET)  # type: ignore[arg-type]
    trainer.fit(model, DataLoader(rows, batch_size=8))  # type: ignore[arg-type]
    stages = ["blocks.2", "blocks.1", "blocks.0"]
    reached = [0, 1, 1, 2, 2, 3]
    for epoch, count in enumerate(reached):
        assert {part for part in states.moved(epoch) if part.startswith("blocks")} == set(stages[:count]), epoch


def test_epochs_of_a_stage_are_positive() -> None:
    with pytest.raises(ValueError, match="unfreeze_epochs_per_stage must be 1 or more"):
        ExpressionClassifier("small_cnn", ["a", "b"], unfreeze_epoch=1, unfreeze_epochs_per_stage=0)
