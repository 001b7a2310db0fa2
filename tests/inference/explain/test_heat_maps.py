"""Heat maps depend on what a network has learnt (Adebayo et al., 2018)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.explain.heat_maps import Method, heat_maps
from fer_lightning.models.classifier import ExpressionClassifier

CLASSES = ["happy", "sad"]


def faces_with_a_mouth(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return faces of noise, uint8 (count, 1, 32, 32), with a light or a dark bar in the lower half, and which it is.

    There is such a bar in the upper half, too, which says nothing.
    """
    random = np.random.default_rng(seed)
    faces, labels = random.integers(96, 160, (count, 1, 32, 32), dtype=np.uint8), random.integers(0, 2, count)
    for top, dark in ((22, labels), (6, random.integers(0, 2, count))):
        faces[:, 0, top : top + 5, 8:24] = np.where(dark, 40, 215)[:, None, None]
    return faces, labels


def network() -> ExpressionClassifier:
    torch.manual_seed(0)
    return ExpressionClassifier("small_cnn", CLASSES, image_size=32, backbone_kwargs={"widths": [8, 16]})


@pytest.fixture(scope="module")
def trained() -> CheckpointRecognizer:
    """A network that has learnt to tell a light bar in the lower half from a dark one."""
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(40):
        faces, labels = map(torch.from_numpy, faces_with_a_mouth(32, seed=step))
        loss, _ = model.loss_and_hits(faces, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return CheckpointRecognizer(Path("trained.ckpt"), CLASSES, 32, 1, None, model.eval())


@pytest.mark.parametrize("method", ["occlusion", "gradcam"])
def test_they_show_where_a_trained_network_looks(trained: CheckpointRecognizer, method: Method) -> None:
    faces, labels = faces_with_a_mouth(16, seed=99)
    assert (trained(faces).argmax(axis=1) == labels).all()
    untrained = CheckpointRecognizer(Path("untrained.ckpt"), CLASSES, 32, 1, None, network().eval())
    assert share_of_lower_half(heat_maps(trained, faces, method)) > 0.7
    assert share_of_lower_half(heat_maps(untrained, faces, method, labels)) < 0.6


def share_of_lower_half(maps: np.ndarray) -> float:
    return float((maps[:, 16:].sum(axis=(1, 2)) / maps.sum(axis=(1, 2))).mean())
