"""Augmentation image by image, on the CPU, with Albumentations.

Albumentations 2.0.8 draws the same random numbers in every DataLoader worker and in every epoch, however a worker is
seeded. Here the generator is reseeded from (seed, epoch, row, repeat) before each image, which takes about 4 µs. So
draws differ between images, workers and epochs, repeat under the same seed, and depend neither on the number of workers
nor on earlier draws.
"""

from __future__ import annotations

import os
import random
from typing import Any

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # without it, importing asks the network for a newer version

import albumentations as A
import cv2
import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.augmentation.extra_transforms import build_extra, reason_of
from fer_lightning.data.augmentation.spec import Augmentation


class AlbumentationsEngine(Engine):
    """Augments images one by one, on the CPU; not thread-safe.

    Raises:
        ConfigError: see `Augmentation`; when drawing, a transform under `extra` changed size or type.
        ValueError: when drawing, the images lie on another device.
    """

    def __init__(self, spec: Augmentation, seed: int) -> None:
        super().__init__(spec, seed)
        self._extra = build_extra(spec.extra)
        transforms = self._build_transforms()
        # Counter-based: (seed, epoch, row, repeat) is the state itself; setting it takes 0.4 µs.
        self._philox, self._random = np.random.Philox(), random.Random()
        self._compose = A.Compose(transforms, is_check_shapes=False) if transforms else None
        if self._compose is not None:  # shared by all transforms, so reseeding them in place is enough
            self._compose.set_random_state(np.random.Generator(self._philox), self._random)

    def __call__(self, images: Tensor, epoch: int, rows: Tensor, repeats: Tensor) -> Tensor:
        if images.device.type != "cpu":
            raise ValueError(f"Albumentations augments on the CPU, not on {images.device}: use data.engine=batched")
        if self._compose is None:
            return images
        result = np.empty(images.shape, np.uint8)
        channels_last = np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))
        for place, (row, repeat) in enumerate(zip(rows.tolist(), repeats.tolist(), strict=True)):
            result[place] = self.augment_one(channels_last[place], epoch, row, repeat).transpose(2, 0, 1)
        return torch.from_numpy(result)

    def augment_one(self, image: np.ndarray, epoch: int, row: int, repeat: int = 0) -> np.ndarray:
        """Augment one image uint8 `(H, W, C)` of any strides, as `__call__` does; the result is C-contiguous."""
        if self._compose is None:
            return np.ascontiguousarray(image)
        epoch, row, repeat = int(epoch), int(row), int(repeat)
        state: Any = {  # tuples, which are faster than the arrays that NumPy's stubs ask for
            "bit_generator": "Philox",
            # Word 0 counts the draws; the higher words distinguish epochs and repeats.
            "state": {"counter": (0, 0, repeat, epoch), "key": (self.seed, row)},
            "buffer": (0, 0, 0, 0),
            "buffer_pos": 4,  # empty buffer
            "has_uint32": 0,
            "uinteger": 0,
        }
        self._philox.state = state
        self._random.seed(repeat << 192 | self.seed << 128 | epoch << 64 | row)
        augmented = self._compose(image=image)["image"]
        _require_same_kind(augmented, image, *self._extra)
        return np.ascontiguousarray(augmented)

    def check(self, image_size: int, channels: int) -> None:
        """Run each transform under `extra` once, to find errors before training rather than in a worker.

        Raises:
            ConfigError: a transform fails on such images or does not return uint8 of the same size.
        """
        probe = np.random.default_rng(0).integers(0, 256, (image_size, image_size, channels), dtype=np.uint8)
        for transform in self._extra:
            try:
                result = transform(image=probe.copy(), force_apply=True)["image"]
            except Exception as error:  # whatever the transform raises
                failed = f"{type(transform).__name__} fails on {image_size}x{image_size}x{channels} images"
                raise ConfigError(f"augmentation.extra: {failed}: {reason_of(error)}") from error
            _require_same_kind(result, probe, transform)

    def _build_transforms(self) -> list[A.BasicTransform]:
        """Return the transforms that have an effect, in order; one without would still take time."""
        spec = self.spec
        transforms: list[A.BasicTransform] = []
        if spec.flip > 0:
            transforms.append(A.HorizontalFlip(p=spec.flip))
        if self._moves:
            shift = (-float(spec.shift), float(spec.shift))
            affine = A.Affine(
                rotate=(-float(spec.rotate), float(spec.rotate)),
                translate_percent={"x": shift, "y": shift},  # a dict draws the axes independently
                scale=(1.0 - spec.zoom, 1.0 + spec.zoom),
                keep_ratio=True,
                interpolation=cv2.INTER_LINEAR,
                border_mode=cv2.BORDER_REFLECT_101,
                p=spec.affine,
            )
            transforms.append(affine)
        if self._lights:
            # RandomBrightnessContrast scales contrast about black, and at 0.4 clips most of one face in ten.
            brightness, contrast = ((1.0 - change, 1.0 + change) for change in (spec.brightness, spec.contrast))
            transforms.append(A.ColorJitter(brightness, contrast, saturation=(1.0, 1.0), hue=(0.0, 0.0), p=spec.light))
        transforms.extend(self._extra)
        if spec.erase > 0:
            transforms.append(A.Erasing(scale=spec.erase_area, ratio=(0.5, 2.0), fill="random", p=spec.erase))
        return transforms


def _require_same_kind(result: Any, image: np.ndarray, *transforms: A.BasicTransform) -> None:
    dtype, shape = getattr(result, "dtype", type(result).__name__), getattr(result, "shape", ())
    if (dtype, shape) != (image.dtype, image.shape):
        names = ", ".join(type(transform).__name__ for transform in transforms)
        given = f"{dtype} {tuple(shape)}"
        raise ConfigError(f"augmentation.extra: {names} gives {given} for {image.dtype} {image.shape}; leave it out")
