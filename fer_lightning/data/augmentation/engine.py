"""What the two augmentation engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from fer_lightning.data.augmentation.spec import Augmentation


class Engine(ABC):
    """Draws random changes from `spec`; `seed` is 0 <= seed < 2**64, or a ValueError. Picklable, not thread-safe."""

    def __init__(self, spec: Augmentation, seed: int) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed={seed} must lie between 0 and 2**64 - 1")
        self.spec, self.seed = spec, seed

    def __reduce__(self) -> tuple[type[Engine], tuple[Augmentation, int]]:
        return type(self), (self.spec, self.seed)

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
            uint8 `(B, C, H, W)`; each image a function of its own arguments, `spec` and `seed` alone. May be `images`
            itself.
        """
