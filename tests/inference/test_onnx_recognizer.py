"""ONNX files: read without torch, or refused with one line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.recognizer import load_recognizer

CUT = "it is no ONNX file, or was cut short$"
NEWER = "it needs a newer onnxruntime: pip install --upgrade onnxruntime$"


def change(path: Path, to: Path, edit: Callable[[Any], None]) -> Path:
    model = onnx.load(str(path))
    edit(model)
    onnx.save(model, str(to))
    return to


def told(**metadata: str) -> Callable[[Any], None]:
    """Return what makes a model say something else of itself."""

    def edit(model: Any) -> None:
        facts = {entry.key: entry.value for entry in model.metadata_props} | metadata
        onnx.helper.set_model_props(model, {key: value for key, value in facts.items() if value != "absent"})

    return edit


def test_it_is_read_by_its_content_and_gives_probabilities(tiny_onnx: Path, tmp_path: Path) -> None:
    for name in ("model.onnx", "model.bin", "model.ckpt"):
        recognizer = load_recognizer(shutil.copy(tiny_onnx, tmp_path / name), threads=1)
        assert isinstance(recognizer, OnnxRecognizer)
    assert (recognizer.image_size, recognizer.channels, recognizer.fingerprint) == (16, 1, "tiny")
    faces = np.random.default_rng(0).integers(0, 256, (5, 1, 16, 16), dtype=np.uint8)
    probabilities = recognizer(faces)
    assert (probabilities.shape, probabilities.dtype) == ((5, len(recognizer.classes)), np.float32)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    assert recognizer(faces[:0]).shape == (0, 7)
    again = np.concatenate([recognizer(faces[:1]), recognizer(faces[1:3]), recognizer(faces[3:])])
    np.testing.assert_allclose(again, probabilities, rtol=0, atol=1e-6)  # whatever else is in the batch


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda data: b"", CUT),
        (lambda data: b"hello, world\n" * 100, CUT),
        (lambda data: data[: len(data) // 2], CUT),
        (lambda data: data[:-3], CUT),
        (lambda data: bytes(1000), CUT),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", CUT),
    ],
    ids=["empty", "text", "half", "without its end", "zeros", "pointer"],
)
def test_a_file_that_holds_no_graph_is_refused(
    content: Callable[[bytes], bytes], reason: str, tiny_onnx: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(content(tiny_onnx.read_bytes()))
    with pytest.raises(CheckpointError, match=reason) as caught:
        load_recognizer(bad)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


def fix_the_batch(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (told(fer_lightning="absent"), "was written by another program and does not say its classes and size of faces"),
        (told(classes="absent", channels="absent"), "its metadata lack channels, classes$"),
        (told(classes='["a", "a", "b", "c", "d", "e", "f"]'), "a class stands twice in its metadata: a, a, b"),
        (told(classes='["a", "b"]'), r"has probabilities .* \(N, 7\), but its metadata say probabilities .* \(N, 2\)"),
        (told(classes='"happy"'), "no list of names"),
        (told(classes="[1, 2, 3, 4, 5, 6, 7]"), "no list of names"),
        (told(classes="[happy"), "its metadata are damaged"),
        (told(image_size="large"), "its metadata are damaged"),
        (told(image_size="48"), r"has images .* \(N, 1, 16, 16\), but its metadata say images .* \(N, 1, 48, 48\)"),
        (told(channels="3"), r"\(N, 1, 16, 16\), but its metadata say .* \(N, 3, 16, 16\)"),
        (lambda model: setattr(model.opset_import[0], "version", 99), NEWER),
        (lambda model: setattr(model, "ir_version", 99), NEWER),
        (
            lambda model: setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 2),
            r"\(2, 1, 16, 16\)",
        ),
    ],
)
def test_a_graph_of_another_program_or_with_other_classes_is_refused(
    edit: Callable[[Any], None], reason: str, tiny_onnx: Path, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=reason):
        load_recognizer(change(tiny_onnx, tmp_path / "other.onnx", edit))


def test_weights_in_a_second_file_that_is_missing(tiny_onnx: Path, tmp_path: Path) -> None:
    model = onnx.load(str(tiny_onnx))
    onnx.save(model, str(tmp_path / "a.onnx"), save_as_external_data=True, location="a.data", size_threshold=0)
    assert load_recognizer(tmp_path / "a.onnx").image_size == 16
    (tmp_path / "a.data").unlink()
    with pytest.raises(CheckpointError, match="the file with its weights is missing beside it"):
        load_recognizer(tmp_path / "a.onnx")


def test_without_onnxruntime_it_is_said_what_to_install(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r'pip install "fer_lightning\[onnx\]"'):
        Predictor.load(tiny_onnx)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model at .*x\.onnx: type ckpt_path=.*, or model=FILE\.onnx"):
        load_recognizer(tmp_path / "x.onnx")
    run = tmp_path / "run with blank" / "checkpoints"
    shutil.copytree(Path(__file__).parents[1] / "legacy" / "data" / "train" / "checkpoints", run)
    with pytest.raises(CheckpointError, match=r"it is a folder; type \"ckpt_path='.*/checkpoints/best\.ckpt'\""):
        load_recognizer(run.parent)
    with pytest.raises(ConfigError, match="threads=0 must be 1 or more"):
        load_recognizer(run / "best.ckpt", threads=0)


def test_it_runs_without_the_libraries_of_training(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(small)
    program = f"""
import sys, numpy
from fer_lightning.inference.predictor import Predictor
predictor = Predictor.load({str(tiny_onnx)!r})
found = predictor([{str(portrait_file)!r}, {str(small)!r}, "missing.jpg", numpy.zeros((2, 9, 9, 3), "uint8")[0]])
assert predictor(numpy.zeros((2, 9, 9, 3), "uint8"))[1][0].status == "ok"
assert [faces[0].status for faces in found][2] == "unreadable"
found._repr_html_(), predictor._repr_html_()
heavy = "torch torchvision lightning pandas matplotlib scipy sklearn hydra omegaconf timm albumentations onnx"
print(*({{*heavy.split()}} & {{*sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
