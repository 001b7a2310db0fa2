"""From a configuration to the parts of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import DictConfig, OmegaConf

from fer_lightning.callbacks.exact_resume import ExactResume
from fer_lightning.callbacks.finite_loss import FiniteLoss
from fer_lightning.callbacks.interrupt import StopOnInterrupt
from fer_lightning.callbacks.typed_settings import TypedSettings
from fer_lightning.config.allowed import allowed_modules, resolve_target
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.home import expand_user
from fer_lightning.data.datamodule import DEFAULT_CACHE, ExpressionDataModule
from fer_lightning.data.seen_images import SeenImages, seen_by
from fer_lightning.models.backbones import check_name
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.network import Network
from fer_lightning.models.own_module import adapt, takes
from fer_lightning.models.schedules import scheduler_config
from fer_lightning.models.shipped.find import weights_file
from fer_lightning.system.machine import Machine
from fer_lightning.training.checkpoint_files import AtomicCheckpointIO
from fer_lightning.training.loggers import make_loggers
from fer_lightning.training.make import blaming, make

PREPARED = 512  # training images that a network may compute filters from
Makers = tuple[Callable[..., Any], Callable[..., Any] | None]  # of the optimizer and of the schedule


def resolve_machine(cfg: DictConfig) -> Machine:
    """Resolve every `auto` that depends on the machine; a ConfigError if it lacks what was asked for."""
    machine = make(
        cfg.machine,
        accelerator=cfg.trainer.accelerator,
        precision=cfg.trainer.precision,
        channels_last=cfg.model.get("channels_last", "auto") if "model" in cfg else "auto",
        num_workers=cfg.data.num_workers,
        devices=cfg.trainer.devices,
        deterministic=cfg.trainer.deterministic,
        memory=(DEFAULT_CACHE if cfg.data.cache_dir is None else expand_user(cfg.data.cache_dir)) / "bf16.json",
    )
    return cast(Machine, machine)


def build_components(
    cfg: DictConfig, resumed_at: int | None = None
) -> tuple[Machine, ExpressionDataModule, Makers, pl.Trainer]:
    """Build all that needs no data, which is not set up, before any work; a ConfigError lists all wrong settings.

    A run continues from the step `resumed_at`.
    """
    problems: list[str] = []

    def attempt(build: Callable[..., Any], *args: Any) -> Any:
        try:
            return build(*args)
        except ConfigError as error:
            problems.append(str(error))
            return None

    machine = attempt(resolve_machine, cfg)
    data = attempt(_make_data, cfg, machine)
    kind = attempt(_model_class, cfg)
    if kind is not None and issubclass(kind, ExpressionClassifier):
        attempt(check_name, cfg.model.backbone)
    makers = attempt(build_optimizer, cfg)
    attempt(lambda: make(cfg.loss, class_counts=[1, 1]))  # a trial: the classes are not known yet
    callbacks = attempt(_make_callbacks, cfg)
    loggers = attempt(make_loggers, cfg, resumed_at)
    trainer: Any = None if machine is None else attempt(build_trainer, cfg, machine, callbacks or [], loggers or [])
    if problems:
        raise ConfigError.listing(problems)
    return machine, data, makers, trainer


def _make_data(cfg: DictConfig, machine: Machine | None) -> ExpressionDataModule:
    augmentation = make(cfg.augmentation) if "augmentation" in cfg else None
    workers = 0 if machine is None else machine.num_workers
    return cast(ExpressionDataModule, make(cfg.data, num_workers=workers, augmentation=augmentation))


def build_data(
    cfg: DictConfig, machine: Machine | None = None, divided_as: Mapping[str, Any] | None = None
) -> ExpressionDataModule:
    """Return the datamodule, set up; without a machine, no workers.

    A download without splits is divided by the method of the checkpoint whose recorded settings are `divided_as`.

    Raises:
        DataError: the data cannot be used.
        ConfigError: a setting is out of its range.
    """
    data = _make_data(cfg, machine)
    if divided_as is not None:
        data.divide_as(divided_as)
    data.setup()
    return data


def build_model(
    cfg: DictConfig, data: ExpressionDataModule, machine: Machine, makers: Makers, *, fresh: bool
) -> ExpressionClassifier:
    """Return the model for the classes of data that are set up, with its loss.

    Pretrained weights, where asked for, are loaded into a `fresh` model only, which else may take its first filters
    from the training images; a checkpoint will bring its own.

    Raises:
        ConfigError: a setting is out of its range, or weights cannot be loaded.
    """
    kind = _model_class(cfg)
    ours = issubclass(kind, ExpressionClassifier)
    if ours and fresh:
        for file in (cfg.model.weights, *cfg.model.get("teachers", ())):
            data.trained_before(SeenImages.none() if file is None else seen_by(weights_file(file)))
    mean, std = data.statistics()
    optimizer, scheduler = makers
    facts = {
        "classes": list(data.classes),
        "channels": data.channels,
        "image_size": data.image_size,
        "data_facts": data.facts(),
    }
    offered = {
        **facts,
        "mean": mean,
        "std": std,
        "channels_last": machine.channels_last,
        **({} if fresh else {"pretrained": False, "weights": None}),
        "loss": make(cfg.loss, class_counts=data.class_counts),
        "optimizer": optimizer,
        "scheduler": scheduler,
        "monitor": cfg.monitor,
        "mode": cfg.mode,
    }
    if ours:
        model = cast(ExpressionClassifier, make(cfg.model, **offered))
        if fresh and cfg.model.weights is None:
            _prepare(model, data)
        return model
    node, given = _taken_settings(cfg, kind), takes(kind, offered)
    own = cast(ExpressionClassifier, make(node, **given))
    adapt(own, {**_plain(node), **given}, facts)
    return own


def _prepare(model: ExpressionClassifier, data: ExpressionDataModule) -> None:
    """Let a network of ours compute what it takes from training images; every rank takes the same ones."""
    if is_overridden("prepare", model.backbone, Network):
        rows = data.rows("train")
        few = rows[np.unique(np.linspace(0, len(rows) - 1, PREPARED).astype(int))]  # images of a class may lie together
        model.backbone.prepare(model.pixels(torch.from_numpy(data.images(few))))


def network_name(cfg: DictConfig) -> str:
    """Return what the network is called: its backbone, or the class of a module of the user's own."""
    ours = issubclass(_model_class(cfg), ExpressionClassifier)
    return str(cfg.model.backbone if ours else cfg.model["_target_"])


def _model_class(cfg: DictConfig) -> type[pl.LightningModule]:
    try:
        found = resolve_target(str(cfg.model["_target_"]), "model", allowed_modules(cfg))
    except ImportError as error:
        raise ConfigError(f"model._target_: {error}") from error
    if not isinstance(found, type):
        raise ConfigError(
            f"model._target_: {cfg.model['_target_']} is a function: name the class of the LightningModule"
        )
    return found


def _taken_settings(cfg: DictConfig, kind: type[pl.LightningModule]) -> DictConfig:
    """Return `cfg.model` without those settings of the shipped networks that another class does not take."""
    keys = [str(key) for key in cfg.model if str(key).startswith("_") or key in takes(kind, cfg.model)]
    node: DictConfig = OmegaConf.masked_copy(cfg.model, keys)
    node._set_parent(cfg)  # which interpolations refer to
    node._set_key("model")
    return node


def _plain(node: DictConfig) -> dict[str, Any]:
    """Return the resolved arguments of a node."""
    content: Any = OmegaConf.to_container(node, resolve=True)
    return {key: value for key, value in content.items() if not key.startswith("_")}


def build_optimizer(cfg: DictConfig) -> Makers:
    """Return what makes the optimizer and what makes the schedule, or None for no schedule.

    Both are tried on one weight, because Lightning makes them only after the data are read. A ConfigError says which
    setting is out of its range.
    """
    optimizer = make(cfg.optimizer)
    scheduler = make(cfg.scheduler) if "_target_" in cfg.scheduler else None
    with blaming(cfg.optimizer):
        tried = optimizer([torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        with blaming(cfg.scheduler):
            scheduler_config(scheduler, tried, total_steps=100, monitor=cfg.monitor, mode=cfg.mode)
    return optimizer, scheduler


def _make_callbacks(cfg: DictConfig) -> list[pl.Callback]:
    """Return the callbacks; a ConfigError if a checkpoint could not tell the states of two of them apart."""
    made: dict[str, pl.Callback] = {str(name): make(node) for name, node in cfg.callbacks.items()}
    first: dict[str, str] = {}
    for name, callback in made.items():
        other = first.setdefault(callback.state_key, name)
        if other != name and is_overridden("state_dict", callback, pl.Callback):
            kind = type(callback).__name__
            raise ConfigError(
                f"callbacks.{other} and callbacks.{name} are both of class {kind} with the same settings, so "
                f"checkpoints cannot keep them apart: type '~callbacks.{name}', or give one of them another monitor"
            )
    averages = [name for name, callback in made.items() if isinstance(callback, pl.callbacks.WeightAveraging)]
    if len(averages) > 1:  # each would take the other's average for the latest weights
        first_one, second = averages[:2]
        raise ConfigError(
            f"callbacks.{first_one} and callbacks.{second} both average the weights: type '~callbacks.{second}'"
        )
    return list(made.values())


def build_trainer(cfg: DictConfig, machine: Machine, callbacks: list[pl.Callback], loggers: list[Logger]) -> pl.Trainer:
    """Return the Trainer; a ConfigError if Lightning refuses the settings."""
    # Lightning calls a bar beside its switch, and a monitor of learning rates without loggers, contradictions
    kinds = {pl.callbacks.ProgressBar: cfg.trainer.enable_progress_bar, pl.callbacks.LearningRateMonitor: loggers}
    unwanted = tuple(kind for kind, wanted in kinds.items() if not wanted)
    callbacks = [callback for callback in callbacks if not isinstance(callback, unwanted)]
    callbacks.sort(key=lambda callback: isinstance(callback, StopOnInterrupt))  # leaves when the others are done
    callbacks = [TypedSettings(), ExactResume(), FiniteLoss(), *callbacks]
    # scoring calls `predict`, for the probabilities, and is what others call the test
    limits = (cfg.trainer.get(key) for key in ("limit_test_batches", "limit_predict_batches"))
    trainer = make(
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
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # and none that was asked for
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    return cast(pl.Trainer, trainer)


def check_limits(cfg: DictConfig, data: ExpressionDataModule) -> None:
    """Check that no fraction of the batches of a split that is set up is less than one batch.

    Raises:
        ConfigError: Lightning would train or score nothing.
    """
    splits = {"limit_train_batches": "train", "overfit_batches": "train", "limit_val_batches": "validation"}
    problems = []
    for name, split in splits.items():
        limit, batches = cfg.trainer.get(name), -(-len(data.rows(split)) // data.batch_size)
        if isinstance(limit, float) and limit > 0 and int(limit * batches) < 1:
            have = f"{batches} batch" + "es" * (batches != 1)
            cure = f"type trainer.{name}=1 for one batch, or a fraction of {1 / batches:.2g} or more"
            problems.append(f"trainer.{name}={limit} of the {have} of the {split} images is less than one: {cure}")
    if problems:
        raise ConfigError.listing(problems)
