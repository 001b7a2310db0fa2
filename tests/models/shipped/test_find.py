"""The models that ship are what their manifests say, and are found by name, by default and not instead of files."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from fer_lightning.core.errors import ConfigError
from fer_lightning.evaluation.metrics import wilson_interval
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.recognizer import load_recognizer
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.shipped import find
from fer_lightning.models.shipped.find import find_model, read_manifest, shipped_models

NAMES = shipped_models()
LARGEST = 5_000_000  # bytes of the two files of a model of less than two million parameters


def test_the_default_ships() -> None:
    assert NAMES[0] == find.DEFAULT
    assert {path.parent.name for path in find.FOLDER.glob("*/*")} - {"__pycache__"} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_files_and_checksums_are_those_of_the_manifest(name: str) -> None:
    told, folder = read_manifest(name), find.FOLDER / name
    assert told["name"] == name
    assert {path.name for path in folder.iterdir()} == {find.CARD, find.MANIFEST, *told["files"]}
    for file, about in told["files"].items():
        content = (folder / file).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (about["sha256"], about["bytes"])
        assert about["sha256"] in (folder / find.CARD).read_text(encoding="utf-8")
    assert sum(about["bytes"] for about in told["files"].values()) <= LARGEST
    scores = told["scores"]
    assert wilson_interval(round(scores["accuracy"] * scores["count"]), scores["count"]) == scores["accuracy_interval"]
    assert scores["split"] != "train"


@pytest.mark.parametrize("name", NAMES)
def test_the_card_has_a_header_and_names_no_folder_of_the_machine(name: str) -> None:
    card = (find.FOLDER / name / find.CARD).read_text(encoding="utf-8")
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["library_name"] == "fer_lightning"
    assert read_manifest(name)["command"] in body
    assert not re.search(r"(?<![\w.:/])/(root|home|tmp|work|mnt|data|users)/", card, re.IGNORECASE)
    assert "None" not in card


@pytest.mark.parametrize("name", NAMES)
def test_graph_and_weights_are_one_model(name: str) -> None:
    graph, weights = (load_recognizer(find.FOLDER / name / file, threads=1) for file in (find.GRAPH, find.WEIGHTS))
    told = read_manifest(name)
    for model in (graph, weights):
        assert (model.classes, model.image_size, model.channels) == (
            told["classes"],
            told["image_size"],
            told["channels"],
        )
        assert model.fingerprint == told["fingerprint"]
    shape = (16, told["channels"], told["image_size"], told["image_size"])
    faces = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_allclose(graph(faces), weights(faces), atol=5e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_is_found_by_name_and_said_with_its_score(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()  # ./name is this file
    with caplog.at_level(logging.INFO):
        assert find_model(name) == find.FOLDER / name / find.WEIGHTS
    told = read_manifest(name)
    score = f"accuracy {100 * told['scores']['accuracy']:.1f} % on"
    assert f"model {name} of fer_lightning {told['version']}, {told['date']}: {score}" in caplog.text
    assert find_model(f"./{name}") == Path(name)
    assert Checkpoint.read(find_model(name)).epoch == told["epoch"]


def test_nothing_named_is_the_default_which_needs_no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Predictor.load(faces="whole").recognizer.path == find.FOLDER / find.DEFAULT / find.GRAPH
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert Predictor.load(faces="whole").recognizer.path == find.FOLDER / find.DEFAULT / find.WEIGHTS


def test_a_word_that_is_neither_name_nor_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"compat is neither a file nor a model .*did you mean model=compact\?"):
        find_model("compat")
    with pytest.raises(ConfigError, match=f"which are {', '.join(NAMES)}$"):
        find_model("elephant")
    assert find_model("elephant.ckpt") == Path("elephant.ckpt")
    monkeypatch.setattr(find, "FOLDER", tmp_path)
    with pytest.raises(ConfigError, match=r"none ships with this copy .*: type ckpt_path="):
        find_model(None)
