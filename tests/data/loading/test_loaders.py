"""Images kept in memory and images read from disk make the same batches, and no batch depends on how it was made."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.loading import loaders
from fer_lightning.data.loading.dataset import Batch, SplitImages
from fer_lightning.data.loading.loader_factory import LoaderFactory
from fer_lightning.data.loading.loaders import BatchSampler, ResidentLoader, StreamedLoader, load_split
from fer_lightning.data.loading.sampler import EvaluationBatchSampler, TrainBatchSampler

CPU = torch.device("cpu")
SPEC = Augmentation(
    flip=0.5, rotate=20, shift=0.1, zoom=0.1, affine=0.8, brightness=0.2, contrast=0.2, light=0.7, erase=0.5,
    erase_area=(0.02, 0.2), extra=None,
)  # fmt: skip
ENGINES = {"batched": BatchedEngine, "albumentations": AlbumentationsEngine}
SIDE, COUNT = 24, 150
CACHE = np.random.default_rng(0).integers(0, 256, (2 * COUNT, 1, SIDE, SIDE), dtype=np.uint8)
ROWS = np.random.default_rng(1).permutation(2 * COUNT)[:COUNT]  # of the cache; the other half is in other splits
LABELS = np.repeat([0, 1, 2], [80, 20, 50])
INDEX = np.arange(COUNT)[::-1] + 1000  # of a table that knows more classes


def split_images(count: int = COUNT, engine: Engine | None = None) -> SplitImages:
    return SplitImages(CACHE, ROWS[:count], LABELS[:count], INDEX[:count].copy(), engine)


def sampler(batch_size: int, *, epoch: int = 0, count: int = COUNT, **options: Any) -> TrainBatchSampler:
    settings = {"strategy": "balanced", "seed": 5, "drop_last": False, **options}
    found = TrainBatchSampler(LABELS[:count], batch_size, **settings)
    found.set_epoch(epoch)
    return found


def one_by_one(batches: BatchSampler, engine: Engine | None) -> list[Batch]:
    """What a sampler asks for, each image augmented by itself."""
    found = []
    for draws in batches:
        images = torch.from_numpy(CACHE[ROWS[draws.rows]])
        if engine is not None:
            drawn = zip(images.split(1), ROWS[draws.rows].tolist(), draws.repeats.tolist(), strict=True)
            alone = [engine(one, draws.epoch, torch.tensor([row]), torch.tensor([again])) for one, row, again in drawn]
            images = torch.cat(alone) if alone else images
        found.append(Batch(images, torch.from_numpy(LABELS[draws.rows]), torch.from_numpy(INDEX[draws.rows])))
    return found


def assert_same(actual: Iterable[Batch], expected: Iterable[Batch]) -> None:
    for step, (one, other) in enumerate(itertools.zip_longest(actual, expected)):
        assert one is not None, f"there is no batch {step}"
        assert other is not None, f"batch {step} is one too many"
        for name in Batch._fields:
            left, right = getattr(one, name), getattr(other, name)
            assert left.dtype == right.dtype, (step, name)
            assert torch.equal(left, right), (step, name)


def in_memory(engine: Engine | None, batches: BatchSampler, block_bytes: int | None = None) -> ResidentLoader:
    loader = ResidentLoader(split_images(), batches, CPU, engine)
    loader.block_bytes = loader.block_bytes if block_bytes is None else block_bytes
    return loader


def from_disk(engine: Engine | None, batches: BatchSampler, workers: int = 0) -> StreamedLoader:
    factory = LoaderFactory(engine, resident=False, num_workers=workers)
    loader = factory.loader(split_images(), batches, CPU, need=0, train=True)
    assert isinstance(loader, StreamedLoader)
    return loader


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("batch_size", [64, 11])  # 150 images: the last batch has 22 or 7
def test_both_loaders_give_what_each_image_gives_by_itself(name: str, batch_size: int) -> None:
    engine = ENGINES[name](SPEC, seed=3)
    for epoch in (0, 2):
        expected = one_by_one(sampler(batch_size, epoch=epoch), engine)
        assert len(expected[-1].labels) == COUNT % batch_size
        assert_same(in_memory(engine, sampler(batch_size, epoch=epoch)), expected)
        assert_same(from_disk(engine, sampler(batch_size, epoch=epoch)), expected)


@pytest.mark.parametrize("name", ENGINES)
def test_workers_change_nothing(name: str) -> None:
    engine = ENGINES[name](SPEC, seed=3)
    batches = sampler(16)
    loader = from_disk(engine, batches, workers=2)
    for epoch in (0, 1):
        batches.set_epoch(epoch)  # which workers that live on learn with each batch
        assert_same(loader, in_memory(engine, sampler(16, epoch=epoch)))


@pytest.mark.parametrize("block_bytes", [0, 1, 5 * SIDE**2, 40 * SIDE**2, 1 << 30])
@pytest.mark.parametrize("name", [*ENGINES, None])
def test_the_size_of_blocks_changes_nothing(name: str | None, block_bytes: int) -> None:
    engine = None if name is None else ENGINES[name](SPEC, seed=3)
    blocks = in_memory(engine, sampler(16), block_bytes=block_bytes)
    assert len(blocks) == len(sampler(16))
    assert_same(blocks, one_by_one(sampler(16), engine))


class Counting:
    """An engine that notes how many images it is given at a time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def check(self, image_size: int, channels: int) -> None: ...

    def __call__(self, images: torch.Tensor, epoch: int, rows: torch.Tensor, repeats: torch.Tensor) -> torch.Tensor:
        assert len(images) == len(rows) == len(repeats)
        self.sizes.append(len(images))
        return images


@pytest.mark.parametrize(
    ("block_bytes", "sizes"),
    [(None, [16] * 9 + [6]), (0, [16] * 9 + [6]), (17 * SIDE**2, [32] * 4 + [22]), (1 << 30, [COUNT])],
)
def test_a_block_is_no_larger_than_it_has_to_be(block_bytes: int | None, sizes: list[int]) -> None:
    engine = Counting()
    list(in_memory(engine, sampler(16), block_bytes=block_bytes))
    assert engine.sizes == sizes


def test_epochs_and_repeats_are_augmented_anew() -> None:
    engine = BatchedEngine(SPEC, seed=3)
    counts: dict[int, list[torch.Tensor]] = {}
    for epoch in (0, 1):
        for batch in in_memory(engine, sampler(16, epoch=epoch)):
            for image, row in zip(batch.images, batch.index.tolist(), strict=True):
                counts.setdefault(row, []).append(image)
    often = max(counts.values(), key=len)  # `balanced` draws images of the rare class several times an epoch
    assert len(often) >= 4
    assert len({image.numpy().tobytes() for image in often}) > len(often) // 2  # one in a few stays as it is


@pytest.mark.parametrize("name", ENGINES)
def test_two_ranks_of_32_see_what_one_of_64_sees(name: str) -> None:
    engine = ENGINES[name](SPEC, seed=3)

    def pictures(*loaders: Iterable[Batch]) -> list[list[tuple[int, bytes]]]:
        steps = []
        for batches in zip(*loaders, strict=True):
            parts = [zip(batch.index.tolist(), batch.images, strict=True) for batch in batches]
            steps.append(sorted((row, image.numpy().tobytes()) for part in parts for row, image in part))
        return steps

    one = pictures(in_memory(engine, sampler(64, epoch=1)))
    ranks = [sampler(32, epoch=1, rank=rank, world_size=2) for rank in range(2)]
    assert pictures(in_memory(engine, ranks[0]), from_disk(engine, ranks[1])) == one
    assert [len(step) for step in one] == [64, 64, 22]


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("world_size", [1, 4])
def test_evaluation_gives_each_image_once_and_as_it_is(resident: bool, world_size: int) -> None:
    count, seen = 34, []
    factory = LoaderFactory(BatchedEngine(SPEC, seed=3), resident=resident)
    for rank in range(world_size):
        batches = EvaluationBatchSampler(count, 8, rank, world_size)
        loader = factory.loader(split_images(count), batches, CPU, need=0, train=False)
        given = list(loader)
        assert len(given) == len(loader) == len(batches)
        assert_same(given, one_by_one(batches, None))
        seen += [row for batch in given for row in batch.index.tolist()]
    assert sorted(seen) == sorted(INDEX[:count].tolist())


@pytest.mark.parametrize("resident", [True, False])
def test_an_empty_batch_of_a_rank_has_the_shape_of_the_others(resident: bool) -> None:
    batches = EvaluationBatchSampler(9, 4, rank=1, world_size=2)
    *_, last = LoaderFactory(None, resident=resident).loader(split_images(9), batches, CPU, need=0, train=False)
    assert (last.images.shape, last.images.dtype) == ((0, 1, SIDE, SIDE), torch.uint8)
    assert (last.labels.dtype, last.index.dtype) == (torch.int64, torch.int64)


@pytest.mark.parametrize("engine", [None, BatchedEngine(SPEC, seed=3), AlbumentationsEngine(SPEC, seed=3)])
@pytest.mark.parametrize("block_bytes", [None, 1 << 30])
def test_a_batch_is_not_changed_by_later_ones(engine: Engine | None, block_bytes: int | None) -> None:
    for loader in (in_memory(engine, sampler(16), block_bytes=block_bytes), from_disk(engine, sampler(16))):
        kept, copies = [], []
        for batch in loader:
            kept.append(batch)
            copies.append(Batch(*(part.clone() for part in batch)))
        assert_same(kept, copies)


@pytest.mark.parametrize("engine", [None, BatchedEngine(SPEC, seed=3)])
def test_what_is_done_to_a_batch_changes_no_other(engine: Engine | None) -> None:
    before = CACHE.copy()
    for make in (in_memory, from_disk):
        loader = make(engine, sampler(16))
        for batch in loader:
            for part in batch:
                part.zero_()
        assert_same(loader, one_by_one(sampler(16), engine))
    np.testing.assert_array_equal(CACHE, before)


def test_a_split_is_read_whole_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaders, "_BLOCK_BYTES", 40 * SIDE * SIDE)  # in pieces of forty images, the last one smaller
    drawn, rows = load_split(split_images(), CPU)
    np.testing.assert_array_equal(drawn.images, CACHE[ROWS])
    np.testing.assert_array_equal(drawn.index, INDEX)
    np.testing.assert_array_equal(drawn.labels, LABELS)
    np.testing.assert_array_equal(rows, ROWS)
    assert drawn.labels.dtype == torch.int64


# --- under a real Trainer ---


class Diary(pl.LightningModule):
    """Keeps every training batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.batches: list[Batch] = []

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.batches.append(batch)
        return self.layer(batch.images.float().mean((2, 3))).mean()

    def validation_step(self, batch: Batch, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(options: dict[str, Any], ckpt_path: Path | None = None, saver: ModelCheckpoint | None = None) -> list[Batch]:
    data = ExpressionDataModule(
        synthetic={"train": 42, "validation": 7, "test": 7}, image_size=16, batch_size=8, sampler="balanced",
        augmentation=SPEC, **options,
    )  # fmt: skip
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    saving = {"enable_checkpointing": False} if saver is None else {"callbacks": [saver]}
    trainer = pl.Trainer(
        max_epochs=3, accelerator="cpu", devices=1, use_distributed_sampler=False, num_sanity_val_steps=0,
        **quiet, **saving,
    )  # fmt: skip
    model = Diary()
    trainer.fit(model, datamodule=data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return model.batches


WAYS = {
    "resident": {"resident": True},
    "streamed": {"resident": False},
    "streamed by workers": {"resident": False, "num_workers": 2},
    "streamed one by one": {"resident": False, "num_workers": 2, "engine": "albumentations"},
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Batch], Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    saver = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    return fit(WAYS["resident"], saver=saver), folder


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("done", [5, 7, 9], ids=["epoch end", "mid epoch", "one left"])
def test_a_resumed_run_goes_on_with_the_batches_of_the_unbroken_one(
    unbroken: tuple[list[Batch], Path], way: str, done: int
) -> None:
    batches, folder = unbroken
    assert len(batches) == 15
    if WAYS[way].get("engine") == "albumentations":
        batches = fit(WAYS[way])
    assert_same(fit(WAYS[way], folder / f"step={done}.ckpt"), batches[done:])
