"""Occlusion: which parts of a face a model needs, found by hiding them one after another."""

from __future__ import annotations

import numpy as np

from fer_lightning.inference.recognizer import Recognizer

SQUARE, STEP = 1 / 4, 1 / 8  # side of the hidden square and its steps, as fractions of the face's side


def occlusion(recognizer: Recognizer, faces: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how much hiding each pixel lowers the probability of a class (Zeiler & Fergus, 2014).

    A square with the mean colour of the face slides over it, in 7 × 7 places. A pixel's value is the mean fall of the
    probability over the squares that hide it, as in captum's `Occlusion`. It asks nothing but probabilities, so it
    suits every model, ONNX files too, which it runs without torch. A face takes 50 predictions.

    Args:
        recognizer: the model.
        faces: uint8 `(B, C, S, S)`.
        classes: int `(B,)`, the class of each face whose probability is watched.

    Returns:
        float32 `(B, S, S)`, differences of probabilities; below 0 where hiding makes the class more probable.
    """
    falls = [_falls(recognizer, face, int(k)) for face, k in zip(faces, classes, strict=True)]
    return np.stack(falls) if falls else np.zeros((0, *faces.shape[2:]), np.float32)


def _falls(recognizer: Recognizer, face: np.ndarray, k: int) -> np.ndarray:
    side = face.shape[-1]
    hidden = _squares(side)
    grey = face.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    whole, *without = recognizer(np.concatenate([face[None], np.where(hidden[:, None], grey, face)]))[:, k]
    falls = np.tensordot(whole - np.array(without), hidden, axes=1) / hidden.sum(axis=0)
    return np.asarray(falls, np.float32)


def _squares(side: int) -> np.ndarray:
    """Return masks bool `(P, side, side)` of the square in each of its places; together they cover all pixels."""
    square = max(1, round(side * SQUARE))
    last = side - square
    starts = np.unique(np.linspace(0, last, round(last / max(1.0, side * STEP)) + 1).round().astype(int))
    lines = (starts[:, None] <= np.arange(side)) & (np.arange(side) < starts[:, None] + square)
    return (lines[:, None, :, None] & lines[None, :, None, :]).reshape(-1, side, side)
