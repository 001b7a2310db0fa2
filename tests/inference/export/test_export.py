"""The verb `export`: one file that gives the probabilities of its checkpoint, or none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from fer_lightning import export as verb
from fer_lightning.core.errors import UserError
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_onnx
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.models.classifier import ExpressionClassifier

SaveModel = Callable[..., Path]


@pytest.fixture
def save_model(tmp_path: Path) -> SaveModel:
    """Return a function that writes the checkpoint of a network with random weights and statistics."""

    def save(backbone: str = "small_cnn", **arguments: object) -> Path:
        torch.manual_seed(0)
        defaults: dict[str, object] = {"image_size": 32, "mean": [0.4], "std": [0.2]}
        model = ExpressionClassifier(backbone, ["happy", "sad", "surprise"], **(defaults | arguments))  # type: ignore[arg-type]
        for name, buffer in model.backbone.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(std=0.1)
        for parameter in model.backbone.get_classifier().parameters():
            parameter.data.normal_(std=0.5)  # else nearly equal probabilities, and a wrong graph would not show
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False)
        trainer.strategy.connect(model)
        path = tmp_path / "checkpoints" / "best.ckpt"
        trainer.save_checkpoint(path)
        return path

    return save


def test_the_verb_writes_one_file_that_predicts_as_the_checkpoint(
    save_model: SaveModel, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint, folder = save_model(), tmp_path / "exported"
    verb.main([f"ckpt_path={checkpoint}", "output=exported/faces.onnx"])
    out, err = capfd.readouterr()
    assert [path.name for path in folder.iterdir()] == ["faces.onnx"]
    assert "the same label for 100 %" in out
    assert "python -m fer_lightning.predict model=exported/faces.onnx source=photo.jpg" in out
    assert err == ""
    exported, original = OnnxRecognizer.load(folder / "faces.onnx"), CheckpointRecognizer.load(checkpoint)
    assert (exported.classes, exported.image_size, exported.channels) == (["happy", "sad", "surprise"], 32, 1)
    for count in (1, 3):
        faces = np.random.default_rng(count).integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
        np.testing.assert_allclose(exported(faces), original(faces), atol=1e-5)


def test_the_metadata_say_what_it_is_and_nothing_of_the_machine(save_model: SaveModel, tmp_path: Path) -> None:
    done = export_onnx(save_model(), tmp_path / "faces.onnx")
    facts = OnnxRecognizer.load(done.path).session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["happy", "sad", "surprise"]
    assert facts["backbone"] == "small_cnn"
    assert "(N, 1, 32, 32)" in facts["description"]
    content = done.path.read_bytes()
    assert b".py" not in content  # lines of source files, which torch notes at each node
    assert str(tmp_path).encode() not in content


def test_a_graph_that_differs_leaves_the_old_file(
    save_model: SaveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "faces.onnx"
    output.write_text("before")
    checkpoint = save_model(input_size=48)
    wrong = torch.ones(48, 32) / 32
    monkeypatch.setattr("fer_lightning.inference.export.probabilities.resize_matrix", lambda before, after: wrong)
    with pytest.raises(UserError, match="nothing was written"):
        export_onnx(checkpoint, output)
    assert output.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"faces.onnx", "checkpoints"}
