"""Trained networks that another one learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.core.errors import CheckpointError, first_lines
from fer_lightning.core.seen_names import SEEN_IN
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.network import Network
from fer_lightning.models.shipped.find import weights_file

SEEN = (SEEN_IN.format("train"), SEEN_IN.format("validation"))
OTHERS = "type 'model.teachers=[<run folder>/checkpoints/best.ckpt]'"
_READING = ("normalize", "mean", "std", "input_size", "image_size", "channels")  # how a network reads its images
_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue, as grey images are made of colour


class Teacher:
    """A frozen network, in evaluation mode, which takes the images of any student.

    It is no part of the student: a module would enter its weights, its checkpoints and its copies (EMA).
    """

    def __init__(self, model: ExpressionClassifier, order: Sequence[int], seen: dict[str, np.ndarray]) -> None:
        """Take a model, whose output `order[k]` is class k of the student, and the images that it was trained on."""
        self._model, self.seen = model.eval().requires_grad_(False), seen
        self._order = torch.tensor(order)
        self._sorted = list(order) == list(range(len(order)))
        self.fingerprint = _fingerprint(model)
        if isinstance(model.backbone, Network):
            model.backbone = model.backbone.fused()

    @classmethod
    def read(cls, path: str, classes: Sequence[str]) -> Teacher:
        """Read a checkpoint of any network, or a model that ships by its name, for a student of these classes.

        Raises:
            CheckpointError: there is no such checkpoint, or its network has other classes.
        """
        file = weights_file(path)
        if not file.is_file():
            raise CheckpointError(f"model.teachers: there is no file {path}; {OTHERS}")
        try:
            checkpoint = Checkpoint.read(file)
        except CheckpointError as error:
            raise CheckpointError(f"model.teachers: {first_lines(error).partition('; ')[0]}; {OTHERS}") from error
        if checkpoint.own_class is not None:
            raise CheckpointError(f"model.teachers: {path} is of {checkpoint.own_class}, not of this package; {OTHERS}")
        order = class_order(path, checkpoint.hyper_parameters["classes"], classes)
        return cls(checkpoint.build(), order, _seen(checkpoint.content))

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits float32 `(B, K)`, with the digits of fp16, for images uint8 or float 0…255 `(B, C, H, W)`."""
        with torch.no_grad():
            logits: Tensor = self._model(self._fitted(images)).float()
        # as they are stored: so it makes no difference whether they were
        return (logits if self._sorted else logits[:, self._order]).half().float()

    @property
    def device(self) -> torch.device:
        return self._order.device

    def to(self, device: torch.device) -> None:
        """Move it to a device."""
        self._model.to(device)
        self._order = self._order.to(device)

    def _fitted(self, images: Tensor) -> Tensor:
        """Return the images with the channels and the size that the network was trained with."""
        channels, side = self._model.hparams["channels"], self._model.hparams["image_size"]
        if channels == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        elif channels == 1 and images.shape[1] == 3:
            weights = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
            images = (images.float() * weights).sum(dim=1, keepdim=True)
        if images.shape[-2:] != (side, side):
            images = F.interpolate(images.float(), size=(side, side), mode="bilinear", antialias=True)
        return images


def class_order(path: str, theirs: Sequence[str], ours: Sequence[str]) -> list[int]:
    """Return which of a teacher's outputs is each class of the student; a CheckpointError if the classes differ."""
    if sorted(theirs) != sorted(ours):
        raise CheckpointError(
            f"model.teachers: {path} knows {', '.join(theirs)}; the data has {', '.join(ours)}. Choose or unite the "
            "data's classes with data.classes=[…] or data.merge={…}, or take a teacher of these classes"
        )
    return [list(theirs).index(name) for name in ours]


def _seen(content: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the identities uint64 of the images that a checkpoint was trained on and chosen by, as far as it says."""
    states = [state for state in content.values() if isinstance(state, dict)]
    found = {name: state[name] for name in SEEN for state in states if name in state}
    return {name: found[name].numpy().view(np.uint64) if name in found else np.empty(0, np.uint64) for name in SEEN}


def _fingerprint(model: nn.Module) -> str:
    """Return what tells a teacher from others: a digest of its weights, and of how it reads its images."""
    settings: Any = model.hparams
    digest = hashlib.blake2b(digest_size=12)
    digest.update(repr([(name, settings.get(name)) for name in _READING]).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
