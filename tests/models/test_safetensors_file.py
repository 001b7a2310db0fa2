"""A checkpoint comes back from safetensors as it was, and a file that is damaged or of another program is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save

from fer_lightning.core.errors import CheckpointError
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.safetensors_file import halved, write_safetensors


def told(**changes: Any) -> dict[str, Any]:
    values = {"backbone": "keras_cnn", "classes": ["happy", "sad"], "image_size": 48, "backbone_kwargs": None}
    about = {"version": "0.2.0", "torch": "2", "class": "fer_lightning.models.classifier.ExpressionClassifier"}
    plain = {"epoch": 4, "global_step": 70, "selection": {"selected_on": "validation"}, "facts": {"classes": ["a"]}}
    return {**plain, "hyper_parameters": values, "fer_lightning": about, **changes}


@pytest.mark.parametrize("half", [False, True])
def test_what_is_written_is_read(half: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ExpressionClassifier(**told()["hyper_parameters"])
    seen = {"images_seen_in_train": torch.tensor([3, -9]), "images_seen_in_validation": torch.tensor([5])}
    path = tmp_path / "model.safetensors"
    write_safetensors(path, told(), model.state_dict(), seen, half=half)
    found = Checkpoint.read(path)
    assert (found.epoch, found.global_step, found.selection) == (5, 70, {"selected_on": "validation"})
    assert found.hyper_parameters == told()["hyper_parameters"]
    assert torch.equal(found.content["seen"]["images_seen_in_train"], torch.tensor([3, -9]))
    for name, value in model.state_dict().items():
        assert torch.equal(found.content["state_dict"][name], halved(value).float() if half else value)
    stored = {name: value.dtype for name, value in load_file(path).items() if "weight" in name and value.ndim > 1}
    assert {*stored.values()} == {torch.float16 if half else torch.float32}
    images = torch.randint(0, 256, (2, 1, 48, 48), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(found.build()(images), model.eval()(images), rtol=0, atol=1e-2 if half else 0)


def test_what_float16_cannot_hold_stays_as_it_is() -> None:
    assert halved(torch.full((2, 2), 1e6)).dtype == torch.float32
    assert halved(torch.ones(2, 2)).dtype == torch.float16
    assert halved(torch.ones(2)).dtype == torch.float32
    assert halved(torch.ones(2, 2, dtype=torch.int64)).dtype == torch.int64


def test_what_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    for value in ({1: "by number"}, {"mean": float("nan")}):
        with pytest.raises(ValueError, match="JSON"):
            write_safetensors(tmp_path / "x", told(hyper_parameters=value), {}, {})
    write_safetensors(tmp_path / "x", told(hyper_parameters={"mean": (0.5, 0.5)}), {"a": torch.ones(1)}, {})
    assert Checkpoint.read(tmp_path / "x").hyper_parameters == {"mean": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"format": "pt"}, "holds no fer_lightning model"),
        ({"checkpoint": "{"}, "cannot be read as a checkpoint"),
        ({"checkpoint": "[]"}, "cannot be read as a checkpoint"),
        ({"checkpoint": json.dumps(told(hyper_parameters=[]))}, "cannot be read as a checkpoint"),
        ({"checkpoint": json.dumps(told(epoch="five"))}, "cannot be read as a checkpoint"),
    ],
)
def test_damaged_and_foreign_files_are_refused(metadata: dict[str, str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.ones(2)}, metadata))
    with pytest.raises(CheckpointError, match=said):
        Checkpoint.read(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        Checkpoint.read(path)
