"""What the two augmentation engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.data.augmentation.spec import Augmentation


class Engine(ABC):
    """Draws random changes from `spec`; `seed` is 0 <= seed < 2**64, or a ValueError. Picklable, not thread-safe.

    Attributes:
        kinds: int64 `(N,)`, for each row which of `specs` its image is changed by; None for the first. `know` sets it.
        epochs: of the run, for `spec.ramp`; None where they are not known, and then nothing grows.
    """

    def __init__(self, spec: Augmentation, seed: int, kinds: Tensor | None = None, epochs: int | None = None) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed={seed} must lie between 0 and 2**64 - 1")
        self.spec, self.seed, self.kinds, self.epochs = spec, seed, kinds, epochs
        self.specs = [spec, *map(spec.of_class, spec.by_class or ())]

    def __reduce__(self) -> tuple[type[Engine], tuple[Any, ...]]:
        return type(self), (self.spec, self.seed, self.kinds, self.epochs)

    def know(self, classes: Sequence[str], labels: np.ndarray, rows: np.ndarray) -> None:
        """Learn of which class each row is, for `spec.by_class`; labels int `(n,)` of rows int `(n,)`.

        Raises:
            ConfigError: it names a class that is not there.
        """
        kinds = np.zeros(rows.max(initial=-1) + 1, np.int64)
        for kind, name in enumerate(self.spec.by_class or (), start=1):
            if name not in classes:
                near = did_you_mean(name, classes, prefix="augmentation.by_class.")
                raise ConfigError(f"augmentation.by_class.{name} is no class{near}; there are {', '.join(classes)}")
            kinds[rows[labels == classes.index(name)]] = kind
        self.kinds = torch.from_numpy(kinds) if self.spec.by_class else None

    @property
    def ramp_epochs(self) -> float:
        """How many epochs magnitudes grow for."""
        return self.spec.ramp * (self.epochs or 0)

    def growth(self, epoch: int) -> float:
        """Return the fraction of their size that magnitudes have in an epoch."""
        return min(1.0, epoch / self.ramp_epochs) if self.ramp_epochs > 0 else 1.0

    @property
    def course(self) -> str:
        """What is different for some classes or epochs, to be said after what augments."""
        other = f"; with numbers of their own: {', '.join(self.spec.by_class)}" if self.spec.by_class else ""
        return other + (f"; growing over the first {self.spec.ramp:.0%} of the run" if self.spec.ramp > 0 else "")

    @property
    @abstractmethod
    def summary(self) -> str:
        """One line on what augments, and why."""

    @abstractmethod
    def __call__(self, images: Tensor, epoch: int, rows: Tensor, repeats: Tensor) -> Tensor:
        """Augment each image once.

        Args:
            images: uint8 `(B, C, H, W)`, C 1 or 3; not modified.
            epoch: 0 or more.
            rows: int64 `(B,)` on the device of `images`, which images these are.
            repeats: int64 `(B,)` on that device, how often each was drawn before in this epoch.

        Returns:
            uint8 `(B, C, H, W)`; each image a function of its own arguments and the engine's alone. May be `images`
            itself.
        """
