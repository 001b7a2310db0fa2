"""Random changes to training images: one specification for two engines.

`AlbumentationsEngine` works image by image and supports all of Albumentations, `BatchedEngine` works on whole batches
on their device. Both draw from the same distributions, for each image as a function of (seed, epoch, row, repeat)
alone: batches, ranks, workers and resuming have no influence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import OmegaConf

from fer_lightning.core.suggestions import did_you_mean

_LARGEST = {"rotate": 180, "shift": 0.5, "zoom": 0.9}  # the others: 1
RAMPED = ("rotate", "shift", "zoom", "brightness", "contrast", "erase")  # what `ramp` lets grow
NUMBERS = ("flip", "affine", "light", *RAMPED)  # what `by_class` may change


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
        by_class: class → other numbers for its images, such as `{disgust: {rotate: 25, erase: 0.5}}` for a rare one.
        ramp: fraction of `trainer.max_epochs` over which rotate, shift, zoom, brightness, contrast and erase grow
            linearly from 0 to the given numbers, in [0, 1]; 0 begins with these.

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
    by_class: dict[str, dict[str, float]] | None = None
    ramp: float = 0.0

    def __post_init__(self) -> None:
        wrong = [
            f"{name}={value} must lie between 0 and {_LARGEST.get(name, 1)}"
            for name, value in vars(self).items()
            if name not in ("erase_area", "extra", "by_class") and not 0 <= value <= _LARGEST.get(name, 1)
        ]
        area = tuple(self.erase_area)
        if len(area) != 2 or not 0 < area[0] <= area[1] <= 0.5:  # a rectangle of 1:2 covers no more
            wrong.append(f"erase_area={list(area)} must be [smallest, largest] with 0 < smallest <= largest <= 0.5")
        wrong += [f"by_class.{problem}" for problem in _wrong_by_class(self.by_class or {})]
        if wrong:
            raise ValueError("augmentation: " + "; ".join(f"augmentation.{problem}" for problem in wrong))
        extra = _plain(self.extra)
        object.__setattr__(self, "erase_area", area)  # plain tuple, list and dict rather than OmegaConf's containers
        object.__setattr__(self, "extra", extra)
        object.__setattr__(self, "by_class", _plain(self.by_class))
        if extra is not None:
            from fer_lightning.data.augmentation import extra_transforms  # imports Albumentations, which takes 0.25 s

            extra_transforms.build_extra(extra)

    def of_class(self, name: str) -> Augmentation:
        """Return what is done to the images of a class."""
        own: Mapping[str, Any] = (self.by_class or {}).get(name, {})
        return replace(self, by_class=None, **own)

    def grown_to(self, fraction: float) -> Augmentation:
        """Return what is done while magnitudes have this fraction of their size."""
        return replace(self, **{name: getattr(self, name) * fraction for name in RAMPED})

    @property
    def moves(self) -> bool:
        """Whether it ever rotates, shifts or zooms."""
        return self.affine > 0 and max(self.rotate, self.shift, self.zoom) > 0

    @property
    def lights(self) -> bool:
        """Whether it ever changes brightness or contrast."""
        return self.light > 0 and max(self.brightness, self.contrast) > 0


def _wrong_by_class(by_class: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a line for each number that is none of `NUMBERS`, or is out of its range."""
    given = [(f"{name}.{key}", key, value) for name, numbers in by_class.items() for key, value in numbers.items()]
    unknown = [
        f"{place}: there is no number {key}{did_you_mean(key, NUMBERS)}; there are {', '.join(NUMBERS)}"
        for place, key, _ in given
        if key not in NUMBERS
    ]
    return unknown + [
        f"{place}={value} must lie between 0 and {_LARGEST.get(key, 1)}"
        for place, key, value in given
        if key in NUMBERS and not 0 <= value <= _LARGEST.get(key, 1)
    ]


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
