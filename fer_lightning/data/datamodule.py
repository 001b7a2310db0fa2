"""ExpressionDataModule: from a Kaggle download, or drawn faces, to loaders of its splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

import lightning.pytorch as pl
import numpy as np
import torch

from fer_lightning.core.choices import check_choices
from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.core.home import cache_home, expand_user
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.cache.image_header import MAX_PIXELS
from fer_lightning.data.cache.read_rows import pixel_statistics, read_rows
from fer_lightning.data.layouts.recognize import Layout
from fer_lightning.data.loading.dataset import SplitImages
from fer_lightning.data.loading.loader_factory import EngineName, Loader, LoaderFactory, build_engine
from fer_lightning.data.loading.loaders import BatchSampler, TrainLoader
from fer_lightning.data.loading.sampler import EvaluationBatchSampler, TrainBatchSampler
from fer_lightning.data.seen_images import SeenImages
from fer_lightning.data.source import ImageRows, Source, draw_source, read_source
from fer_lightning.data.splits import Division, duplicates_across, resolve_splits
from fer_lightning.data.table.emotions import CodeOrder
from fer_lightning.data.table.image_table import SPLITS, ImageTable, digest_table, keep_first, select_classes

DEFAULT_CACHE = cache_home()
DRAWN_FACES = {"train": 1120, "validation": 350, "test": 350}
DRAWN_SIZES = {"image_size": 24, "batch_size": 16}  # what `auto` means, so that the first command takes a minute
READ_SIZES = {"image_size": 48, "batch_size": 64}


class ExpressionDataModule(pl.LightningDataModule):
    """Loads expression images in any layout that users download.

    Batches are `Batch(images uint8 (B, C, H, W), labels int64 (B,), index int64 (B,))`. After `setup`, `table`,
    `classes`, `class_counts`, `source` and `notes` hold what models and reports need.

    Args:
        root: folder or CSV file of a download; None draws faces.
        layout: `auto`, `synthetic`, `folders`, `people` (class folders below folders of people) or `csv`.
        classes: those to keep, in the order of the model's outputs; None for all. `own`: all, under the names that
            the folders have, expressions or not.
        merge: new class name → classes that are merged into it.
        aliases: folder → class or split, for unknown names; None leaves a folder out.
        code_order: what labels that are numbers mean, a key of `emotions.CODE_ORDERS`.
        holdout: fraction of train that is held out to choose the checkpoint; see `splits.resolve_splits`.
        split: fractions of train, validation and test in a download without splits.
        image_size: height and width, pixels; `auto`: 48, drawn faces 24.
        channels: 1 (grey) or 3 (RGB).
        batch_size: images per batch and rank; `auto`: 64, drawn faces 16.
        engine: of augmentation: `albumentations` (image by image) or `batched` (whole batches on their device);
            `auto`: the latter, unless `augmentation.extra` needs the former.
        resident: whether to keep all images in the memory of the device; `auto`: if they take a small part of it.
        num_workers: processes that read images from disk; 0 and `auto`: none. The programs choose by the machine.
        pin_memory: whether images from disk go through page-locked memory; `auto`: for a GPU.
        persistent_workers: whether these processes outlive an epoch; `auto`: yes.
        sampler: `shuffle`, or `balanced`: every class equally often.
        on_error: whether an unreadable image raises an error, or is skipped and listed in `source.skipped`.
        max_pixels: of one image file; one with more by its header is unreadable, and no decoder sees it.
        cache_dir: folder of decoded images; None for `~/.cache/fer_lightning`.
        limit: keep the first images of each class and split only.
        synthetic: how many faces to draw for train, validation and test.
        seed: of the splits that are made here, and of drawn faces.
        draw_seed: of order and augmentation; None for `seed`.
        augmentation: of the training images; None for none.

    Raises:
        ValueError: an argument is out of its range.
    """

    division: Division = "hash"  # how a download without splits is divided; see `divide_as`

    def __init__(
        self,
        root: str | None = None,
        layout: Layout | Literal["synthetic"] = "auto",
        classes: Sequence[str] | Literal["own"] | None = None,
        merge: Mapping[str, Sequence[str]] | None = None,
        aliases: Mapping[str, str | None] | None = None,
        code_order: CodeOrder | None = None,
        holdout: float | Literal["auto"] = "auto",
        split: Sequence[float] = (0.8, 0.1, 0.1),
        image_size: int | Literal["auto"] = "auto",
        channels: Literal[1, 3] = 1,
        batch_size: int | Literal["auto"] = "auto",
        engine: EngineName = "auto",
        resident: bool | Literal["auto"] = "auto",
        num_workers: int | Literal["auto"] = "auto",
        pin_memory: bool | Literal["auto"] = "auto",
        persistent_workers: bool | Literal["auto"] = "auto",
        sampler: Literal["shuffle", "balanced"] = "shuffle",
        on_error: Literal["raise", "skip"] = "raise",
        max_pixels: int = MAX_PIXELS,
        cache_dir: str | None = None,
        limit: int | None = None,
        synthetic: Mapping[str, int] | None = None,
        seed: int = 42,
        draw_seed: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__()
        check_choices(ExpressionDataModule.__init__, locals(), prefix="data.")
        for name, path in (("root", root), ("cache_dir", cache_dir)):
            if path is not None and not str(path).strip():  # Path("") would be the current folder
                raise ValueError(f"data.{name} is empty, as if a variable had no value: type data.{name}=PATH")
        self.root = None if root is None else expand_user(root)
        self.layout = "synthetic" if layout == "auto" and root is None else layout
        sizes = DRAWN_SIZES if self.layout == "synthetic" else READ_SIZES
        image_size = sizes["image_size"] if image_size == "auto" else image_size
        batch_size = sizes["batch_size"] if batch_size == "auto" else batch_size
        _check_numbers(batch_size, image_size, holdout, split, limit, max_pixels)
        self.own_names = classes == "own"
        self.wanted: Sequence[str] | None = None if classes == "own" else classes
        self.merge, self.aliases, self.code_order = merge, aliases, code_order
        self.holdout, self.split, self.image_size, self.channels = holdout, split, image_size, channels
        self.batch_size, self.sampler, self.on_error, self.max_pixels = batch_size, sampler, on_error, max_pixels
        self.draw_seed = seed if draw_seed is None else draw_seed
        augment = build_engine(augmentation, engine, self.draw_seed, image_size, channels)
        workers = 0 if num_workers == "auto" else int(num_workers)
        self.loaders = LoaderFactory(augment, resident, workers, pin_memory, persistent_workers)
        self.cache_dir = DEFAULT_CACHE if cache_dir is None else expand_user(cache_dir)
        self.limit, self.seed = limit, seed
        self.counts = DRAWN_FACES if synthetic is None else synthetic
        self._trained_before = SeenImages.none()
        self._source: Source | None = None
        self.settings: dict[str, Any] = {"classes": classes, "merge": merge, "aliases": aliases}
        self.settings |= {"code_order": code_order, "holdout": holdout, "split": list(split), "image_size": image_size}
        self.settings |= {"channels": channels, "synthetic": dict(self.counts), "seed": seed, "layout": layout}

    def divide_as(self, settings: Mapping[str, Any]) -> None:
        """Divide a download without splits as that of a checkpoint was: `settings` are those in its facts."""
        if self._source is not None:
            raise RuntimeError("call divide_as() before setup()")
        self.division = settings.get("division", "random")  # version 0.1 knew no other

    def setup(self, stage: str | None = None) -> None:
        """Read or draw the images, select classes, resolve the splits; a second call does nothing.

        Raises:
            DataError: the data on disk cannot be used; the message says what to type instead.
        """
        if self._source is not None:
            return
        source = self._read()
        table = select_classes(source.table, self.wanted, self.merge)
        identities = source.identities[table.rows]
        groups = identities if self.division == "hash" else source.digests[table.rows]
        how: dict[str, Any] = {"holdout": self.holdout, "split": self.split, "seed": self.seed}
        splits, cuts = resolve_splits(table, groups, division=self.division, **how)
        table = replace(table, splits=splits)
        self._splits_digest = digest_table(table)
        notes = [*source.notes, *cuts]
        if self.limit is not None:
            table = keep_first(table, self.limit)
            notes.append(f"kept the first {self.limit} images of each class and split (data.limit)")
        for (earlier, later), count in duplicates_across(identities, splits).items():
            have = "has" if count == 1 else "have"
            notes.append(f"{count_images(count, later)} {have} a pixel-identical duplicate in {earlier}")
        if self.loaders.engine is not None:
            self.loaders.engine.know(table.classes, table.labels, table.rows)
        self._source = replace(source, table=table, notes=tuple(notes))

    def _read(self) -> Source:
        pixels: dict[str, Any] = {"image_size": self.image_size, "channels": self.channels}
        if self.layout == "synthetic":
            return draw_source(self.counts, seed=self.seed, **pixels)
        if self.root is None:
            raise DataError(f"data={self.layout} needs data.root=PATH, the folder or CSV file of the download")
        kept: dict[str, Any] = {"cache_dir": self.cache_dir, "on_error": self.on_error, "max_pixels": self.max_pixels}
        kept["own_names"] = self.own_names
        return read_source(self.root, self.layout, self.aliases, self.code_order, **kept, **pixels)

    @property
    def source(self) -> Source:
        if self._source is None:
            raise RuntimeError("call setup() first")
        return self._source

    @property
    def table(self) -> ImageTable:
        """One row per image, each in a split."""
        return self.source.table

    @property
    def classes(self) -> tuple[str, ...]:
        return self.table.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What was found and done, one line each."""
        return (self.table.explanation, *self.table.notes, *self.source.notes)

    @property
    def class_counts(self) -> list[int]:
        """Training images of each class."""
        return [int(n) for n in np.bincount(self.table.labels[self.rows("train")], minlength=len(self.classes))]

    @property
    def report_split(self) -> str:
        """The split whose score is reported: `test`, or `validation` where the data has no third split."""
        return "test" if len(self.rows("test")) > 0 else "validation"

    def rows(self, split: str) -> np.ndarray:
        """Return int64 `(n,)`: the rows of `table` in a split; `all` for every row."""
        if split == "all":
            return np.arange(len(self.table))
        return np.flatnonzero(self.table.splits == split)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return the unaugmented images, uint8 `(n, C, H, W)`, of these rows of `table`."""
        return read_rows(self.source.images, self.table.rows[rows])

    def image_rows(self, rows: np.ndarray) -> ImageRows:
        """Return the same as `images`, read one by one."""
        return ImageRows(self.source.images, self.table.rows[rows])

    def training_sample(self, count: int = 10_000) -> Iterator[torch.Tensor]:
        """Yield at most `count` unaugmented training images, uint8 `(B, C, H, W)`, in mixed order, the same each time.

        The batches are about as large as those of training, and all of nearly one size.
        """
        rows = np.random.default_rng(0).permutation(self.rows("train"))[:count]
        for part in np.array_split(rows, -(-len(rows) // self.batch_size)):
            yield torch.from_numpy(self.images(part))

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint stores about the data, to restore and compare its splits."""
        settings = self.settings | {"division": self.division}
        return {"fingerprint": self.source.fingerprint, "splits": self._splits_digest, "settings": settings}

    def shown_as(self) -> str:
        """Return, as text, what the pictures of a training depend on, apart from epoch and row."""
        engine = self.loaders.engine
        drawn = None if engine is None else (type(engine).__name__, engine.seed, engine.spec)
        return repr((self.facts(), self.limit, drawn))

    def identities(self, rows: np.ndarray) -> np.ndarray:
        """Return uint64 `(n,)`: what tells the pictures of these rows of `table` from others; see `Source`."""
        return np.asarray(self.source.identities[self.table.rows[rows]])

    @property
    def seen(self) -> SeenImages:
        """The images that a training on these data sees, with those that its initial weights were trained on."""
        return self._own_seen | self._trained_before

    @cached_property
    def _own_seen(self) -> SeenImages:
        return SeenImages.of(self.identities(self.rows("all")), self.table.splits)

    def trained_before(self, seen: SeenImages) -> None:
        """Remember what the initial weights were trained on."""
        self._trained_before |= seen

    def state_dict(self) -> dict[str, Any]:
        """Return what each checkpoint stores beside `facts()`: the identities of the images it has seen."""
        return self.seen.state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.trained_before(SeenImages.from_state(state_dict))

    def statistics(self) -> tuple[list[float], list[float]]:
        """Return mean and deviation of each channel of the training images, 0…1; see `pixel_statistics`."""
        return pixel_statistics(self.source.images, self.table.rows[self.rows("train")])

    def describe_loading(self, device: torch.device) -> str:
        """Return one line on where the images are kept during training on a device, and how they are augmented.

        Raises:
            ConfigError: `resident` is true, but they do not fit into its memory.
        """
        return self.loaders.describe(self._bytes, device)

    def is_resident_on(self, device: torch.device) -> bool:
        """Return whether all images are kept in the memory of a device during training."""
        return self.loaders.is_resident(self._bytes, device)

    @property
    def _bytes(self) -> int:
        return len(self.table) * int(self.source.images[:1].nbytes)

    def train_dataloader(self) -> TrainLoader:
        """Return augmented batches; their order and augmentation are functions of seed and epoch."""
        rows = self.require("train")
        if self.trainer is not None and self.loaders.engine is not None:
            self.loaders.engine.epochs = self.trainer.max_epochs
        overfit = self.trainer is not None and self.trainer.overfit_batches > 0  # type: ignore[attr-defined]  # set dynamically
        strategy = "sequential" if overfit else self.sampler
        batches = TrainBatchSampler(self.table.labels[rows], self.batch_size, strategy=strategy, seed=self.draw_seed)
        return TrainLoader(self._loader(rows, batches, train=True), batches, trained=self._batches_trained)

    def val_dataloader(self) -> Loader:
        return self.evaluation_dataloader("validation")

    def test_dataloader(self) -> Loader:
        return self.evaluation_dataloader("test")

    def predict_dataloader(self) -> Loader:
        return self.evaluation_dataloader(self.report_split)

    def evaluation_dataloader(self, split: str, device: torch.device | None = None) -> Loader:
        """Return unaugmented batches of a split, or `all`; each image once, over all ranks.

        They go to `device`; None for that of the Trainer, or the CPU.

        Raises:
            DataError: the split is empty.
        """
        return self.rows_dataloader(self.require(split), device)

    def rows_dataloader(self, rows: np.ndarray, device: torch.device | None = None) -> Loader:
        """Return the same of some rows of `table`, int64 `(n,)`."""
        return self._loader(rows, EvaluationBatchSampler(len(rows), self.batch_size), device=device, train=False)

    def _loader(
        self, rows: np.ndarray, sampler: BatchSampler, *, train: bool, device: torch.device | None = None
    ) -> Loader:
        if device is None:
            device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        images = SplitImages(self.source.images, self.table.rows[rows], self.table.labels[rows], rows)
        return self.loaders.loader(images, sampler, device, need=self._bytes, train=train)

    def require(self, split: str) -> np.ndarray:
        """Return `rows(split)`; raise DataError if there is none."""
        rows = self.rows(split)
        if len(rows) == 0:
            there = ", ".join(name for name in SPLITS if len(self.rows(name)))
            hints = {
                "validation": "; data.holdout=0.1 takes some from train",
                "train": "; rename the file or folder if it is not for evaluation alone",
            }
            raise DataError(f"no {split} images: the data has {there}{hints.get(split, '')}")
        return rows

    def _batches_trained(self) -> int:
        """Return the number of batches of this epoch trained on, which a prefetching loader does not know."""
        if self.trainer is None:
            raise RuntimeError("only a Trainer writes checkpoints")
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current  # of a type that Lightning chooses
        return int(progress.processed)


def _check_numbers(
    batch_size: int,
    image_size: int,
    holdout: float | str,
    split: Sequence[float],
    limit: int | None,
    max_pixels: int,
) -> None:
    """Raise a ValueError that names the first setting that is out of its range."""
    if batch_size < 1:
        raise ValueError(f"data.batch_size={batch_size}: it must be 1 or more")
    if not 16 <= image_size <= 1024:
        raise ValueError(f"data.image_size={image_size}: it must be between 16 and 1024 pixels")
    if holdout != "auto" and not (isinstance(holdout, (int, float)) and 0 <= holdout < 1):
        raise ValueError(f"data.holdout={holdout}: it must be auto or a fraction in [0, 1)")
    if len(split) != 3 or min(split) < 0 or abs(sum(split) - 1) > 1e-6:
        raise ValueError(f"data.split={list(split)}: give the fractions of train, validation and test, summing to 1")
    if limit is not None and limit < 1:
        raise ValueError(f"data.limit={limit}: it must be 1 or more, or null")
    if max_pixels < 1:
        raise ValueError(f"data.max_pixels={max_pixels}: it must be 1 or more")
