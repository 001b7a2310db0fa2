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
        has a scale of its own; a map is 0 everywhere if no part of the face speaks for the class.

    Raises:
        ValueError: there is no such method.
        ConfigError: the method does not suit the model, or torchcam is not installed.
    """
    check_choices(heat_maps, {"method": method})
    if classes is None:
        classes = recognizer(faces).argmax(axis=1)
    if method == "occlusion":
        maps = occlusion(recognizer, faces, classes)
    else:
        from fer_lightning.inference.explain.gradcam import gradcam  # with torch

        side = faces.shape[-1]
        cells = gradcam(recognizer, faces, classes)
        resized = [cv2.resize(cell, (side, side), interpolation=cv2.INTER_LINEAR) for cell in cells]
        maps = np.stack(resized) if resized else np.zeros((0, side, side), np.float32)
    maps = np.maximum(maps, 0)
    highest = maps.max(axis=(1, 2), keepdims=True, initial=0)
    return np.asarray(np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0))
