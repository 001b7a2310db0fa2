"""Which images a checkpoint has seen: those it was trained on, and those that chose it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from fer_lightning.core.home import expand_user
from fer_lightning.core.seen_names import SEEN_IN
from fer_lightning.data.table.columns import CategoricalColumn

ROLES = ("train", "validation")


@dataclass(frozen=True, eq=False)
class SeenImages:
    """The identities of the images that a network was trained on and chosen by, 8 bytes an image."""

    train: np.ndarray  # (T,) uint64, sorted, each once
    validation: np.ndarray  # (V,) likewise

    @classmethod
    def none(cls) -> SeenImages:
        return cls(*np.empty((2, 0), dtype=np.uint64))

    @classmethod
    def of(cls, identities: np.ndarray, splits: CategoricalColumn | np.ndarray) -> SeenImages:
        """Return those of a table of images: uint64 (N,), and the split of each, (N,) str."""
        return cls(*(np.unique(identities[splits == role]) for role in ROLES))

    def __or__(self, other: SeenImages) -> SeenImages:
        return SeenImages(*(np.union1d(getattr(self, role), getattr(other, role)) for role in ROLES))

    def roles(self, identities: np.ndarray) -> np.ndarray:
        """Return (N,) str for identities (N,): `train`, or else `validation`, where it saw them, and else empty."""
        found = np.full(len(identities), "", dtype=object)
        for role in reversed(ROLES):
            found[_contains(getattr(self, role), identities)] = role
        return found

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint stores: int64, which loads with `weights_only=True` everywhere; uint64 does not."""
        return {SEEN_IN.format(role): torch.from_numpy(getattr(self, role).view(np.int64)) for role in ROLES}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> SeenImages:
        """Return what `state` stored; KeyError if it is not there."""
        return cls(*(state[SEEN_IN.format(role)].numpy().view(np.uint64) for role in ROLES))

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any]) -> SeenImages | None:
        """Return what the content of a Lightning checkpoint says; None for those of version 0.1, which do not say."""
        states = (state for state in content.values() if isinstance(state, dict) and SEEN_IN.format("train") in state)
        return next(map(cls.from_state, states), None)


def seen_by(file: str | Path) -> SeenImages:
    """Return what the weights in a file, or the teachers in one of logits, were trained on; nothing if it is silent."""
    try:
        path = expand_user(file)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as logits:
                return SeenImages(*(logits[SEEN_IN.format(role)] for role in ROLES))
        if path.suffix == ".safetensors":  # in the file, the names of these tensors have a prefix
            content: Any = {"": {name.rpartition(".")[2]: tensor for name, tensor in load_file(path).items()}}
        else:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # of another kind: whoever loads the weights says what is wrong with it
        return SeenImages.none()
    known = SeenImages.from_checkpoint(content) if isinstance(content, dict) else None
    return SeenImages.none() if known is None else known


def _contains(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return (N,) bool: whether sorted `known` holds each of `wanted`, (N,); faster than np.isin, which sorts both."""
    begin, end = (np.searchsorted(known, wanted, side=side) for side in ("left", "right"))
    return np.asarray(begin < end)
