"""Drawn faces to try the page with; no photograph of a person ships with the package."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from fer_lightning.data.synthetic.face_parameters import EXPRESSIONS
from fer_lightning.data.synthetic.faces import draw_face

SIDE = 112  # pixels: small enough to be taken for a face that is cut out already, which a detector need not find
SEED = 3
SAMPLES = tuple(EXPRESSIONS)


@functools.cache
def sample(name: str) -> bytes:
    """Return the PNG file of a drawn face with an expression; a KeyError if there is no such expression."""
    number = {expression: at for at, expression in enumerate(SAMPLES)}[name]
    drawn = draw_face(name, np.random.default_rng([SEED, number]), SIDE)
    return bytes(cv2.imencode(".png", drawn[..., ::-1])[1])
