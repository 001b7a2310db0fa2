"""Checkpoints of any network, with weights that make a wrong graph show."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from fer_lightning.models.classifier import ExpressionClassifier

SaveModel = Callable[..., Path]
LEGACY = Path(__file__).parents[2] / "legacy" / "data" / "train"


@pytest.fixture
def save_model(tmp_path: Path) -> SaveModel:
    """Return a function that writes the checkpoint of a network: save_model("vgg16", stem="small")."""

    def save(backbone: str = "small_cnn", **arguments: object) -> Path:
        defaults: dict[str, object] = {"image_size": 32, "mean": [0.4], "std": [0.2]}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = ExpressionClassifier(backbone, ["happy", "sad", "surprise"], **(defaults | arguments))  # type: ignore[arg-type]
            for name, buffer in model.backbone.named_buffers():
                if name.endswith("running_mean"):
                    buffer.normal_(std=0.1)
            last = model.backbone.get_classifier()
            for layer in last if isinstance(last, tuple) else (last,):
                layer.weight.data.normal_(std=0.3)  # or all probabilities would be nearly equal
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        trainer.strategy.connect(model)
        path = tmp_path / "checkpoints" / "best.ckpt"
        trainer.save_checkpoint(path)
        return path

    return save


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    """The folder of a run of version 0.1: a tiny ResNet of timm's, 16 px, grey, on drawn faces."""
    return shutil.copytree(LEGACY, tmp_path / "legacy")
