"""Heat maps of faces, by either method."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from fer_lightning.core.choices import check_choices
from fer_lightning.inference.explain.occlusion import occlusion
from fer_lightning.inference.recognizer import Recognizer

Method = Literal["occlusion", "gradcam"]


def heat_maps(
    recognizer: Recognizer, faces: np.ndarray, method: Method = "occlusion", classes: np.ndarray | None = None
) -> np.ndarray:
    """Return where a model looked.

    Args:
        recognizer: the model.
        faces: uint8 `(B, C, S, S)`, cut out as for the recognizer.
        method: `occlusion` for any model; `gradcam`, which is quicker and coarser, for a checkpoint of a network
            that ends with a map.
        classes: int `(B,)`, positions of the classes that are explained; the predicted ones by default.

    Returns:
        float32 `(B, S, S)` in [0, 1]: 1 at the pixel that speaks most for the class, 0 where nothing does. Each map
        has a scale of its own, see `evidence`; a map is 0 everywhere if no part of the face speaks for the class.

    Raises:
        ValueError: there is no such method.
        ConfigError: the method does not suit the model, or torchcam is not installed.
    """
    return scale(evidence(recognizer, faces, method, classes))


def evidence(
    recognizer: Recognizer, faces: np.ndarray, method: Method = "occlusion", classes: np.ndarray | None = None
) -> np.ndarray:
    """Return the same without the scale, float32 `(B, S, S)`, 0 or more.

    Of `occlusion`, a value is how far the probability of the class falls where that pixel is hidden; of `gradcam`, it
    is in units of logits. Arguments and errors are those of `heat_maps`.
    """
    check_choices(evidence, {"method": method})
    if classes is None:
        classes = recognizer(faces).argmax(axis=1)
    if method == "occlusion":
        return np.asarray(np.maximum(occlusion(recognizer, faces, classes), 0))
    from fer_lightning.inference.explain.gradcam import gradcam  # with torch

    side = faces.shape[-1]
    cells = gradcam(recognizer, faces, classes)
    resized = [cv2.resize(cell, (side, side), interpolation=cv2.INTER_LINEAR) for cell in cells]
    return np.stack(resized) if resized else np.zeros((0, side, side), np.float32)


def check_method(recognizer: Recognizer, method: Method) -> None:
    """Raise a ConfigError before any work if a method does not suit the model, or torchcam is not installed."""
    side = recognizer.image_size
    if method == "gradcam":
        evidence(recognizer, np.zeros((1, recognizer.channels, side, side), np.uint8), method, np.zeros(1, int))


def scale(maps: np.ndarray) -> np.ndarray:
    """Return maps `(B, S, S)`, 0 or more, divided by the highest value of each; a map of zeros stays one."""
    highest = maps.max(axis=(1, 2), keepdims=True, initial=0)
    return np.asarray(np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0))
