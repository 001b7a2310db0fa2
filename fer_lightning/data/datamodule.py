"""ExpressionDataModule: from a Kaggle download, or from nothing, to loaders of honest splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
from torch.utils.data import DataLoader

from fer_lightning.data.augmentation import AlbumentationsEngine, Augmentation
from fer_lightning.data.dataset import Batch, CachedImages
from fer_lightning.data.protocol import resolve_splits
from fer_lightning.data.ranges import check_choices, check_numbers
from fer_lightning.data.sampler import EvaluationBatchSampler, TrainBatchSampler, TrainLoader
from fer_lightning.data.source import ImageRows, Source, draw_source, read_source
from fer_lightning.data.splits import describe_twins
from fer_lightning.data.table import SPLITS, ImageTable, digest_table, keep_first, select_classes
from fer_lightning.errors import DataError

DEFAULT_CACHE = Path.home() / ".cache" / "fer_lightning"
DRAWN_FACES = {"train": 1400, "validation": 350, "test": 350}


class ExpressionDataModule(pl.LightningDataModule):
    """Loads expression images in any layout that users download.

    Batches are `Batch(images uint8 (B, C, H, W), labels int64 (B,), index int64 (B,))`. After `setup`, `table`,
    `classes`, `class_counts`, `source` and `remarks` tell a model or a report what it needs.

    Args:
        root: folder or CSV file of a download; None draws faces.
        layout: `auto`, `synthetic`, `folders` or `csv`.
        classes: subset of the classes, in the order of the model's outputs; None for all.
        merge: new class name → classes it unites.
        aliases: class folder → class name, for spellings that are not known.
        code_order: what class folders `0`–`6` mean: `fer2013` or `alphabetical`.
        holdout: share of train that is held out to choose the checkpoint; see `protocol.resolve_splits`.
        split: shares of train, validation and test in a download without splits.
        image_size: pixels a side.
        channels: 1 (grey) or 3 (RGB).
        batch_size: images a batch on each rank.
        num_workers: loader processes; 0 and `auto` load in the training process. The programs choose by the machine.
        sampler: `shuffle`, or `balanced`: every class equally often.
        on_error: at an unreadable image `raise`, or `skip` it and list it in `skipped`.
        cache_dir: where decoded images are kept; None for `~/.cache/fer_lightning`.
        limit: keep the first images of each class and split only.
        synthetic: how many faces to draw for train, validation and test.
        seed: of splits, order, augmentation and drawn faces.
        augmentation: of the training images; None for none.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        root: str | None = None,
        layout: str = "auto",
        classes: Sequence[str] | None = None,
        merge: Mapping[str, Sequence[str]] | None = None,
        aliases: Mapping[str, str] | None = None,
        code_order: str | None = None,
        holdout: float | Literal["auto"] = "auto",
        split: Sequence[float] = (0.8, 0.1, 0.1),
        image_size: int = 48,
        channels: int = 1,
        batch_size: int = 64,
        num_workers: int | Literal["auto"] = "auto",
        sampler: str = "shuffle",
        on_error: str = "raise",
        cache_dir: str | None = None,
        limit: int | None = None,
        synthetic: Mapping[str, int] | None = None,
        seed: int = 42,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__()
        check_choices(layout=layout, sampler=sampler, on_error=on_error, channels=channels)
        check_numbers(batch_size, image_size, holdout, split, limit)
        self.root = None if root is None else Path(root).expanduser()
        self.layout = "synthetic" if layout == "auto" and root is None else layout
        self.wanted, self.merge, self.aliases, self.code_order = classes, merge, aliases, code_order
        self.holdout, self.split = holdout, split
        self.image_size, self.channels = image_size, channels
        self.batch_size, self.sampler, self.on_error = batch_size, sampler, on_error
        self.num_workers = 0 if num_workers == "auto" else int(num_workers)
        self.cache_dir = DEFAULT_CACHE if cache_dir is None else Path(cache_dir).expanduser()
        self.limit, self.seed = limit, seed
        self.counts = DRAWN_FACES if synthetic is None else synthetic
        self.engine = None if augmentation is None else AlbumentationsEngine(augmentation, seed)
        self._source: Source | None = None
        self.settings = {
            "classes": classes,
            "merge": merge,
            "aliases": aliases,
            "code_order": code_order,
            "holdout": holdout,
            "split": list(split),
            "image_size": image_size,
            "channels": channels,
            "synthetic": dict(self.counts),
            "seed": seed,
        }

    def setup(self, stage: str | None = None) -> None:
        """Read or draw, decode once, select classes, settle the splits; a second call does nothing.

        Raises:
            DataError: what is on disk cannot be used; the message says what to type instead.
        """
        if self._source is not None:
            return
        if self.engine is not None:
            self.engine.check(self.image_size, self.channels)
        source = self._read()
        table = select_classes(source.table, self.wanted, self.merge)
        digests = source.digests[table.rows]
        splits, cuts = resolve_splits(table, digests, holdout=self.holdout, split=self.split, seed=self.seed)
        table = replace(table, splits=splits)
        self._splits_digest = digest_table(table)
        twins = () if self.layout == "synthetic" else describe_twins(digests, splits)
        if self.limit is not None:
            table = keep_first(table, self.limit)
            cuts = (*cuts, f"kept the first {self.limit} images of each class and split (data.limit)")
        self._source = replace(source, table=table, remarks=(*source.remarks, *cuts, *twins))

    def _read(self) -> Source:
        pixels = {"image_size": self.image_size, "channels": self.channels}
        if self.layout == "synthetic":
            return draw_source(self.counts, seed=self.seed, **pixels)
        if self.root is None:
            raise DataError(f"data={self.layout} needs data.root=PATH, the folder or CSV file of the download")
        return read_source(
            self.root,
            self.layout,
            aliases=self.aliases,
            code_order=self.code_order,
            cache_dir=self.cache_dir,
            on_error=self.on_error,
            **pixels,
        )

    @property
    def source(self) -> Source:
        if self._source is None:
            raise RuntimeError("call setup() first")
        return self._source

    @property
    def table(self) -> ImageTable:
        """One row an image, every row in a split."""
        return self.source.table

    @property
    def classes(self) -> tuple[str, ...]:
        return self.table.classes

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was found and done, a line each."""
        return (self.table.explanation, *self.table.notes, *self.source.remarks)

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return np.bincount(self.table.labels[self.rows("train")], minlength=len(self.classes)).tolist()

    @property
    def report_split(self) -> str:
        """The split whose score is reported: `test`, or `validation` where the data has no third split."""
        return "test" if len(self.rows("test")) > 0 else "validation"

    def rows(self, split: str) -> np.ndarray:
        """Return int64 `(n,)`: the rows of `table` in a split; `all` for every row."""
        if split == "all":
            return np.arange(len(self.table.labels))
        return np.flatnonzero(self.table.splits == split)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return the unaugmented images, uint8 `(n, C, H, W)`, of these rows of `table`."""
        return np.asarray(self.source.images[self.table.rows[rows]])

    def image_rows(self, rows: np.ndarray) -> ImageRows:
        """Return the same as `images`, but read one by one."""
        return ImageRows(self.source.images, self.table.rows[rows])

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps of the data: how to find the same splits again, and how to tell whether they are."""
        return {"fingerprint": self.source.fingerprint, "splits": self._splits_digest, "settings": self.settings}

    def statistics(self, most: int = 4096) -> tuple[list[float], list[float]]:
        """Return mean and deviation of each channel over at most `most` evenly chosen training images, 0…1."""
        rows = self.rows("train")
        chosen = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
        pixels = self.images(chosen).astype(np.float32) / 255.0
        axes = (0, 2, 3)
        return pixels.mean(axes).tolist(), np.maximum(pixels.std(axes), 1e-3).tolist()

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return augmented batches, in an order and with draws that are functions of seed and epoch."""
        rows = self.require("train")
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0
        strategy = "sequential" if overfit else self.sampler
        batches = TrainBatchSampler(self.table.labels[rows], self.batch_size, strategy=strategy, seed=self.seed)
        dataset = CachedImages(self.source.images, self.table, rows, self.engine)
        return TrainLoader(dataset, batches, trained=self._batches_trained, **self._loader_options())

    def val_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("validation")

    def test_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        return self.evaluation_dataloader(self.report_split)

    def evaluation_dataloader(self, split: str) -> DataLoader[Batch]:
        """Return unaugmented batches of a split; each image once, over all ranks together.

        Raises:
            DataError: the split is empty.
        """
        rows = self.require(split)
        dataset = CachedImages(self.source.images, self.table, rows)
        return DataLoader(
            dataset, batch_sampler=EvaluationBatchSampler(len(rows), self.batch_size), **self._loader_options()
        )

    def require(self, split: str) -> np.ndarray:
        """Return `rows(split)`, at least one.

        Raises:
            DataError: there is none.
        """
        rows = self.rows(split)
        if len(rows) == 0:
            there = ", ".join(name for name in SPLITS if len(self.rows(name)))
            hint = "; data.holdout=0.1 takes some from train" if split == "validation" else ""
            raise DataError(f"no {split} images: the data has {there}{hint}")
        return rows

    def _loader_options(self) -> dict[str, Any]:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return {
            "collate_fn": _as_it_is,
            "num_workers": self.num_workers,
            "persistent_workers": self.num_workers > 0,
            "pin_memory": on_gpu,
        }

    def _batches_trained(self) -> int:
        """Batches of this epoch that have been trained on, which a loader that fetches ahead does not know."""
        if self.trainer is None:
            raise RuntimeError("only a Trainer writes checkpoints")
        return self.trainer.fit_loop.epoch_loop.batch_progress.current.processed


def _as_it_is(batch: Batch) -> Batch:
    """The dataset gives whole batches; a named function, because spawned workers cannot pickle a lambda."""
    return batch
