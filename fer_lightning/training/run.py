"""One training run: its folder, its fit, its results."""

from __future__ import annotations

import logging
import signal
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import FSDPStrategy
from omegaconf import DictConfig
from tqdm.contrib.logging import logging_redirect_tqdm

from fer_lightning.callbacks.history import History
from fer_lightning.callbacks.interrupt import Interrupted
from fer_lightning.callbacks.micro_batches import MicroBatches
from fer_lightning.core.atomic_write import write_text
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.core.file_names import shown
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.data.augmentation.pipeline import as_json
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.files import METRICS
from fer_lightning.runs.objectives import measure, objectives
from fer_lightning.runs.schema import read_metrics
from fer_lightning.runs.status import Pruned, update_status
from fer_lightning.system.resources import is_job
from fer_lightning.training import build
from fer_lightning.training.endings import why_ended
from fer_lightning.training.loggers import log_again, log_scores, log_settings
from fer_lightning.training.predict_split import predict_split
from fer_lightning.training.tuning import tune

log = logging.getLogger(__name__)


class TrainingRun:
    """Builds everything from `conf/train.yaml`, composed and checked; fits; scores the best checkpoint.

    It raises a UserError if settings, data, weights or checkpoint cannot be used.
    """

    def __init__(self, cfg: DictConfig) -> None:
        silence_libraries()
        self.cfg, self.folder = cfg, Path(cfg.output_dir)
        if cfg.ckpt_path is None and _holds_run(self.folder):
            whole = whole_checkpoints(self.folder / "checkpoints")
            hint = "type another hydra.run.dir=FOLDER" + (
                f", or {path_setting('ckpt_path', whole[0])} to continue it" if whole else ""
            )
            raise ConfigError(f"{self.folder} holds a run already: {hint}")
        resumed = None if cfg.ckpt_path is None else Checkpoint.read(cfg.ckpt_path)
        if resumed is not None:
            resumed.check_whole()
        self.found = tune(cfg)
        self.resumed_at = None if resumed is None else resumed.global_step
        self.machine, self.data, makers, self.trainer = build.build_components(cfg, self.resumed_at)
        self.machine.apply()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        if resumed is not None:
            self.data.divide_as(resumed.data_facts["settings"])
        self.data.setup()
        for split in ("train", "validation", *(() if cfg.split == "auto" else (cfg.split,))):
            self.data.require(split)
        build.check_limits(cfg, self.data)
        if resumed is not None:
            self._check_resumed(resumed)
        self.model = build.build_model(cfg, self.data, self.machine, makers, fresh=resumed is None)
        if resumed is not None:
            self._check_network(resumed)
        self.parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.delivery = self.data.describe_loading(self.trainer.strategy.root_device)
        kept = (callback for callback in self.trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
        self.best = next((callback for callback in kept if callback.monitor is not None), None)
        self.monitor: str = cfg.monitor if self.best is None else str(self.best.monitor)
        self.signal = 0  # number of the signal that interrupted it
        self.ended = ""  # why it ended
        self.monitored: float | None = None

    def fit(self) -> None:
        """Train; a signal ends it early and sets `signal`, and a sweep with better trials ends it with `Pruned`."""
        if self.trainer.is_global_zero:
            self._log_start()
        try:
            with logging_redirect_tqdm():  # logged lines go above the progress bar, not through it
                self.trainer.fit(self.model, datamodule=self.data, ckpt_path=self.cfg.ckpt_path)
        except Interrupted as interrupted:
            self.signal = interrupted.number
        except Pruned:
            self._record_best()
            raise
        self._record_best()
        self.ended = why_ended(self.trainer, self.signal)
        if self.trainer.is_global_zero:
            log.info(f"training ended: {self.ended}")
            update_status(self.folder, message=self.ended)

    @property
    def parts(self) -> int:
        """How many parts of a batch went through the network at a time, for want of memory; 1: it went as a whole."""
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
        return max((callback.parts for callback in callbacks if isinstance(callback, MicroBatches)), default=1)

    @property
    def continuing(self) -> str | None:
        """The command that continues this run; None where no checkpoint was kept."""
        last = self.folder / "checkpoints" / "last.ckpt"
        return f"python -m fer_lightning.train {path_setting('ckpt_path', last)}" if last.is_file() else None

    def score(self) -> None:
        """Score the best weights on the reported split, write every file, print the table."""
        # both import pandas and scikit-learn, for which training need not wait
        from fer_lightning.evaluation.metrics import final_scores
        from fer_lightning.runs import console
        from fer_lightning.runs.results import write_results

        facts = self._load_best()
        split = self.data.report_split if self.cfg.split == "auto" else self.cfg.split
        rows = self.data.require(split)
        table, images = predict_split(
            self.trainer, self.model, self.data, rows, seen=self.data.seen, own_division=True, views=self.cfg.views
        )
        if not self.trainer.is_global_zero:
            return
        facts |= {
            "split": split,
            "views": self.cfg.views,
            "partial": len(table) < len(rows) or self.data.limit is not None,
            "monitor": self.monitor,
            "monitored": self.monitored,
            "interrupted": self.signal > 0,
            "fast_dev_run": bool(self.cfg.trainer.get("fast_dev_run")),
            "ended": self.ended,
            "model": build.network_name(self.cfg),
            "parameters": self.parameters,
            "data": self.data.notes[0],
            **({} if self.parts == 1 else {"parts_of_a_batch": self.parts}),
        }
        metrics = write_results(table, images, self.folder, **facts)
        self._record_objectives(facts["epoch"], images[0])
        log_scores(self.trainer.loggers, self.cfg, final_scores(metrics), in_sweep=is_job())
        if is_job():  # its sweep shows a table of all jobs
            log.info(console.headline(metrics))
        else:
            console.print_results(metrics, self.folder)

    def _check_resumed(self, checkpoint: Checkpoint) -> None:
        """Refuse to continue on other classes, images, splits or with another network."""
        settings, before, now = checkpoint.hyper_parameters, checkpoint.data_facts, self.data.facts()
        pairs = {
            "model.backbone": (settings["backbone"], build.network_name(self.cfg)),
            "model.normalize": (
                settings.get("normalize", "standard"),
                "standard" if "arguments" in settings else self.cfg.model.get("normalize", "standard"),
            ),
            "classes": (list(settings["classes"]), list(self.data.classes)),
            "data.image_size": (settings["image_size"], self.data.image_size),
            "data.channels": (settings["channels"], self.data.channels),
            "the images": (before["fingerprint"], now["fingerprint"]),
            "the splits (data.seed, data.split, data.holdout)": (before["splits"], now["splits"]),
        }
        for what, (old, new) in pairs.items():
            if old != new:
                raise CheckpointError(f"{self.cfg.ckpt_path} cannot be continued: {what} was {old} and is {new} now")
        done, last = checkpoint.epoch, self.cfg.trainer.max_epochs
        if last not in (None, -1) and done > last:
            raise ConfigError(
                f"trainer.max_epochs={last}, but {self.cfg.ckpt_path} is of epoch {done}: type trainer.max_epochs="
                f"{done + 1} or more, all epochs of the run counted"
            )
        for key in ("pretrained", "weights"):
            if self.cfg.model.get(key):
                log.info(f"model.{key} does not matter here: {self.cfg.ckpt_path} brings its weights")

    def _check_network(self, checkpoint: Checkpoint) -> None:
        """Refuse to continue with weights of other names or shapes."""
        now, before = self.model.state_dict(), checkpoint.content["state_dict"]
        other = {*now} ^ {*before} | {name for name in {*now} & {*before} if now[name].shape != before[name].shape}
        if other:
            hint = "leave out what was typed for model.backbone_kwargs, model.stem and model.input_size"
            raise CheckpointError(f"{self.cfg.ckpt_path} is of another network ({len(other)} weights differ): {hint}")

    def _log_start(self) -> None:
        """Say what is trained on what, and write it down."""
        update_status(self.folder, fingerprint=self.data.source.fingerprint)
        trained = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        network = f"{build.network_name(self.cfg)}: {trained:,} parameters to train"
        engine = self.data.loaders.engine
        augmentation = "augmentation: none" if engine is None else engine.summary
        for line in (*self.data.notes, network, self.machine.summary, self.delivery, augmentation):
            log.info(line)
        known = {key: self.data.facts()[key] for key in ("fingerprint", "splits")}
        data = {**known, "test": len(self.data.rows("test")), "notes": self.data.notes, "delivery": self.delivery}
        found = {"found": self.found} if self.found else {}
        write_environment(self.folder, machine=self.machine.as_dict(), data=data, **found)
        if engine is not None:
            write_text(self.folder / "augmentation.json", as_json(engine.spec))
        if self.data.source.skipped:
            lines = (f"{path}\t{reason}\n" for path, reason in self.data.source.skipped.items())
            write_text(self.folder / "skipped_images.txt", "".join(lines))
        for logger in self.trainer.loggers:
            if isinstance(logger, CSVLogger) and self.resumed_at is not None:
                log_again(logger, self.resumed_at)
        log_settings(self.trainer.loggers, self.cfg)

    def _load_best(self) -> dict[str, Any]:
        """Load the best checkpoint, if one was kept; return which weights the model has now, and what chose them."""
        path, strategy = "" if self.best is None else self.best.best_model_path, self.trainer.strategy
        checkpoint = Checkpoint.read(path) if Path(path).is_file() else None
        if not strategy.reduce_boolean_decision(checkpoint is not None, all=True):
            checkpoint = strategy.broadcast(checkpoint)  # to ranks that do not see the first rank's files
        if checkpoint is None:
            weights = "the current weights: no checkpoint was kept"
            return {"checkpoint": weights, "epoch": self.trainer.current_epoch, "selected_on": None}
        if isinstance(strategy, FSDPStrategy):  # whose ranks hold parts of the weights
            self.model = checkpoint.build(type(self.model))
        else:
            self.model.load_state_dict(checkpoint.content["state_dict"])
        return {"checkpoint": f"checkpoints/{checkpoint.path.name}", "epoch": checkpoint.epoch, **checkpoint.selection}

    def _record_best(self) -> None:
        """Keep the best value of the monitor now, because prediction clears what was logged."""
        score = None if self.best is None else self.best.best_model_score
        score = self.trainer.callback_metrics.get(self.monitor) if score is None else score
        self.monitored = None if score is None else float(score)
        if self.trainer.is_global_zero and self.monitored is not None:
            update_status(self.folder, values={self.monitor: self.monitored})

    def _record_objectives(self, epoch: int, image: Any) -> None:
        """Write the values that a sweep compares runs by, if those are more than the monitor."""
        names = objectives(self.cfg)
        if names == [self.monitor]:
            return
        callbacks: list[pl.Callback] = self.trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
        rows = [row for callback in callbacks if isinstance(callback, History) for row in callback.rows]
        scores = next((row for row in reversed(rows) if row["epoch"] == epoch), {})
        known: dict[str, Any] = {} if self.monitored is None else {self.monitor: self.monitored}
        update_status(self.folder, values=known | measure(names, self.trainer, self.model, image, scores))


def _holds_run(folder: Path) -> bool:
    """Whether a folder holds checkpoints or results to be kept; those of a `fast_dev_run` need not be."""
    if any(folder.glob("checkpoints/*.ckpt")):
        return True
    if not (folder / METRICS).is_file():
        return False
    try:
        return read_metrics(folder / METRICS).get("fast_dev_run") is not True
    except (OSError, ValueError):  # damaged: it may be somebody's
        return True


def train(cfg: DictConfig) -> float | None:
    """Train, score and report one run; return the value that chose the best checkpoint, for a sweep to compare.

    Raises:
        UserError: settings, data, weights or checkpoint cannot be used.
        KeyboardInterrupt: Ctrl-C ended training; the report of what it came to is written.
        SystemExit: another signal did, with 128 and its number, as shells have it.
    """
    run = TrainingRun(cfg)
    run.fit()
    run.score()
    # a sweep must not go on, and the shell must know. Rank zero alone raises, because Lightning kills it as soon as
    # another rank ends with an error
    if run.signal and run.trainer.is_global_zero:
        if run.continuing is not None and not is_job():
            print(shown(f"to continue: {run.continuing}"), file=sys.stderr)
        if run.signal == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + run.signal)
    return run.monitored
