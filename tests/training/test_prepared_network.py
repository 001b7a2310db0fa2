"""A network that takes its first filters from training images: once, and never in a run that continues another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.training import build
from fer_lightning.training.run import TrainingRun

TINY = (
    "model=compact",
    "model.backbone_kwargs.widths=[8,8,8]",
    "model.backbone_kwargs.depths=[2,1,1]",
    "model.backbone_kwargs.stem=whitened",
    "model.backbone_kwargs.branches=true",
    "model.backbone_kwargs.drop_path=0.4",
    "model.backbone_kwargs.squeeze_excite=0.5",
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=none",
    "scheduler=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)


@pytest.fixture
def make(compose: Callable[..., DictConfig], tmp_path: Path) -> Callable[..., TrainingRun]:
    """Return a function that builds a run in a folder of a name: make("run", "trainer.max_epochs=2")."""
    return lambda name, *more: TrainingRun(compose("train", *TINY, *more, f"output_dir={tmp_path / name}"))


def test_filters_are_those_of_the_training_images(make: Callable[..., TrainingRun]) -> None:
    run = make("run")
    stem, data = run.model.backbone.stem, run.data
    made = stem.weight.clone()
    for split, same in (("validation", False), ("train", True)):
        stem.prepare(run.model.pixels(torch.from_numpy(data.images(data.rows(split)))))
        assert torch.equal(stem.weight, made) is same


def test_a_continued_run_keeps_its_filters_and_ends_as_an_unbroken_one(
    make: Callable[..., TrainingRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken, cut = make("unbroken", "trainer.max_epochs=2"), make("cut", "trainer.max_epochs=2", "trainer.max_steps=4")
    unbroken.fit()
    cut.fit()
    monkeypatch.setattr(build, "PREPARED", 2)  # it would compute others
    continued = make("cut", "trainer.max_epochs=2", f"ckpt_path={tmp_path / 'cut/checkpoints/last.ckpt'}")
    continued.fit()
    again = continued.model.state_dict()
    assert [key for key, value in unbroken.model.state_dict().items() if not torch.equal(again[key], value)] == []


def test_weights_bring_their_filters(make: Callable[..., TrainingRun], tmp_path: Path) -> None:
    run = make("run")
    run.model.backbone.stem.weight.mul_(2)
    run.trainer.strategy.connect(run.model)
    run.trainer.save_checkpoint(tmp_path / "weights.ckpt")
    other = make("other", f"model.weights={tmp_path / 'weights.ckpt'}")
    assert torch.equal(other.model.backbone.stem.weight, run.model.backbone.stem.weight)
