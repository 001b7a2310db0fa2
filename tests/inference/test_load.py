"""From settings to a Predictor."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.cli.arguments import complete
from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.load import load_predictor


def test_a_model_among_the_pictures_is_told_by_its_name(compose: Callable[..., DictConfig], tiny_onnx: Path) -> None:
    typed = ("output_dir=out", f"source=[photo.jpg,{tiny_onnx}]")
    with pytest.raises(ConfigError, match="is a model and no picture: type model=") as told:
        load_predictor(compose("predict", *typed))
    advice = str(told.value).rpartition("type ")[2]
    completed = complete("predict", [*typed, *shlex.split(advice)], "source", swept=False)
    assert load_predictor(compose("predict", *completed)).recognizer.path == tiny_onnx
