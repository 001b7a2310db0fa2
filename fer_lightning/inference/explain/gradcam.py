"""Grad-CAM: which cells of a network's last map speak for a class."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.recognizer import Recognizer
from fer_lightning.models.classifier import ExpressionClassifier

OCCLUSION = "type method=occlusion, which suits every model"


def gradcam(recognizer: Recognizer, faces: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return how much each cell of the last map adds to the score of a class (Selvaraju et al., 2017), by torchcam.

    Channels of the map are weighted by the mean gradient of the logit, summed, and set to 0 where negative. The
    last map is coarse: 3 × 3 cells for `small_cnn` at 48 px.

    Args:
        recognizer: a model from a checkpoint, on the CPU or not; its weights may be frozen.
        faces: uint8 `(B, C, S, S)`.
        classes: int `(B,)`, the class of each face that is explained.

    Returns:
        float32 `(B, h, w)`, the cells of the map, 0 or more, in units of logits.

    Raises:
        ConfigError: torchcam is not installed, or the model has no gradients or no last map.
    """
    try:
        from torchcam.methods import GradCAM
    except ImportError as error:
        raise ConfigError(
            'method=gradcam needs torchcam: pip install "fer_lightning[explain]", or type method=occlusion'
        ) from error
    network = LastMap(recognizer)
    if len(faces) == 0:
        return np.zeros((0, 1, 1), np.float32)
    with torch.enable_grad(), GradCAM(network, network.map) as extract:
        scores = network(torch.from_numpy(faces))
        (maps,) = extract([int(k) for k in classes], scores, normalized=False)
    return np.asarray(maps.numpy(force=True), np.float32)


class LastMap(nn.Module):
    """A checkpoint's network in two halves, with what lies between them, the last map, as a layer to look at.

    Gradients reach the map only, so that frozen weights do not matter and the first half costs no more than a
    prediction.

    Raises:
        ConfigError: the model is no checkpoint's, or its network is not made of such halves.
    """

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__()
        model: Any = getattr(recognizer, "model", None)
        if model is None:
            raise ConfigError(
                f"method=gradcam needs gradients, which {recognizer.path} has not: {OCCLUSION}, or ckpt_path=<run "
                "folder>/checkpoints/best.ckpt"
            )
        if not isinstance(model, ExpressionClassifier):
            raise ConfigError(f"method=gradcam: {recognizer.path} holds a network of your own; {OCCLUSION}")
        self.model, self.path, self.map = model, recognizer.path, nn.Identity()

    def forward(self, faces: Tensor) -> Any:
        """Return logits float `(B, K)` of faces uint8 `(B, C, S, S)`, differentiable by the output of `map`."""
        model = self.model
        with torch.no_grad():
            pixels = model.pixels(faces.to(model.pixels.scale.device)).contiguous(memory_format=model.memory_format)
            features = model.backbone.forward_features(pixels)
        name: str = model.hparams["backbone"]
        shape: tuple[int, ...] = tuple(getattr(features, "shape", ()))
        if len(shape) != 4:
            raise ConfigError(f"method=gradcam: {name} ends with tokens and has no last map; {OCCLUSION}")
        channels_last = model.backbone.num_features == shape[3] != shape[1]  # as in Swin transformers
        cells = features.permute(0, 3, 1, 2) if channels_last else features
        if cells.shape[2] * cells.shape[3] == 1:
            raise ConfigError(f"method=gradcam: the last map of {name} has a single cell; {OCCLUSION}")
        cells = self.map(cells.detach().float().requires_grad_())
        logits = model.backbone.forward_head(cells.permute(0, 2, 3, 1) if channels_last else cells)
        with torch.no_grad():
            whole = model.backbone(pixels[:1])
        if not torch.allclose(logits[:1], whole, rtol=1e-3, atol=1e-3):
            raise ConfigError(f"method=gradcam: the logits of {name} do not come from its last map; {OCCLUSION}")
        return logits
