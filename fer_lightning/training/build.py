"""From a configuration to objects; the only caller of `hydra.utils.instantiate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from omegaconf import DictConfig
from torch import nn

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.datamodule import DEFAULT_CACHE, ExpressionDataModule
from fer_lightning.models.backbones import check_name
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.schedules import scheduler_config
from fer_lightning.system.machine import Machine

EXTRAS = ("wandb", "mlflow")  # of pyproject.toml, named after the logger that needs them


def resolve_machine(cfg: DictConfig) -> Machine:
    """Resolve every `auto` of the configuration that depends on the machine.

    Raises:
        ConfigError: the machine lacks what was asked for.
    """
    machine: Machine = _make(
        cfg.machine,
        accelerator=cfg.trainer.accelerator,
        precision=cfg.trainer.precision,
        channels_last=cfg.model.channels_last if "model" in cfg else "auto",
        num_workers=cfg.data.num_workers,
        devices=cfg.trainer.devices,
        deterministic=cfg.trainer.deterministic,
        memory=(DEFAULT_CACHE if cfg.data.cache_dir is None else Path(cfg.data.cache_dir).expanduser()) / "bf16.json",
    )
    return machine


@dataclass(frozen=True)
class Components:
    """What a training run is built from before its data is read.

    Attributes:
        data: not set up.
        optimizer: makes the optimizer from parameter groups.
        scheduler: makes the schedule from the optimizer; None for none.
    """

    machine: Machine
    data: ExpressionDataModule
    optimizer: Callable[..., Any]
    scheduler: Callable[..., Any] | None
    loggers: list[Logger]
    trainer: pl.Trainer


def build_components(cfg: DictConfig, resumed_at: int | None = None) -> Components:
    """Build all that needs no data, so that the constructors' complaints come at once and before any work.

    Args:
        cfg: the configuration.
        resumed_at: see `build_loggers`.

    Raises:
        ConfigError: listing every setting that is out of its range.
    """
    problems: list[str] = []

    def attempt(build: Callable[..., Any], *args: Any) -> Any:
        try:
            return build(*args)
        except ConfigError as error:
            problems.append(str(error))
            return None

    machine = attempt(resolve_machine, cfg)
    data = attempt(make_data, cfg, 0 if machine is None else machine.num_workers)
    attempt(check_name, cfg.model.backbone)
    makers = attempt(build_optimizer, cfg)
    attempt(build_loss, cfg, [1, 1])  # a trial: the classes are not known yet
    callbacks, loggers = attempt(build_callbacks, cfg), attempt(build_loggers, cfg, resumed_at)
    trainer: Any = None if machine is None else attempt(build_trainer, cfg, machine, callbacks or [], loggers or [])
    if problems:
        raise ConfigError.listing(problems)
    optimizer, scheduler = makers
    return Components(machine, data, optimizer, scheduler, loggers, trainer)


def make_data(cfg: DictConfig, num_workers: int) -> ExpressionDataModule:
    """Return the datamodule, not set up.

    Raises:
        ConfigError: a setting is out of its range.
    """
    augmentation = _make(cfg.augmentation) if "augmentation" in cfg else None
    data: ExpressionDataModule = _make(cfg.data, num_workers=num_workers, augmentation=augmentation)
    return data


def build_data(cfg: DictConfig, machine: Machine) -> ExpressionDataModule:
    """Return the datamodule, set up: the model needs to know the classes and statistics of the data.

    Raises:
        DataError: the data cannot be used.
        ConfigError: a setting is out of its range.
    """
    data = make_data(cfg, machine.num_workers)
    data.setup()
    return data


def fingerprint_data(cfg: DictConfig) -> str:
    """Return the fingerprint of the images that a run would use.

    Raises:
        UserError: they cannot be read.
    """
    data: ExpressionDataModule = _make(cfg.data, num_workers=0)
    data.setup()
    return data.source.fingerprint


def build_model(
    cfg: DictConfig,
    data: ExpressionDataModule,
    machine: Machine,
    optimizer: Callable[..., Any],
    scheduler: Callable[..., Any] | None,
    *,
    fresh: bool = True,
) -> ExpressionClassifier:
    """Return the model for these classes, with its loss.

    Args:
        cfg: the configuration.
        data: set up.
        machine: decides what is `auto`.
        optimizer: see `build_optimizer`.
        scheduler: likewise.
        fresh: whether pretrained weights are loaded, where asked for; a checkpoint will bring its own.

    Raises:
        ConfigError: a setting is out of its range, or weights cannot be had.
    """
    mean, std = data.statistics()
    model: ExpressionClassifier = _make(
        cfg.model,
        classes=list(data.classes),
        channels=data.channels,
        image_size=data.image_size,
        mean=mean,
        std=std,
        channels_last=machine.channels_last,
        data_facts=data.facts(),
        **({} if fresh else {"pretrained": False, "weights": None}),
        loss=build_loss(cfg, data.class_counts),
        optimizer=optimizer,
        scheduler=scheduler,
        monitor=cfg.monitor,
        mode=cfg.mode,
    )
    return model


def build_loss(cfg: DictConfig, class_counts: Sequence[int]) -> nn.Module:
    """Return the loss for classes with so many training images each.

    Raises:
        ConfigError: a setting is out of its range.
    """
    loss: nn.Module = _make(cfg.loss, class_counts=class_counts)
    return loss


def build_optimizer(cfg: DictConfig) -> tuple[Callable[..., Any], Callable[..., Any] | None]:
    """Return what makes the optimizer and what makes the schedule, or None for no schedule.

    Raises:
        ConfigError: a setting is out of its range; both are tried on one weight, for Lightning would make them late.
    """
    optimizer = _make(cfg.optimizer)
    scheduler = _make(cfg.scheduler) if "_target_" in cfg.scheduler else None
    with _blaming(cfg.optimizer):
        tried = optimizer([torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        with _blaming(cfg.scheduler):
            scheduler_config(scheduler, tried, total_steps=100, monitor=cfg.monitor, mode=cfg.mode)
    return optimizer, scheduler


def build_callbacks(cfg: DictConfig) -> list[pl.Callback]:
    """Return the callbacks."""
    return [_make(node) for node in cfg.callbacks.values()]


def build_loggers(cfg: DictConfig, resumed_at: int | None = None) -> list[Logger]:
    """Return the loggers.

    Args:
        cfg: the configuration.
        resumed_at: step that the run continues from; TensorBoard forgets what an interrupted epoch logged after it.
    """
    loggers = []
    for node in cfg.logger.values():
        logger = _make(node)
        if resumed_at is not None and isinstance(logger, TensorBoardLogger):
            logger = _make(node, purge_step=resumed_at)
        loggers.append(logger)
    return loggers


def log_again(logger: CSVLogger, step: int) -> None:
    """Log the rows of the earlier session again, because Lightning deletes its file as soon as the logger is used.

    Args:
        logger: not used yet.
        step: that the run continues from; rows from there on are forgotten.
    """
    file = Path(logger.log_dir) / "metrics.csv"
    if file.is_file():
        import pandas as pd  # not at each start

        rows = pd.read_csv(file)
        for _, row in rows[rows["step"] < step].iterrows():
            scores = row.drop("step").dropna().to_dict()
            whole = {"epoch": int(scores["epoch"])} if "epoch" in scores else {}  # pandas made it a float
            logger.log_metrics(scores | whole, step=int(row["step"]))
        logger.save()


def build_trainer(cfg: DictConfig, machine: Machine, callbacks: list[pl.Callback], loggers: list[Logger]) -> pl.Trainer:
    """Return the Trainer.

    Raises:
        ConfigError: Lightning refuses the settings.
    """
    # Lightning calls a bar beside its switch, and a monitor of learning rates without loggers, contradictions
    bar = () if cfg.trainer.enable_progress_bar else (pl.callbacks.ProgressBar,)
    unwanted = (*bar, *(() if loggers else (pl.callbacks.LearningRateMonitor,)))
    callbacks = [callback for callback in callbacks if not isinstance(callback, unwanted)]
    # scoring calls `predict`, for the probabilities, and is what others call the test
    limits = (cfg.trainer.get(key) for key in ("limit_test_batches", "limit_predict_batches"))
    trainer: pl.Trainer = _make(
        cfg.trainer,
        accelerator=machine.accelerator,
        precision=machine.precision,
        benchmark=machine.benchmark if cfg.trainer.benchmark is None else cfg.trainer.benchmark,
        callbacks=callbacks,
        logger=loggers or False,
        enable_checkpointing=any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks),
        default_root_dir=cfg.output_dir,
        limit_predict_batches=next((limit for limit in limits if limit is not None), None),
    )
    return trainer


def _make(node: DictConfig, **arguments: Any) -> Any:
    """Instantiate a node; errors of its constructor become ConfigErrors."""
    # bound first and called after, so that Hydra neither converts the arguments nor wraps the constructor's complaints
    maker = instantiate(node, _partial_=True, _convert_="all")
    if node.get("_partial_"):
        return maker
    with _blaming(node):
        return maker(**arguments)


@contextmanager
def _blaming(node: DictConfig) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        extra = node["_target_"].rpartition(".")[2].removesuffix("Logger").lower()
        hint = f'pip install "fer_lightning[{extra}]"' if extra in EXTRAS else f"pip install {error.name}"
        raise ConfigError(f"{node['_target_']} needs a package that is not installed: type {hint}") from error
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"{node['_target_']}: {error}") from error
