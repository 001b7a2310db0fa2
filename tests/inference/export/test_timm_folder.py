"""The folder that timm loads."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.inference.export.timm_folder import usage

SaveModel = Callable[..., Path]


def by_timm(folder: Path, pictures: list[Image.Image]) -> np.ndarray:
    """Return the probabilities that timm's model gives after timm's transform."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    with torch.inference_mode():
        return model(torch.stack([transform(picture) for picture in pictures])).softmax(dim=1).numpy()


def test_timm_gives_what_the_checkpoint_gives(legacy: Path, tmp_path: Path) -> None:
    checkpoint = legacy / "checkpoints" / "best.ckpt"
    folder = export_checkpoint(checkpoint, tmp_path / "folder", "timm").path
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    faces = np.random.default_rng(0).integers(0, 256, (4, 1, 16, 16), dtype=np.uint8)
    found = by_timm(folder, [Image.fromarray(face[0]) for face in faces])
    np.testing.assert_allclose(found, CheckpointRecognizer.load(checkpoint)(faces), atol=1e-4)
    config = json.loads((folder / "config.json").read_text())
    assert config["label_names"][3] == "happy"
    assert config["fer_lightning"]["fingerprint"].startswith("drawn-")
    assert str(tmp_path) not in json.dumps(config)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("test_vit", {"normalize": "unit"}),  # its input size is fixed by a position embedding
        ("test_convnext", {"normalize": "imagenet", "input_size": 48}),
    ],
)
def test_colour_other_sizes_and_scales(
    name: str, arguments: dict[str, object], save_model: SaveModel, tmp_path: Path
) -> None:
    checkpoint = save_model(name, channels=3, mean=[0.4, 0.5, 0.6], std=[0.2] * 3, **arguments)
    folder = export_checkpoint(checkpoint, tmp_path / "folder", "timm").path
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, 3, 4, 4), dtype=np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    found = by_timm(folder, [Image.fromarray(face.transpose(1, 2, 0)) for face in faces])
    # Pillow rounds what it resizes to bytes
    tolerance = 1e-2 if "input_size" in arguments else 1e-4
    np.testing.assert_allclose(found, CheckpointRecognizer.load(checkpoint)(faces), atol=tolerance)


def test_the_command_that_is_printed_works(legacy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = export_checkpoint(legacy / "checkpoints" / "best.ckpt", tmp_path / "it's here", "timm").path
    program, flag, code = shlex.split(usage(path))
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    assert "Conv2d" in capsys.readouterr().out


def test_a_folder_of_something_else_is_left_alone(legacy: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    config = tmp_path / "other" / "config.json"
    config.write_text('{"architecture": "bert"}')
    with pytest.raises(ConfigError, match="holds another model"):
        export_checkpoint(legacy / "checkpoints" / "best.ckpt", tmp_path / "other", "timm")
    assert config.read_text() == '{"architecture": "bert"}'
    assert [*config.parent.iterdir()] == [config]


@pytest.mark.parametrize("arguments", [("vgg11",), ("resnet10t", "small")])
def test_what_timm_does_not_build_is_refused(arguments: tuple[str, ...], save_model: SaveModel, tmp_path: Path) -> None:
    checkpoint = save_model(arguments[0], stem=arguments[1] if arguments[1:] else "imagenet")
    with pytest.raises(ConfigError, match="type format=onnx or format=torch_export"):
        export_checkpoint(checkpoint, tmp_path / "folder", "timm")
