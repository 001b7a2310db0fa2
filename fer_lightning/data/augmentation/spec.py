"""Random changes to training images: one specification for two engines.

`AlbumentationsEngine` works image by image and supports all of Albumentations, `BatchedEngine` works on whole batches
on their device. Both draw from the same distributions, for each image as a function of (seed, epoch, row, repeat)
alone: batches, ranks, workers and resuming have no influence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

_LARGEST = {"rotate": 180, "shift": 0.5, "zoom": 0.9}  # the others: 1


@dataclass(frozen=True)
class Augmentation:
    """Random changes, applied in this order; the defaults change nothing.

    Attributes:
        flip: probability of a left-right flip.
        rotate: largest rotation to either side, degrees.
        shift: largest translation along each axis, fraction of the side.
        zoom: scale drawn from 1 - zoom to 1 + zoom.
        affine: probability of rotation, translation and scale together, one resampling with mirrored borders.
        brightness: values are multiplied by 1 - brightness to 1 + brightness.
        contrast: distances from the picture's mean are multiplied by 1 - contrast to 1 + contrast.
        light: probability of brightness and contrast together.
        erase: probability that one rectangle is overwritten with noise (random erasing, Zhong et al. 2017); unlike a
            constant, noise resembles neither skin nor hair, and needs no statistics of the data.
        erase_area: smallest and largest erased fraction of the picture.
        extra: further Albumentations transforms, applied before erasing, each a dict with its class name under `name`
            and the constructor's arguments beside it: `[{name: GaussNoise, p: 0.2}]`. Must keep size and uint8.

    Raises:
        ValueError: numbers are out of range; the message names all of them.
        ConfigError: a transform under `extra` is unknown or rejects its arguments.
    """

    flip: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    zoom: float = 0.0
    affine: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    light: float = 1.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)
    extra: list[dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={value} must lie between 0 and {_LARGEST.get(name, 1)}"
            for name, value in vars(self).items()
            if name not in ("erase_area", "extra") and not 0 <= value <= _LARGEST.get(name, 1)
        ]
        area = tuple(self.erase_area)
        if len(area) != 2 or not 0 < area[0] <= area[1] <= 0.5:  # a rectangle of 1:2 covers no more
            wrong.append(f"erase_area={list(area)} must be [smallest, largest] with 0 < smallest <= largest <= 0.5")
        if wrong:
            raise ValueError("augmentation: " + "; ".join(f"augmentation.{problem}" for problem in wrong))
        extra: Any = OmegaConf.to_container(self.extra, resolve=True) if OmegaConf.is_config(self.extra) else self.extra
        object.__setattr__(self, "erase_area", area)  # plain tuple and list rather than OmegaConf's containers
        object.__setattr__(self, "extra", extra)
        if extra is not None:
            from fer_lightning.data.augmentation import extra_transforms  # imports Albumentations, which takes 0.25 s

            extra_transforms.build_extra(extra)

    @property
    def moves(self) -> bool:
        """Whether it ever rotates, shifts or zooms."""
        return self.affine > 0 and max(self.rotate, self.shift, self.zoom) > 0

    @property
    def lights(self) -> bool:
        """Whether it ever changes brightness or contrast."""
        return self.light > 0 and max(self.brightness, self.contrast) > 0
