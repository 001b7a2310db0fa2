"""The contenders' work: ours as it is, and the baselines, given the same data and network."""

from __future__ import annotations

import copy
import itertools
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from fer_lightning.benchmarks import baselines
from fer_lightning.benchmarks.windows import StepClock, memory
from fer_lightning.callbacks.progress import ProgressBar
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.source import read_source
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.system.machine import Machine
from fer_lightning.training import build
from fer_lightning.training.predict_split import predict_split
from fer_lightning.training.run import TrainingRun


@dataclass
class Parts:
    """What a configuration builds on this machine: a baseline takes the pieces it needs."""

    cfg: Any
    machine: Machine
    data: ExpressionDataModule

    @property
    def device(self) -> torch.device:
        return self.machine.device

    @classmethod
    def of(cls, settings: str) -> Parts:
        """Build from a file of settings, with torch tuned as our runs are."""
        cfg: Any = OmegaConf.load(settings)
        machine = build.resolve_machine(cfg)
        machine.apply()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        return cls(cfg, machine, build.build_data(cfg, machine))

    def model(self) -> ExpressionClassifier:
        makers = build.build_optimizer(self.cfg)
        return build.build_model(self.cfg, self.data, self.machine, makers, fresh=False).to(self.device)

    def images(self, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return images, labels and rows of the cache of a split, on the device."""
        table, rows = self.data.table, self.data.rows(split)
        arrays = (self.data.images(rows), table.labels[rows].astype(np.int64), table.rows[rows])
        images, labels, cached = (torch.from_numpy(array).to(self.device) for array in arrays)
        return images, labels, cached

    @property
    def steps(self) -> dict[str, Any]:
        """Images a step, and the type of its arithmetic."""
        half = {"bf16": torch.bfloat16, "16": torch.float16}.get(self.machine.precision.partition("-")[0])
        return {"batch_size": self.cfg.data.batch_size, "half": half}


class CountBatches(pl.Callback):
    """Counts the images of our training steps; the clock stops at ends of epochs, which the baselines do not have."""

    def __init__(self, clock: StepClock, unit: float) -> None:
        self.clock, self.unit = clock, unit

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.clock(self.unit * len(batch.labels))
        if trainer.is_last_batch:
            self.clock.pause()

    def on_train_epoch_start(self, *_: Any) -> None:
        self.clock.resume()


def train(clock: StepClock, settings: str, count_flops: bool = False) -> None:
    """Our training run as `fer_lightning.train` does it; counts images, or FLOPs."""
    cfg: Any = OmegaConf.load(settings)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, cfg.output_dir, ignore_errors=True)  # no run writes where another has been
        run = TrainingRun(cfg)
        unit = flops_per_image(run.model, run.data.channels, run.data.image_size) if count_flops else 1.0
        run.trainer.callbacks.append(CountBatches(clock, unit))  # type: ignore[attr-defined]  # Lightning sets it
        run.fit()


def train_steps(settings: str, steps: int, validated: int) -> dict[str, float]:
    """Train some steps, with at most `validated` batches of each validation; return the peak `memory` in MB."""
    cfg: Any = OmegaConf.load(settings)
    cfg.trainer.max_steps, cfg.trainer.limit_val_batches = steps, validated
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, cfg.output_dir, ignore_errors=True)  # no run writes where another has been
        TrainingRun(cfg).fit()
    return {"memory": memory()["memory"]}


def flops_per_image(model: nn.Module, channels: int, image_size: int) -> float:
    """Return the FLOPs (two a multiply-add) of one image forward and backward; the model is left as it was.

    The model maps images uint8 `(B, channels, image_size, image_size)` to logits.
    """
    device = next(model.parameters()).device
    images = torch.zeros(2, channels, image_size, image_size, dtype=torch.uint8, device=device)
    with FlopCounterMode(display=False) as counter:
        copy.deepcopy(model).train()(images).sum().backward()  # a copy, for batch norm would remember these images
    return float(counter.get_total_flops() / len(images))


def train_expert(clock: StepClock, settings: str) -> None:
    parts = Parts.of(settings)
    model = parts.model()
    images, labels, rows = parts.images("train")
    engine = parts.data.loaders.engine

    def augment(batch: Tensor, epoch: int, chosen: Tensor) -> Tensor:
        return batch if engine is None else engine(batch, epoch, rows[chosen], torch.zeros_like(chosen))

    baselines.expert(clock, images, labels, model, model.loss, model.make_optimizer(), augment, **parts.steps)


def predict(clock: StepClock, settings: str, split: str) -> None:
    """Our prediction of a split, as `fer_lightning.evaluate` does it."""
    parts = Parts.of(settings)
    model, trainer = parts.model(), build.build_trainer(parts.cfg, parts.machine, [ProgressBar()], [])
    while True:
        table, _ = predict_split(trainer, model, parts.data, parts.data.require(split))
        clock(len(table))


def predict_bare(clock: StepClock, settings: str, split: str) -> None:
    parts = Parts.of(settings)
    baselines.inference(clock, parts.images(split)[0], parts.model(), **parts.steps)


def load(clock: StepClock, settings: str) -> None:
    """Our training batches on their device, augmented, without a network."""
    parts = Parts.of(settings)
    parts.data.trainer = build.build_trainer(parts.cfg, parts.machine, [], [])
    loader = parts.data.train_dataloader()
    while True:
        for batch in loader:
            clock(len(batch.labels))
        loader.batch_sampler.set_epoch(loader.batch_sampler.epoch + 1)


def augment(clock: StepClock, settings: str, engine: str, batch_size: int) -> None:
    """One augmentation engine on batches that lie in memory."""
    parts = Parts.of(settings)
    own: Any = parts.data.loaders.engine
    kind, device = (BatchedEngine, parts.device) if engine == "batched" else (AlbumentationsEngine, torch.device("cpu"))
    change: Any = kind(own.spec, parts.cfg.seed)
    images, _, rows = (part.to(device) for part in parts.images("train"))
    for epoch in itertools.count():
        for chosen in torch.split(torch.arange(len(images), device=device), batch_size):
            change(images[chosen], epoch, rows[chosen], torch.zeros_like(chosen))
            clock(len(chosen))


def build_cache(clock: StepClock, settings: str, faces: str) -> None:
    """Decode a data set into a cache of its own, over and over; a step is a whole build."""
    while True:
        with tempfile.TemporaryDirectory() as folder:
            clock(_open(settings, faces, folder))


def open_warm(clock: StepClock, settings: str, faces: str) -> None:
    """Open a data set that has been decoded, over and over: from its path to table, images and digests."""
    with tempfile.TemporaryDirectory() as folder:
        while True:
            clock(_open(settings, faces, folder))


def _open(settings: str, faces: str, cache_dir: str) -> int:
    """Open the user's data, or the drawn faces that were written as files; return how many images there are."""
    data: Any = OmegaConf.load(settings).data
    options = {key: data[key] for key in ("code_order", "image_size", "channels", "on_error")}
    if data.layout == "synthetic" or data.root is None:
        root, options["layout"] = faces, "folders"
        options["aliases"] = {place.name: place.name for place in Path(faces).iterdir()}
    else:
        root, options["layout"], options["aliases"] = data.root, data.layout, data.aliases
        options["own_names"] = data.classes == "own"
    return len(read_source(Path(root).expanduser(), cache_dir=Path(cache_dir), **options).table)
