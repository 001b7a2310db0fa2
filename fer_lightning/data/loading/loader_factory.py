"""Choose loader and augmentation engine from the settings and the device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.loading.dataset import SplitImages
from fer_lightning.data.loading.device_memory import fits, readable
from fer_lightning.data.loading.loaders import BatchSampler, ResidentLoader, StreamedLoader

Loader = ResidentLoader | StreamedLoader
Auto = Literal["auto"]
EngineName = Literal["auto", "albumentations", "batched"]


def build_engine(
    spec: Augmentation | None, name: EngineName, seed: int, image_size: int, channels: int
) -> Engine | None:
    """Return the augmentation engine; `auto` is `batched`, unless only Albumentations can do what `spec` asks for.

    Raises:
        ConfigError: `batched` cannot do what `spec` asks for, or a transform of Albumentations fails on such images.
    """
    if spec is None:
        return None
    if name == "albumentations" or (name == "auto" and spec.extra):
        from fer_lightning.data.augmentation.per_image import AlbumentationsEngine  # a quarter of a second to import

        engine = AlbumentationsEngine(spec, seed)
        engine.check(image_size, channels)
        return engine
    return BatchedEngine(spec, seed)


@dataclass
class LoaderFactory:
    """Makes loaders according to the settings of ExpressionDataModule; `engine` augments training images."""

    engine: Engine | None
    resident: bool | Auto = "auto"
    num_workers: int = 0
    pin_memory: bool | Auto = "auto"
    persistent_workers: bool | Auto = "auto"
    _kept: dict[tuple[int, torch.device], bool] = field(default_factory=dict, init=False, repr=False)

    def is_resident(self, need: int, device: torch.device) -> bool:
        """Return whether `need` bytes of images are kept in the memory of the device.

        Decided once for all splits, because loading one leaves less free memory for the next.

        Raises:
            ConfigError: `resident` is true, but they do not fit or cannot be augmented there.
        """
        if self._per_image and device.type != "cpu":
            if self.resident is True:
                raise ConfigError(
                    f"data.resident=true keeps the images on {device}, where Albumentations cannot augment them; type "
                    "data.resident=false, or data.engine=batched without augmentation.extra"
                )
            return False
        if self._per_image and self.num_workers > 0 and self.resident == "auto":
            return False  # these processes only augment what they read
        if (need, device) not in self._kept:
            self._kept[need, device] = fits(self.resident, need, device)
        return self._kept[need, device]

    def describe(self, need: int, device: torch.device) -> str:
        """Return one line on where the images are and how they are augmented."""
        readers = f"{self.num_workers} loader process{'es' * (self.num_workers > 1)}"
        where = f"read from disk batch by batch by {readers if self.num_workers else 'the training process'}"
        if self.is_resident(need, device):
            where = f"kept in the memory of the {device.type.upper()}"
        batched = "not augmented" if self.engine is None else "augmented in whole batches"
        how = "augmented one by one by Albumentations" if self._per_image else batched
        return f"{readable(need)} of images {where}, {how}"

    def loader(
        self, images: SplitImages, sampler: BatchSampler, device: torch.device, *, need: int, train: bool
    ) -> Loader:
        """Return a loader of a split, augmenting to `train`; `need` are the bytes of the images of all splits.

        Raises:
            ConfigError: see `is_resident`.
        """
        engine = self.engine if train else None
        if self.is_resident(need, device):
            return ResidentLoader(images, sampler, device, engine)
        if self._per_image:
            images.engine, engine = engine, None
        options = {
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0 and self.persistent_workers is not False,
            "pin_memory": device.type == "cuda" if self.pin_memory == "auto" else self.pin_memory,
        }
        return StreamedLoader(images, sampler, device, engine, **options)

    @property
    def _per_image(self) -> bool:
        return self.engine is not None and not isinstance(self.engine, BatchedEngine)
