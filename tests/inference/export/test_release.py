"""`format=release`: a folder whose card and manifest tell what the run has measured."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_lightning import export
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.inference.app.facts import model_facts
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export import onnx_file, release, safetensors_file
from fer_lightning.inference.export.model_card import render_card
from fer_lightning.inference.export.run_record import RunRecord, without_folders
from fer_lightning.inference.export.trained import Trained
from fer_lightning.inference.recognizer import load_recognizer
from fer_lightning.models.checkpoint import Checkpoint


@pytest.mark.slow
def test_it_holds_both_files_a_manifest_and_a_card(
    legacy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "LARGEST", 0)  # so that both files hold the weights once
    best, folder = legacy / "checkpoints" / "best.ckpt", tmp_path / "shipped" / "tiny"
    typed = (f"ckpt_path={best}", "format=release", "storage=float16", f"output={folder}")
    export.main([*typed, f"hydra.run.dir={tmp_path}/out"])
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.onnx", "model.safetensors", "model.json", "MODEL_CARD.md"}
    told, card = json.loads((folder / "model.json").read_text()), (folder / "MODEL_CARD.md").read_text()
    for name, about in told["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == about["sha256"]
    metrics = json.loads((legacy / "metrics.json").read_text())
    assert (told["name"], told["backbone"], told["epoch"]) == ("tiny", "resnet10t", metrics["epoch"])
    assert told["shared"]
    assert b"model.safetensors" in (folder / "model.onnx").read_bytes()
    both = sum(about["bytes"] for about in told["files"].values()) / 1e6
    shown = dict(model_facts(load_recognizer(folder / "model.onnx")))["File"]
    assert shown == f"model.onnx and model.safetensors, {both:.1f} MB"
    assert "keep both files in one folder" in card
    assert told["scores"]["accuracy"] == metrics["accuracy"]
    assert told["parameters"] == metrics["parameters"]
    assert str(tmp_path) not in card + json.dumps(told)
    assert told["command"] in card
    original = CheckpointRecognizer.load(best)
    faces = np.random.default_rng(0).integers(0, 256, (9, 1, 16, 16), dtype=np.uint8)
    for name in told["files"]:
        np.testing.assert_allclose(load_recognizer(folder / name)(faces), original(faces), atol=5e-3)


def test_the_card_tells_the_numbers_of_the_run(legacy: Path) -> None:
    run = RunRecord.read(Checkpoint.read(legacy / "checkpoints" / "best.ckpt"))
    manifest = {
        "name": "tiny",
        "version": "0.1.0",
        "date": run.date,
        "backbone": "resnet10t",
        "parameters": 5,
        "classes": [*run.metrics["per_class"]],
        "image_size": 16,
        "channels": 1,
        "storage": "float32",
        "shared": True,
        "epoch": 1,
        "selected_on": "validation",
        "fingerprint": "f00d",
        "files": {},
        "milliseconds": {"face": 0.125, "machine": "a CPU"},
    }
    card = render_card(manifest, run, None)
    header = yaml.safe_load(card.split("---\n")[1])
    measured = {each["name"]: each["value"] for each in header["model-index"][0]["results"][0]["metrics"]}
    assert measured == {key: round(run.metrics[key], 4) for key in ("accuracy", "f1_macro")}
    for name, row in run.metrics["per_class"].items():
        cells = [f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "roc_auc")]
        assert f"| {name} | {' | '.join(cells)} | {row['support']} | {row['predicted']} |" in card
        guessed = run.table.loc[run.table["label"] == name, "predicted"].value_counts()
        counts = [int(guessed.get(other, 0)) for other in run.metrics["per_class"]]
        assert f"| **{name}** | {' | '.join(map(str, counts))} |" in card
    assert f"{100 * run.metrics['accuracy']:.2f} %" in card
    assert "terms of the training images are not recorded" in card
    assert "FER-2013" not in card
    assert "the majority of ten annotators" in render_card(manifest, run, "fer2013")
    flipped = render_card(manifest, replace(run, metrics=run.metrics | {"views": "flip"}), None)
    assert "name: accuracy, views=flip" in flipped
    assert "(mean of each image and its mirror image): **accuracy" in flipped


@pytest.mark.slow
def test_a_graph_reads_the_weights_beside_it(save_model: Callable[..., Path], tmp_path: Path) -> None:
    kwargs = {"widths": [8, 16], "depths": [1, 1]}
    trained = Trained.read(save_model("compact_cnn", backbone_kwargs=kwargs), storage="float16")
    assert release._is_plain(trained)
    assert not release._is_plain(Trained.read(save_model("compact_cnn", backbone_kwargs=kwargs | {"branches": True})))
    folder = tmp_path / "shared"
    folder.mkdir()
    onnx_file.write(trained, folder / "alone.onnx")
    safetensors_file.write(trained, folder / "model.safetensors")
    onnx_file.write(trained, folder / "model.onnx", beside=folder / "model.safetensors")
    faces = np.random.default_rng(0).integers(0, 256, (9, 1, 32, 32), dtype=np.uint8)
    weights = load_recognizer(folder / "model.safetensors")(faces)
    np.testing.assert_allclose(load_recognizer(folder / "model.onnx")(faces), weights, atol=1e-5)
    np.testing.assert_allclose(load_recognizer(folder / "alone.onnx")(faces), weights, atol=5e-3)
    shutil.move(folder / "model.safetensors", tmp_path)
    with pytest.raises(CheckpointError, match="the file with its weights is missing beside it"):
        load_recognizer(folder / "model.onnx")


@pytest.mark.parametrize("damage", ["another", "predictions", "environment", "alone"])
def test_a_run_without_its_results_is_refused(damage: str, legacy: Path, tmp_path: Path) -> None:
    best = legacy / "checkpoints" / "best.ckpt"
    if damage == "another":
        metrics = json.loads((legacy / "metrics.json").read_text())
        (legacy / "metrics.json").write_text(json.dumps(metrics | {"epoch": 77}))
    elif damage == "predictions":
        (legacy / "predictions.csv").unlink()
    elif damage == "environment":
        (legacy / "environment.json").write_text("{}")
    else:
        best = Path(shutil.copy(best, tmp_path))
    with pytest.raises(ConfigError, match=r"for the model card.*type ckpt_path=<run folder>"):
        RunRecord.read(Checkpoint.read(best))


def test_the_command_is_the_one_that_trains_it_again(legacy: Path) -> None:
    typed = ["experiment=compact", "data.root=/home/anna/o'neill", "model.teachers=[/a/b.ckpt,c/d.ckpt]", "seed=3"]
    places = ["ckpt_path=/x/last.ckpt", "hydra.run.dir=/x", "++security.allow=[]", "data.cache_dir=/y"]
    (legacy / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([*places, *typed]))
    run = RunRecord.read(Checkpoint.read(legacy / "checkpoints" / "best.ckpt"))
    expected = "experiment=compact data.root=PATH 'model.teachers=[b.ckpt,c/d.ckpt]' seed=3"
    assert run.command == f"python -m fer_lightning.train {expected}"
    assert without_folders("a/b 1/2 1.5/x") == "a/b 1/2 1.5/x"
    assert isinstance(run.table, pd.DataFrame)
