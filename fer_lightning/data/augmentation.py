"""Random changes to training images: one specification, drawn per image through Albumentations.

Albumentations 2.0.8 draws the same stream in every DataLoader worker and again in every epoch, however a worker is
seeded. Here the stream of an image is set anew from (seed, epoch, row, repeat) before each call, which costs about
4 µs. So draws differ between images, workers and epochs, are the same under the same seed, and depend neither on the
number of workers nor on what was drawn before, as after resuming.
"""

from __future__ import annotations

import inspect
import os
import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, importing asks the network for a newer version

import albumentations as A
import cv2
import numpy as np
from omegaconf import OmegaConf

from fer_lightning.errors import ConfigError
from fer_lightning.near import did_you_mean

_SIZES = {  # inclusive bounds of each number, as the error message gives them
    "flip": (0, 1),
    "rotate": (0, 180),
    "shift": (0, 0.5),
    "zoom": (0, 0.9),
    "affine": (0, 1),
    "brightness": (0, 1),
    "contrast": (0, 1),
    "light": (0, 1),
    "erase": (0, 1),
}
_LARGEST_ERASE = 0.5  # of the picture: what a rectangle of 1:2 can cover


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image, in this order; all zeros (the defaults) change nothing.

    Attributes:
        flip: probability of a left-right flip.
        rotate: largest turn to either side, degrees.
        shift: largest move along each axis, fraction of the side.
        zoom: scale drawn from 1 - zoom to 1 + zoom.
        affine: probability that turn, move and scale are applied, as one resampling with mirrored borders.
        brightness: values are multiplied by 1 - brightness to 1 + brightness.
        contrast: distances from the picture's mean are multiplied by 1 - contrast to 1 + contrast.
        light: probability that brightness and contrast are applied.
        erase: probability that one rectangle is overwritten with noise, as in random erasing (Zhong et al. 2017):
            unlike a constant it looks like no shade of skin or hair, and it needs no statistics of the data.
        erase_area: smallest and largest erased share of the picture.
        extra: further Albumentations transforms, applied before erasing, each a dict with its class name under `name`
            and the constructor's arguments beside it: `[{name: GaussNoise, p: 0.2}]`. Must keep size and uint8.

    Raises:
        ValueError: a number is out of its range; all of them are named.
        ConfigError: a transform under `extra` is unknown or refuses its arguments.
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
            f"{name}={getattr(self, name)} must lie between {low} and {high}"
            for name, (low, high) in _SIZES.items()
            if not low <= getattr(self, name) <= high
        ]
        area = tuple(self.erase_area)
        if len(area) != 2 or not 0 < area[0] <= area[1] <= _LARGEST_ERASE:
            wrong.append(f"erase_area={list(area)} must be [smallest, largest] with 0 < smallest <= largest <= 0.5")
        if wrong:
            raise ValueError("augmentation: " + "; ".join(f"augmentation.{problem}" for problem in wrong))
        extra = OmegaConf.to_container(self.extra, resolve=True) if OmegaConf.is_config(self.extra) else self.extra
        object.__setattr__(self, "erase_area", area)  # plain tuple and list, also when Hydra hands its own containers
        object.__setattr__(self, "extra", extra)
        _build_extra(extra)


class AlbumentationsEngine:
    """Augments single images; picklable, so it travels to spawned workers. Not for use by two threads at once.

    Args:
        spec: what to draw from.
        seed: 0 <= seed < 2**64.

    Raises:
        ValueError: the seed is out of range.
        ConfigError: see `Augmentation`.
    """

    def __init__(self, spec: Augmentation, seed: int) -> None:
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed={seed} must lie between 0 and 2**64 - 1")
        self.spec = spec
        self.seed = seed
        self._extra = _build_extra(spec.extra)
        transforms = _build_transforms(spec, self._extra)
        # Counter-based: (seed, epoch, row, repeat) is the state itself, nothing to hash, no two alike, 0.4 µs to set.
        self._philox = np.random.Philox()
        self._random = random.Random()
        self._compose = A.Compose(transforms, is_check_shapes=False) if transforms else None
        if self._compose is not None:  # all transforms share these two, so reseeding them in place is enough
            self._compose.set_random_state(np.random.Generator(self._philox), self._random)

    def __call__(self, image: np.ndarray, epoch: int, row: int, repeat: int = 0) -> np.ndarray:
        """Draws once.

        Args:
            image: uint8 (H, W, C), C 1 or 3, any strides; never written to.
            epoch: 0 or more.
            row: which image this is, 0 or more.
            repeat: how often it was drawn before in this epoch.

        Returns:
            uint8 (H, W, C), C-contiguous, a function of the arguments, `spec` and `seed` alone; may be `image` itself.

        Raises:
            ConfigError: a transform under `extra` changed size or type.
        """
        if self._compose is None:
            return np.ascontiguousarray(image)
        self._reseed(int(epoch), int(row), int(repeat))
        augmented = self._compose(image=image)["image"]
        if augmented.shape != image.shape or augmented.dtype != np.uint8:
            raise _not_an_image(", ".join(type(t).__name__ for t in self._extra), augmented, image)
        return np.ascontiguousarray(augmented)

    def check(self, image_size: int, channels: int) -> None:
        """Runs each transform under `extra` once, so that a misfit shows before training and not within a worker.

        Raises:
            ConfigError: a transform cannot handle such images or does not give back uint8 of the same size.
        """
        probe = np.random.default_rng(0).integers(0, 256, (image_size, image_size, channels), dtype=np.uint8)
        for transform in self._extra:
            name = type(transform).__name__
            try:
                result = transform(image=probe.copy(), force_apply=True)["image"]
            except Exception as error:  # whatever a transform of the user's choice may raise
                size = f"{image_size}x{image_size}x{channels}"
                raise ConfigError(f"augmentation.extra: {name} fails on {size} images: {_complaint(error)}") from error
            if getattr(result, "shape", None) != probe.shape or result.dtype != np.uint8:
                raise _not_an_image(name, result, probe)

    def __reduce__(self) -> tuple[type[AlbumentationsEngine], tuple[Augmentation, int]]:
        return type(self), (self.spec, self.seed)

    def _reseed(self, epoch: int, row: int, repeat: int) -> None:
        self._philox.state = {
            "bit_generator": "Philox",
            # Word 0 counts what is drawn, the words above it are free to tell epochs and repeats apart.
            "state": {"counter": (0, 0, repeat, epoch), "key": (self.seed, row)},
            "buffer": (0, 0, 0, 0),
            "buffer_pos": 4,  # the buffer is used up
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._random.seed(repeat << 192 | self.seed << 128 | epoch << 64 | row)


def _build_transforms(spec: Augmentation, extra: list[A.BasicTransform]) -> list[A.BasicTransform]:
    """The transforms that can have an effect, in their order; an idle one would still cost its call."""
    transforms: list[A.BasicTransform] = []
    if spec.flip > 0:
        transforms.append(A.HorizontalFlip(p=spec.flip))
    if spec.affine > 0 and max(spec.rotate, spec.shift, spec.zoom) > 0:
        shift = (-float(spec.shift), float(spec.shift))
        affine = A.Affine(
            rotate=(-float(spec.rotate), float(spec.rotate)),
            translate_percent={"x": shift, "y": shift},  # a dict draws the axes apart
            scale=(1.0 - spec.zoom, 1.0 + spec.zoom),
            keep_ratio=True,
            interpolation=cv2.INTER_LINEAR,
            border_mode=cv2.BORDER_REFLECT_101,
            p=spec.affine,
        )
        transforms.append(affine)
    if spec.light > 0 and max(spec.brightness, spec.contrast) > 0:
        # Not RandomBrightnessContrast: it stretches away from black, and at 0.4 most of one face in ten is clipped.
        brightness, contrast = ((1.0 - change, 1.0 + change) for change in (spec.brightness, spec.contrast))
        transforms.append(A.ColorJitter(brightness, contrast, saturation=(1.0, 1.0), hue=(0.0, 0.0), p=spec.light))
    transforms.extend(extra)
    if spec.erase > 0:
        transforms.append(A.Erasing(scale=spec.erase_area, ratio=(0.5, 2.0), fill="random", p=spec.erase))
    return transforms


def _build_extra(items: list[dict[str, Any]] | None) -> list[A.BasicTransform]:
    if items is None:
        return []
    if not isinstance(items, (list, tuple)):
        raise ConfigError(f"augmentation.extra must be a list such as [{{name: GaussNoise, p: 0.2}}], not {items!r}")
    return [_build_named(item) for item in items]


def _build_named(item: Any) -> A.BasicTransform:
    """One Albumentations transform (or OneOf, SomeOf … over `transforms`) from its name and arguments."""
    if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
        raise ConfigError(f"augmentation.extra: {item!r} must name a transform, such as {{name: GaussNoise, p: 0.2}}")
    arguments = {str(key): value for key, value in item.items() if key != "name"}
    cls = _find_transform(item["name"])
    if issubclass(cls, A.BaseCompose) and isinstance(arguments.get("transforms"), (list, tuple)):
        arguments["transforms"] = [_build_named(inner) for inner in arguments["transforms"]]
    try:
        inspect.signature(cls).bind(**arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Albumentations warns and falls back on its defaults
            return cls(**arguments)
    except Exception as error:  # the constructor's own complaint, of whatever kind
        raise ConfigError(f"augmentation.extra: {item['name']}: {_complaint(error)}") from error


def _find_transform(name: str) -> type[A.BasicTransform]:
    kinds = (A.BasicTransform, A.BaseCompose)
    known = {key: value for key, value in vars(A).items() if inspect.isclass(value) and issubclass(value, kinds)}
    if name in known:
        return known[name]
    hint = did_you_mean(name, known)
    raise ConfigError(f"augmentation.extra: Albumentations {A.__version__} has no transform {name!r}{hint}")


def _complaint(error: Exception) -> str:
    """The reason in one line; pydantic's own text spreads over several and ends in a link."""
    if type(error.__cause__).__name__ == "ValidationError":  # not imported: pydantic is Albumentations' affair
        found = error.__cause__.errors()
        return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']} (got {one['input']!r})" for one in found)
    return " ".join(str(error).split()) or type(error).__name__


def _not_an_image(names: str, result: Any, image: np.ndarray) -> ConfigError:
    given = f"{getattr(result, 'dtype', type(result).__name__)} {tuple(getattr(result, 'shape', ()))}"
    return ConfigError(f"augmentation.extra: {names} gives {given} for {image.dtype} {image.shape}; leave it out")
