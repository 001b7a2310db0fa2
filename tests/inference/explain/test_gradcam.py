"""Grad-CAM: a hand computation, networks of many kinds, and what it refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.explain.gradcam import gradcam
from fer_lightning.inference.explain.heat_maps import heat_maps
from fer_lightning.models.classifier import ExpressionClassifier

CLASSES = ["happy", "sad", "neutral"]
Recognize = Callable[..., CheckpointRecognizer]
FACES = np.random.default_rng(0).integers(0, 256, (3, 1, 48, 48), dtype=np.uint8)


def recognizer_of(backbone: str, image_size: int = 48, **settings: Any) -> CheckpointRecognizer:
    torch.manual_seed(0)
    model = ExpressionClassifier(backbone, CLASSES, image_size=image_size, **settings).eval()
    return CheckpointRecognizer(Path("best.ckpt"), CLASSES, image_size, 1, None, model)


def test_it_equals_a_hand_computation() -> None:
    recognizer = recognizer_of("small_cnn", backbone_kwargs={"widths": [8, 16]})
    backbone, classes = recognizer.model.backbone, np.array([2, 0, 1])
    with torch.no_grad():
        last = backbone.forward_features(recognizer.model.pixels(torch.from_numpy(FACES))).numpy()
    assert last.shape == (3, 16, 12, 12)
    # the logits are a linear layer of the mean over the cells: each cell's gradient is its weight by their number
    weights = backbone.fc.weight.detach().numpy()[classes] / last[0, 0].size
    by_hand = np.maximum((weights[:, :, None, None] * last).sum(axis=1), 0)
    assert by_hand.max() > 0
    np.testing.assert_allclose(gradcam(recognizer, FACES, classes), by_hand, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    ("backbone", "size"), [("cnn_gru", 48), ("keras_cnn", 48), ("resnet18", 48), ("convnext_atto", 64), ("swin", 64)]
)
def test_it_takes_networks_that_end_with_a_map(backbone: str, size: int) -> None:
    # small stages: as made, a Swin transformer takes seconds to build
    stages = {"depths": [1, 1, 1, 1], "embed_dim": 24, "num_heads": [1, 2, 2, 2], "window_size": 2}
    swin = {"backbone": "swin_tiny_patch4_window7_224", "backbone_kwargs": stages}
    recognizer = recognizer_of(**{"backbone": backbone} | (swin if backbone == "swin" else {}), image_size=size)
    faces = np.random.default_rng(0).integers(0, 256, (2, 1, size, size), dtype=np.uint8)
    both = [heat_maps(recognizer, faces, "gradcam", np.array([k, k])) for k in (0, 1)]
    assert all(maps.shape == (2, size, size) and maps.dtype == np.float32 for maps in both)
    assert not np.allclose(*both), "each class has a map of its own"


def test_it_needs_no_trainable_weights_and_leaves_the_network_as_it_was() -> None:
    recognizer = recognizer_of("small_cnn")
    expected = gradcam(recognizer, FACES, np.array([0, 1, 2]))
    recognizer.model.requires_grad_(False)
    np.testing.assert_array_equal(gradcam(recognizer, FACES, np.array([0, 1, 2])), expected)
    assert all(weight.grad is None for weight in recognizer.model.parameters())
    assert not any(module._forward_hooks for module in recognizer.model.modules())


def test_one_face_or_many_make_no_difference() -> None:
    recognizer = recognizer_of("small_cnn")
    together = gradcam(recognizer, FACES, np.array([0, 1, 2]))
    alone = [gradcam(recognizer, FACES[at : at + 1], np.array([at]))[0] for at in range(3)]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-7)
    assert heat_maps(recognizer, FACES[:0], "gradcam").shape == (0, 48, 48)


@pytest.mark.parametrize(
    ("backbone", "why"),
    [("vit_tiny_patch16_224", "ends with tokens"), ("vgg11", "a single cell")],
)
def test_networks_without_a_map_are_refused(backbone: str, why: str) -> None:
    with pytest.raises(ConfigError, match=rf"{backbone}.*{why}.*|{why}.*{backbone}.*type method=occlusion"):
        gradcam(recognizer_of(backbone), FACES, np.array([0, 1, 2]))


def test_models_without_gradients_are_refused() -> None:
    class OnOnnx:
        path = Path("model.onnx")

    with pytest.raises(ConfigError, match=r"needs gradients, which model\.onnx has not: type method=occlusion"):
        gradcam(OnOnnx(), FACES, np.array([0, 1, 2]))  # type: ignore[arg-type]


def test_a_network_of_the_user_is_refused() -> None:
    recognizer = replace(recognizer_of("small_cnn"), model=torch.nn.Identity())
    with pytest.raises(ConfigError, match=r"best\.ckpt holds a network of your own; type method=occlusion"):
        gradcam(recognizer, FACES, np.array([0, 1, 2]))


def test_a_missing_torchcam_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcam.methods", None)
    with pytest.raises(ConfigError, match=r'pip install "fer_lightning\[explain\]", or type method=occlusion'):
        gradcam(recognizer_of("small_cnn"), FACES, np.array([0, 1, 2]))
