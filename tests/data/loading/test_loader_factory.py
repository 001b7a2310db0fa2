"""Which engine augments, where the images lie and who reads them: what was asked for, and what `auto` means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.loading.dataset import SplitImages
from fer_lightning.data.loading.loader_factory import LoaderFactory, build_engine
from fer_lightning.data.loading.loaders import ResidentLoader, StreamedLoader
from fer_lightning.data.loading.sampler import TrainBatchSampler

FACES = {"train": 21, "validation": 7, "test": 7}
CPU, GPU, APPLE = (torch.device(name) for name in ("cpu", "cuda", "mps"))
BLUR = [{"name": "Blur", "p": 0.5}]


def spec(extra: list[dict[str, Any]] | None = None) -> Augmentation:
    return Augmentation(
        flip=0.5, rotate=10, shift=0.1, zoom=0.1, affine=1, brightness=0, contrast=0, light=0, erase=0,
        erase_area=(0.02, 0.2), extra=extra,
    )  # fmt: skip


def set_free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=size))


@pytest.mark.parametrize(
    ("name", "extra", "kind"),
    [
        ("auto", None, BatchedEngine),
        ("auto", [], BatchedEngine),
        ("auto", BLUR, AlbumentationsEngine),
        ("albumentations", None, AlbumentationsEngine),
        ("albumentations", BLUR, AlbumentationsEngine),
        ("batched", None, BatchedEngine),
    ],
)
def test_auto_takes_whole_batches_unless_transforms_need_albumentations(
    name: str, extra: list[dict[str, Any]] | None, kind: type
) -> None:
    engine = build_engine(spec(extra), name, seed=4, image_size=16, channels=1)
    assert type(engine) is kind
    assert (engine.seed, engine.spec.extra) == (4, extra)
    assert build_engine(None, name, seed=4, image_size=16, channels=1) is None


def test_whole_batches_with_transforms_of_albumentations_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"augmentation\.extra.*data\.engine=albumentations"):
        ExpressionDataModule(engine="batched", augmentation=spec(BLUR), synthetic=FACES)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(ValueError, match=r"engine.*auto, albumentations, batched"):
        ExpressionDataModule(engine="kornia")


ONE_BY_ONE, TOGETHER = AlbumentationsEngine(spec(), 0), BatchedEngine(spec(), 0)


@pytest.mark.parametrize("engine", [None, TOGETHER])
def test_images_are_kept_by_size_where_whole_batches_are_augmented(
    monkeypatch: pytest.MonkeyPatch, engine: BatchedEngine | None
) -> None:
    set_free(monkeypatch, 1000)
    assert LoaderFactory(engine).is_resident(50, CPU)
    assert not LoaderFactory(engine).is_resident(51, CPU)
    assert LoaderFactory(engine).is_resident(250, APPLE)
    assert LoaderFactory(engine, resident=True).is_resident(1000, APPLE)
    assert not LoaderFactory(engine, resident=False).is_resident(0, CPU)
    with pytest.raises(ConfigError, match=r"data\.resident=true.*1 kB.*mps has 1 kB"):
        LoaderFactory(engine, resident=True).is_resident(1001, APPLE)


def test_albumentations_works_beside_the_images_on_a_cpu_and_in_workers_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_free(monkeypatch, 1000)
    assert LoaderFactory(ONE_BY_ONE).is_resident(50, CPU)
    assert not LoaderFactory(ONE_BY_ONE).is_resident(0, GPU)  # without a look at the GPU, which is not there
    with pytest.raises(ConfigError, match=r"resident=true.*cuda.*resident=false, or data\.engine=batched"):
        LoaderFactory(ONE_BY_ONE, resident=True).is_resident(0, GPU)


def test_what_was_decided_holds_when_memory_fills_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for resident in ("auto", True):
        data = ExpressionDataModule(image_size=16, resident=resident, synthetic=FACES)
        data.setup()
        set_free(monkeypatch, 10**9)
        said = data.describe_loading(CPU)
        train = data.train_dataloader()
        set_free(monkeypatch, 0)  # the training images lie there now, and the network
        assert isinstance(train.batches, ResidentLoader)
        assert isinstance(data.val_dataloader(), ResidentLoader)
        assert data.describe_loading(CPU) == said


def given_loader(factory: LoaderFactory, device: torch.device, *, train: bool = True) -> Any:
    images = SplitImages(np.zeros((6, 1, 8, 8), np.uint8), np.arange(6), np.zeros(6, int), np.arange(6))
    batches = TrainBatchSampler(images.labels, 2, strategy="shuffle", seed=0)
    return factory.loader(images, batches, device, need=images.images.nbytes, train=train)


@pytest.mark.parametrize(
    ("settings", "device", "expected"),
    [
        ({}, CPU, (0, False, False)),
        ({}, GPU, (0, True, False)),
        ({}, APPLE, (0, False, False)),
        ({"num_workers": 2}, GPU, (2, True, True)),
        ({"num_workers": 2, "persistent_workers": True}, CPU, (2, False, True)),
        ({"num_workers": 2, "persistent_workers": False}, CPU, (2, False, False)),
        ({"num_workers": 0, "persistent_workers": True}, CPU, (0, False, False)),  # DataLoader would refuse that
        ({"pin_memory": False}, GPU, (0, False, False)),
        ({"pin_memory": True}, CPU, (0, True, False)),
    ],
    ids=str,
)
def test_settings_of_the_loader_reach_it(
    settings: dict[str, Any], device: torch.device, expected: tuple[int, bool, bool]
) -> None:
    streamed = given_loader(LoaderFactory(TOGETHER, resident=False, **settings), device)
    loader = streamed.batches
    assert (loader.num_workers, loader.pin_memory, loader.persistent_workers) == expected
    assert streamed.device == device


def test_the_datamodule_passes_its_settings_on() -> None:
    data = ExpressionDataModule(
        synthetic=FACES, image_size=16, resident=False, num_workers=1, pin_memory=False,
        persistent_workers=False,
    )  # fmt: skip
    data.setup()
    streamed = data.train_dataloader().batches
    assert isinstance(streamed, StreamedLoader)
    loader = streamed.batches
    assert (loader.num_workers, loader.pin_memory, loader.persistent_workers) == (1, False, False)


@pytest.mark.parametrize("train", [True, False])
def test_training_images_alone_are_augmented_where_their_engine_works(train: bool) -> None:
    def engines(engine: Any, resident: bool) -> tuple[Any, Any]:
        loader = given_loader(LoaderFactory(engine, resident=resident), CPU, train=train)
        reader = None if resident else loader.batches.dataset.engine
        return loader.engine, reader

    assert engines(TOGETHER, resident=True) == (TOGETHER if train else None, None)
    assert engines(TOGETHER, resident=False) == (TOGETHER if train else None, None)
    assert engines(ONE_BY_ONE, resident=True) == (ONE_BY_ONE if train else None, None)
    assert engines(ONE_BY_ONE, resident=False) == (None, ONE_BY_ONE if train else None)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"engine": TOGETHER}, "40 MB of images kept in the memory of the CPU, augmented in whole batches"),
        ({"engine": None}, "40 MB of images kept in the memory of the CPU, not augmented"),
        (
            {"engine": TOGETHER, "resident": False},
            "40 MB of images read from disk batch by batch by the training process, augmented in whole batches",
        ),
        (
            {"engine": ONE_BY_ONE, "num_workers": 4},  # asked for, so there are some
            "40 MB of images read from disk batch by batch by 4 loader processes, "
            "augmented one by one by Albumentations",
        ),
    ],
    ids=["together", "not augmented", "streamed", "one by one"],
)
def test_one_line_says_what_is_done(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], line: str) -> None:
    set_free(monkeypatch, 10**9)
    assert LoaderFactory(**settings).describe(40_000_000, CPU) == line
