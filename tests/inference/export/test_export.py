"""The verb `export`: what is written gives the probabilities of its checkpoint, or nothing is written."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning import export as verb
from fer_lightning import predict
from fer_lightning.core.errors import UserError
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.inference.predictor import Predictor
from fer_lightning.models.own_module import adapt
from fer_lightning.training.run import train

LEGACY = Path(__file__).parents[2] / "legacy" / "data" / "train"
SaveModel = Callable[..., Path]
Refused = Callable[..., str]

OWN = """
import lightning.pytorch as pl, torch

class Brightness(pl.LightningModule):
    def __init__(self, classes=2):
        super().__init__()
        self.layer = torch.nn.Linear(1, classes)

    def predict_step(self, batch, batch_idx):
        return self.layer(batch.images.float().mean(dim=(2, 3)) / 255).softmax(dim=1)
"""


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs the verb, expects an exit code and returns the message."""

    def run(*arguments: str, code: int = 2) -> str:
        with pytest.raises(SystemExit) as stopped:
            verb.main(list(arguments))
        assert stopped.value.code == code
        return capsys.readouterr().err

    return run


def test_the_verb_writes_one_file_that_predicts_as_the_checkpoint(
    checkpoint: Path,
    portrait_file: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    verb.main([f"ckpt_path={checkpoint}", "output=exported/faces.onnx"])
    out, err = capfd.readouterr()
    assert [path.name for path in Path("exported").iterdir()] == ["faces.onnx"]
    assert {path.name for path in Path().iterdir()} == {"exported", "outputs", portrait_file.name}
    assert "the same label for 100 %" in out
    assert "drawn faces" in out
    assert err == ""
    *_, command = out.splitlines()
    assert command == "python -m fer_lightning.predict model=exported/faces.onnx source=photo.jpg"
    folder = predict.main(command.replace("photo.jpg", portrait_file.name).split()[3:])
    assert (folder / "predictions.csv").read_text().count(portrait_file.name) == 1
    exported, original = OnnxRecognizer.load("exported/faces.onnx"), CheckpointRecognizer.load(checkpoint)
    assert (exported.classes, exported.image_size, exported.channels) == (original.classes, 24, 1)
    assert exported.fingerprint == original.fingerprint == "f00d"
    for count in (1, 3):
        faces = np.random.default_rng(count).integers(0, 256, (count, 1, 24, 24), dtype=np.uint8)
        np.testing.assert_allclose(exported(faces), original(faces), atol=1e-5)


def test_a_checkpoint_of_version_01_goes_to_the_output_folder_under_the_name_of_its_network(
    legacy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verb.main([f"ckpt_path={legacy}/checkpoints/best.ckpt", f"hydra.run.dir={tmp_path}/out"])
    assert "compared on 7 validation images (drawn faces (synthetic)" in capsys.readouterr().out
    file = tmp_path / "out" / "resnet10t.onnx"
    facts = OnnxRecognizer.load(file).session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"])[3] == "happy"
    assert "images: uint8 (N, 1, 16, 16), grey" in facts["description"]
    assert (facts["backbone"], facts["epoch"], facts["selected_on"]) == ("resnet10t", "1", "validation")
    assert json.loads(facts["scores"])["accuracy"] == json.loads((legacy / "metrics.json").read_text())["accuracy"]
    assert facts["fingerprint"].startswith("drawn-14-7-7")
    content = file.read_bytes()
    assert b".py" not in content, "lines of source files, which torch notes at each node"
    assert str(tmp_path).encode() not in content


@pytest.mark.slow
def test_averaged_weights_are_exported_as_they_were_scored(
    tmp_path: Path, kaggle_tree: Path, compose: Callable[..., DictConfig]
) -> None:
    tiny = ("data.image_size=16", "data.batch_size=7", "trainer=cpu", "trainer.precision=32-true")
    averaged = ("trainer.max_epochs=1", "callbacks=ema", "callbacks.ema.decay=0.5", f"data.root={kaggle_tree}")
    train(compose("train", *tiny, *averaged, f"output_dir={tmp_path / 'run'}"))
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    last = content["current_model_state"]  # of Lightning's EMAWeightAveraging: what the optimizer goes on from
    assert not all(torch.equal(value, last[name]) for name, value in content["state_dict"].items())
    file = export_checkpoint(checkpoint, tmp_path / "model.onnx").path
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    found = Predictor.load(file, faces="whole")(kaggle_tree / "images" / path for path in table["path"])
    probabilities = pd.DataFrame([face.probabilities for (face,) in found])
    np.testing.assert_allclose(probabilities, table[[*probabilities]], rtol=0, atol=1e-5)


def test_what_differs_from_its_checkpoint_is_not_written(
    save_model: SaveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "faces.pt2"
    output.write_text("before")
    wrong = torch.ones(48, 32) / 32
    monkeypatch.setattr("fer_lightning.inference.export.probabilities.resize_matrix", lambda before, after: wrong)
    with pytest.raises(UserError, match="nothing was written: the exported model is not the same"):
        export_checkpoint(save_model(input_size=48), output, "torch_export")
    assert output.read_text() == "before"
    assert {path.name for path in tmp_path.iterdir()} == {"faces.pt2", "checkpoints"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ckpt_path=nowhere.ckpt"], "no checkpoint at nowhere.ckpt"),
        (["ckpt_path={file}", "format=onx"], "did you mean format=onnx?"),
        (["ckpt_path={file}", "format=timm"], "small_cnn is none: type format=onnx or format=torch_export"),
        (["ckpt_path={file}", "output=to/m.pt2"], "type output=to/m.onnx, or format=torch_export"),
        (["ckpt_path={file}", "output="], "output is empty"),
        (["ckpt_path={file}", "output=m.bin"], "type output=m.bin.onnx"),
        (["ckpt_path={file}", "format=timm", "quantize=int8"], "leave out format=timm"),
        (["ckpt_path={file}", "quantize=int8"], "type data.root=PATH"),
        (["ckpt_path={file}", "quantize=fp16"], "quantize=fp16 is not"),
        (["ckpt_path={legacy}", "data.root=nowhere"], "nowhere"),
        (["ckpt_path={file}", "data=synthetic"], "what data it was trained on (it lacks settings, splits)"),
        (["model=compct"], "did you mean model=compact?"),
        (["ckpt_path={file}", "storage=float16", "quantize=int8"], "storage=float16 is for format=onnx, safetensors"),
        (
            ["ckpt_path={file}", "storage=float16", "format=torch_export"],
            "leave it out, or leave out format=torch_export",
        ),
        (["ckpt_path={file}", "format=release"], "holds no results of best.ckpt for the model card: type ckpt_path="),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    refused: Refused,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code = 3 if "data.root" in str(arguments) else 2
    places = {"file": checkpoint, "legacy": LEGACY / "checkpoints" / "best.ckpt"}
    assert message in refused(*(item.format(**places) for item in arguments), code=code)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_damaged_and_foreign_checkpoints_are_named(checkpoint: Path, tmp_path: Path, refused: Refused) -> None:
    damaged, foreign = tmp_path / "damaged.ckpt", tmp_path / "foreign.ckpt"
    damaged.write_bytes(checkpoint.read_bytes()[:-1000])
    torch.save({"state_dict": {}}, foreign)
    assert "cannot be read as a checkpoint" in refused(f"ckpt_path={damaged}", f"hydra.run.dir={tmp_path}/a")
    assert "holds no fer_lightning model" in refused(f"ckpt_path={foreign}", f"hydra.run.dir={tmp_path}/b")


def test_a_place_that_is_no_folder_is_named(checkpoint: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").touch()
    folder = f"hydra.run.dir={tmp_path}/out"
    told = refused(f"ckpt_path={checkpoint}", f"output={tmp_path}/file/m.onnx", folder, code=1)
    assert "cannot write to" in told
    assert "choose another with output=PATH" in told


def test_a_missing_extra_is_named(checkpoint: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert 'needs onnxscript: pip install "fer_lightning[onnx]"' in refused(f"ckpt_path={checkpoint}")


def test_an_onnxscript_made_for_another_torch_is_named(
    checkpoint: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def export(*_: object, **__: object) -> None:
        importlib.import_module("onnxscript._framework_apis.torch_1_0")

    monkeypatch.setattr(torch.onnx, "export", export)
    told = refused(f"ckpt_path={checkpoint}", f"hydra.run.dir={tmp_path}/out")
    assert "needs another onnxscript" in told
    assert "pip install --upgrade onnxscript" in told


@pytest.mark.parametrize("format", [pytest.param("onnx", marks=pytest.mark.slow), "torch_export"])
def test_a_module_of_ones_own_is_exported_if_allowed(
    format: str, tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own_package.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("own_package").Brightness()
    monkeypatch.delitem(sys.modules, "own_package")
    adapt(module, {"classes": 2}, {"classes": ["dark", "light"], "channels": 1, "image_size": 16})
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(module)
    file = tmp_path / "own.ckpt"
    trainer.save_checkpoint(file)
    arguments = [f"ckpt_path={file}", f"format={format}", f"hydra.run.dir={tmp_path}/out"]
    advice = re.search(r"type (security\.allow=\S+)", refused(*arguments))
    assert advice is not None
    assert "own_package" not in sys.modules
    verb.main([*arguments, advice[1]])
    assert "the same label for 100 %" in capsys.readouterr().out
