"""The images that an exported model is compared on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from omegaconf import DictConfig

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.evaluate_checkpoint import Evaluation

COMPARED = 128  # images: both run on one core, perhaps a large network


@dataclass(frozen=True)
class Images:
    """Faces uint8 `(n, C, S, S)`, and what they are."""

    images: np.ndarray
    what: str


def find_images(cfg: DictConfig, checkpoint: Checkpoint) -> Images:
    """Return images of `cfg.split` of the data at hand; without data, drawn faces and noise.

    Raises:
        UserError: `cfg.data` are named and cannot be used.
    """
    facts = checkpoint.hyper_parameters.get("data_facts") or {}
    drawn = str(facts.get("fingerprint")).startswith("drawn-")
    if not drawn and cfg.data.root is None and cfg.data.layout == "auto":
        return stand_ins(int(checkpoint.hyper_parameters["image_size"]), int(checkpoint.hyper_parameters["channels"]))
    data = Evaluation.prepare(cfg).open_data()
    rows = data.rows(cfg.split)
    if len(rows) == 0:
        raise DataError(f"the data has no {cfg.split} images: type split=all")
    some = rows[np.unique(np.linspace(0, len(rows) - 1, COMPARED).astype(int))]
    return Images(data.images(some), f"{count_images(len(some), cfg.split)} of {data.notes[0]}")


def stand_ins(image_size: int, channels: int, count: int = COMPARED) -> Images:
    """Return drawn faces, and a quarter of noise, for a checkpoint whose data are not at hand."""
    import cv2

    from fer_lightning.data.synthetic.dataset import draw_faces

    noisy = count // 4
    faces = draw_faces(np.arange(count - noisy) % 7, image_size=max(16, image_size), channels=channels, seed=0)
    if faces.shape[-1] != image_size:
        small = [[cv2.resize(plane, (image_size, image_size)) for plane in face] for face in faces]
        faces = np.array(small, dtype=np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (noisy, channels, image_size, image_size), dtype=np.uint8)
    what = f"{count - noisy} drawn faces and {noisy} images of noise (data.root=PATH takes {{split}} images)"
    return Images(np.concatenate([faces, noise]), what.format(split="real"))
