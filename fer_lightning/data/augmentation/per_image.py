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
import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.augmentation.extra_transforms import build_extra, reason_of
from fer_lightning.data.augmentation.pipeline import pipeline
from fer_lightning.data.augmentation.spec import Augmentation


class AlbumentationsEngine(Engine):
    """Augments images one by one, on the CPU; not thread-safe.

    Raises:
        ConfigError: see `Augmentation`; when drawing, a transform under `extra` changed size or type.
        ValueError: when drawing, the images lie on another device.
    """

    def __init__(self, spec: Augmentation, seed: int, kinds: Tensor | None = None, epochs: int | None = None) -> None:
        super().__init__(spec, seed, kinds, epochs)
        # Counter-based: (seed, epoch, row, repeat) is the state itself; setting it takes 0.4 µs.
        self._philox, self._random = np.random.Philox(), random.Random()
        self._extra = build_extra(spec.extra)
        self._grown, self._composes = 1.0, [self._compose(one) for one in self.specs]

    def _compose(self, spec: Augmentation) -> A.Compose | None:
        before, extra, after = (build_extra(items) for items in pipeline(spec))
        if not (before or extra or after):
            return None
        compose = A.Compose([*before, *extra, *after], is_check_shapes=False)
        # shared by all transforms, so reseeding them in place is enough
        compose.set_random_state(np.random.Generator(self._philox), self._random)
        return compose

    def compose_of(self, epoch: int, row: int) -> A.Compose | None:
        """Return the pipeline of an image; None where it changes nothing."""
        if (grown := self.growth(epoch)) != self._grown:  # a few milliseconds an epoch
            self._grown, self._composes = grown, [self._compose(one.grown_to(grown)) for one in self.specs]
        return self._composes[0 if self.kinds is None else int(self.kinds[row])]

    @property
    def summary(self) -> str:
        why = "for augmentation.extra" if self.spec.extra else "for data.engine=albumentations"
        how = f"image by image with Albumentations, {why}"
        return f"augmentation: {how}; the pipeline is in augmentation.json{self.course}"

    def __call__(self, images: Tensor, epoch: int, rows: Tensor, repeats: Tensor) -> Tensor:
        if images.device.type != "cpu":
            raise ValueError(f"Albumentations augments on the CPU, not on {images.device}: use data.engine=batched")
        if all(compose is None for compose in self._composes) and self.spec.ramp == 0:
            return images
        result = np.empty(images.shape, np.uint8)
        channels_last = np.ascontiguousarray(images.numpy().transpose(0, 2, 3, 1))
        for place, (row, repeat) in enumerate(zip(rows.tolist(), repeats.tolist(), strict=True)):
            result[place] = self.augment_one(channels_last[place], epoch, row, repeat).transpose(2, 0, 1)
        return torch.from_numpy(result)

    def augment_one(self, image: np.ndarray, epoch: int, row: int, repeat: int = 0) -> np.ndarray:
        """Augment one image uint8 `(H, W, C)` of any strides, as `__call__` does; the result is C-contiguous."""
        epoch, row, repeat = int(epoch), int(row), int(repeat)
        compose = self.compose_of(epoch, row)
        if compose is None:
            return np.ascontiguousarray(image)
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
        augmented = compose(image=image)["image"]
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


def _require_same_kind(result: Any, image: np.ndarray, *transforms: A.BasicTransform) -> None:
    dtype, shape = getattr(result, "dtype", type(result).__name__), getattr(result, "shape", ())
    if (dtype, shape) != (image.dtype, image.shape):
        names = ", ".join(type(transform).__name__ for transform in transforms)
        given = f"{dtype} {tuple(shape)}"
        raise ConfigError(f"augmentation.extra: {names} gives {given} for {image.dtype} {image.shape}; leave it out")
