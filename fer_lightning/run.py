"""One training run: its folder, its fit, its verdict."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import DictConfig, OmegaConf
from tqdm.contrib.logging import logging_redirect_tqdm

from fer_lightning import build, console, judge
from fer_lightning.callbacks import Interrupted
from fer_lightning.environment import describe_environment
from fer_lightning.errors import CheckpointError
from fer_lightning.models.checkpoint import read_checkpoint
from fer_lightning.quiet import quieten

log = logging.getLogger(__name__)


class Run:
    """Builds everything from a configuration, fits, and judges the best checkpoint.

    Args:
        cfg: composed from `conf/train.yaml`, checked.

    Raises:
        UserError: data, weights or checkpoint cannot be used.
    """

    def __init__(self, cfg: DictConfig) -> None:
        quieten()
        self.cfg, self.folder = cfg, Path(cfg.output_dir)
        self.resumed = None if cfg.ckpt_path is None else read_checkpoint(cfg.ckpt_path)
        self.machine = build.settle_machine(cfg)
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        self.data = build.build_data(cfg, self.machine)
        self.model = build.build_model(cfg, self.data, self.machine)
        if self.resumed is not None:
            self._check_resumed(self.resumed)
        self.callbacks = build.build_callbacks(cfg)
        self.interrupted = False
        self.loggers = build.build_loggers(cfg, self.resumed)
        self.trainer = build.build_trainer(cfg, self.machine, list(self.callbacks.values()), self.loggers)

    def fit(self) -> None:
        """Train; Ctrl-C ends it early and is remembered."""
        self._announce()
        try:
            with logging_redirect_tqdm():  # a line that is logged goes above the progress bar, not through it
                self.trainer.fit(self.model, datamodule=self.data, ckpt_path=self.cfg.ckpt_path)
        except Interrupted:
            self.interrupted = True

    def judge(self) -> float | None:
        """Score the best weights on the reported split, write every file, print the table.

        Returns:
            the best value of the monitored metric, or None if it was never logged.
        """
        weights, epoch = self._load_best()
        split = self.data.report_split
        table, images = judge.predict_split(self.trainer, self.model, self.data, split)
        if self.trainer.is_global_zero:
            facts = {
                "split": split,
                "selected_on": "validation",
                "checkpoint": weights,
                "epoch": epoch,
                "monitor": self.cfg.monitor,
                "monitored": self._monitored(),
                "interrupted": self.interrupted,
                "model": self.cfg.model.backbone,
                "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
                "data": self.data.remarks[0],
            }
            metrics = judge.write_verdict(table, images, self.folder, **facts)
            self._log_final(metrics)
            console.print_results(metrics, self.folder)
        return self._monitored()

    def _announce(self) -> None:
        for remark in self.data.remarks:
            log.info(remark)
        trained = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        log.info(f"{self.cfg.model.backbone}: {trained:,} parameters to train")
        log.info(self.machine.why)
        if not self.trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        data = {"fingerprint": self.data.source.fingerprint, "remarks": self.data.remarks}
        record = describe_environment(machine=self.machine.as_dict(), data=data)
        (self.folder / "environment.json").write_text(json.dumps(record, indent=2) + "\n")
        if self.data.source.skipped:
            lines = (f"{path}\t{reason}\n" for path, reason in self.data.source.skipped.items())
            (self.folder / "skipped_images.txt").write_text("".join(lines))
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                text = OmegaConf.to_yaml(self.cfg, resolve=True)
                logger.experiment.add_text("config", "".join(f"    {line}\n" for line in text.splitlines()))

    def _check_resumed(self, checkpoint: dict[str, Any]) -> None:
        classes = checkpoint["hyper_parameters"]["classes"]
        if list(classes) != list(self.data.classes):
            raise CheckpointError(
                f"{self.cfg.ckpt_path} was trained on {', '.join(classes)}; the data has {', '.join(self.data.classes)}"
            )

    @property
    def _best_checkpoint(self) -> ModelCheckpoint | None:
        kept = (callback for callback in self.trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
        return next((callback for callback in kept if callback.monitor is not None), None)

    def _load_best(self) -> tuple[str, int]:
        """Load the best checkpoint, if one was kept; say which weights the model has now and after which epoch."""
        best = self._best_checkpoint.best_model_path if self._best_checkpoint is not None else ""
        if not Path(best).is_file():
            return "the current weights (no checkpoint was kept)", self.trainer.current_epoch
        checkpoint = read_checkpoint(best)
        self.model.load_state_dict(checkpoint["state_dict"])
        return f"checkpoints/{Path(best).name}", checkpoint["epoch"] + 1  # Lightning counts from 0

    def _monitored(self) -> float | None:
        score = self._best_checkpoint.best_model_score if self._best_checkpoint is not None else None
        score = self.trainer.callback_metrics.get(self.cfg.monitor) if score is None else score
        return None if score is None else float(score)

    def _log_final(self, metrics: dict[str, Any]) -> None:
        """Fill the HParams tab: the settings that runs differ in, beside the final scores."""
        prefix = "test" if metrics["split"] == "test" else "val"
        names = {"acc": "accuracy", "f1_macro": "f1_macro", "balanced_acc": "balanced_accuracy", "ece": "ece"}
        scores = {f"{prefix}/{name}": metrics[key] for name, key in names.items() if metrics[key] is not None}
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.log_hyperparams(flatten(self.cfg), {f"final/{name}": value for name, value in scores.items()})
            elif not isinstance(logger, CSVLogger):
                logger.log_metrics({f"final/{name}": value for name, value in scores.items()})
            logger.finalize("success")


def flatten(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that a run is described by, as `group.key` → plain value."""
    groups = ("data", "augmentation", "model", "loss", "optimizer", "scheduler")
    flat = {"seed": cfg.seed, "trainer.max_epochs": cfg.trainer.max_epochs, "trainer.precision": cfg.trainer.precision}
    for group in groups:
        node = OmegaConf.to_container(cfg[group], resolve=True)
        flat |= {f"{group}.{key}": value for key, value in node.items() if key not in ("_target_", "_partial_")}  # type: ignore[union-attr]
    return {key: value if isinstance(value, (int, float, str, bool)) else str(value) for key, value in flat.items()}
