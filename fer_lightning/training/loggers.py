"""What all loggers are told, the same whichever they are: settings when a run starts, final scores when it ends."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig, OmegaConf

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.core.file_names import shown
from fer_lightning.core.flatten import flatten
from fer_lightning.models.weights.hub import PROBE_SECONDS, answers
from fer_lightning.system.resources import is_first_process
from fer_lightning.training.make import blaming, make

Plain = int | float | str | bool


def make_loggers(cfg: DictConfig, resumed_at: int | None) -> list[Logger]:
    """Return the loggers, of a run that continues from the step `resumed_at` if that is given.

    A ConfigError says if a logger's service or store is not to be had.
    """
    # MLflow opens its store where it is made, and makes it there if need be: one rank does so
    nodes = {str(name): node for name, node in cfg.logger.items() if name != "mlflow" or is_first_process()}
    return [_make_logger(name, node, resumed_at) for name, node in nodes.items()]


def _make_logger(name: str, node: DictConfig, resumed_at: int | None) -> Any:
    try:
        with blaming(node):
            _check_service(node)
        logger = make(node)
    except ConfigError:
        raise
    except Exception as error:  # MLflow opens its store, and says in its own way that it cannot
        hint = "; type logger.mlflow.tracking_uri=sqlite:///mlflow.db" if name == "mlflow" else ""
        raise ConfigError(f"logger.{name}: {type(error).__name__}: {first_lines(error)}{hint}") from error
    if resumed_at is not None and isinstance(logger, TensorBoardLogger):
        return make(node, purge_step=resumed_at)  # TensorBoard forgets what an interrupted epoch logged after it
    return logger


def _check_service(node: DictConfig) -> None:
    """Raise a ConfigError if a logger's service is not to be had, which it would find out after the data are read."""
    kind = str(node.get("_target_")).rpartition(".")[2]
    if kind == "MLFlowLogger":
        uri = str(node.get("tracking_uri"))
        if uri.startswith(("http://", "https://")) and not answers(uri, PROBE_SECONDS):
            raise ConfigError(
                f"logger.mlflow.tracking_uri={uri}: no server answers there; start it, or type "
                "logger.mlflow.tracking_uri=sqlite:///mlflow.db"
            )
    if kind == "WandbLogger" and not node.get("offline"):
        import wandb

        offline = os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled")
        if not offline and not _logged_in(wandb):
            raise ConfigError(
                "logger.wandb: nobody is logged in to W&B here; type wandb login, or logger.wandb.offline=true"
            )


def _logged_in(wandb: Any) -> bool:
    if "prompt" in inspect.signature(wandb.login).parameters:
        return bool(wandb.login(prompt=False))
    return wandb.api.api_key is not None  # of older versions, which would ask


def described_settings(cfg: DictConfig) -> dict[str, Plain]:
    """Return the settings that runs differ in, dotted key → plain value."""
    groups = ("data", "augmentation", "model", "loss", "optimizer", "scheduler")
    tree = {group: OmegaConf.to_container(cfg[group], resolve=True) for group in groups if group in cfg}
    trainer = {key: cfg.trainer[key] for key in ("max_epochs", "precision")}
    flat = flatten({"seed": cfg.seed, "trainer": trainer, **tree}).items()
    kept = [(key, value) for key, value in flat if not key.endswith(("._target_", "._partial_"))]
    return {key: value if isinstance(value, (int, float, bool)) else shown(str(value)) for key, value in kept}


def log_settings(loggers: Iterable[Logger], cfg: DictConfig) -> None:
    """Log the settings; to TensorBoard as a text, because its HParams tab wants settings and scores at once."""
    for logger in loggers:
        settings = described_settings(cfg)
        if isinstance(logger, TensorBoardLogger):
            text = shown(OmegaConf.to_yaml(cfg, resolve=True))
            logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))
        elif isinstance(logger, MLFlowLogger):  # which takes few characters
            logger.log_hyperparams({re.sub(r"[^\w/. -]", "_", key): value for key, value in settings.items()})
        else:
            logger.log_hyperparams(settings)


def log_scores(loggers: Iterable[Logger], cfg: DictConfig, scores: Mapping[str, float], *, in_sweep: bool) -> None:
    """Log the final scores `final/…` and close the loggers; a sweep fills TensorBoard's HParams tab itself."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger) and not in_sweep:
            logger.log_hyperparams(described_settings(cfg), dict(scores))
        elif isinstance(logger, TensorBoardLogger):
            logger.log_metrics(dict(scores), 0)
        elif not isinstance(logger, CSVLogger):  # whose rows are steps; metrics.json lies beside it
            logger.log_metrics(dict(scores))
        logger.finalize("success")
        if isinstance(logger, WandbLogger):
            logger.experiment.finish()  # a job's process ends without the handlers that would do it


def log_again(logger: CSVLogger, step: int) -> None:
    """Log the earlier rows, those before `step`, again, because Lightning deletes the file of a logger on first use."""
    file = Path(logger.log_dir) / "metrics.csv"
    if file.is_file():
        import pandas as pd  # not at each start

        rows = pd.read_csv(file)
        for _, row in rows[rows["step"] < step].iterrows():
            scores = row.drop("step").dropna().to_dict()
            whole = {"epoch": int(scores["epoch"])} if "epoch" in scores else {}  # pandas made it a float
            logger.log_metrics(scores | whole, step=int(row["step"]))
        logger.save()
