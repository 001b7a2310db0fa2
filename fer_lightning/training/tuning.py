"""Settings that a run finds by itself before its first step, and then uses as if they had been typed."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from omegaconf import DictConfig

from fer_lightning.callbacks.micro_batches import MicroBatches
from fer_lightning.config.nodes import get
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.memory_errors import release_memory
from fer_lightning.evaluation.canvas import save
from fer_lightning.models.optimized_module import OptimizedModule
from fer_lightning.models.own_module import takes
from fer_lightning.runs.found_settings import IN_PROPORTION, change_settings, read_found
from fer_lightning.training.batch_size_search import SMALLEST, choose, search
from fer_lightning.training.lr_range_test import STEPS, RangeTest
from fer_lightning.training.make import make
from fer_lightning.training.trial import Trial

log = logging.getLogger(__name__)
CURVE = "lr_range.png"


class Tuning:
    """What is searched for; the batch size first, because the learning rate goes with it.

    Args:
        lr: whether to set `optimizer.lr`, and other learning rates in proportion, by a learning-rate range test.
        batch_size: whether to set `data.batch_size` to the smallest power of two that trains about as fast as any.
    """

    def __init__(self, lr: bool = False, batch_size: bool = False) -> None:
        self.lr, self.batch_size = lr, batch_size

    def find(self, cfg: DictConfig) -> dict[str, float]:
        """Return what was found, by setting, having set it in `cfg`, in which a UserError says what cannot be used."""
        found: dict[str, float] = {}
        for wanted, search_for in ((self.batch_size, _batch_size), (self.lr, _learning_rate)):
            if wanted:
                found |= search_for(cfg)
                _set(cfg, found)
                release_memory()  # of the model and data of the trial
        return found


def tune(cfg: DictConfig) -> dict[str, float]:
    """Find what `cfg.tune` asks for, set it in `cfg` and in the settings recorded in the run folder, and return it.

    A run that continues uses what was found when it began.

    Raises:
        ConfigError: nothing can be found for this model.
        UserError: settings, data or weights cannot be used.
    """
    tuning: Tuning = make(cfg.tune) if "tune" in cfg else Tuning()
    if not (tuning.lr or tuning.batch_size) or cfg.trainer.get("fast_dev_run"):
        return {}
    if cfg.ckpt_path is None:
        found = tuning.find(cfg)
    else:
        found = read_found(Path(cfg.ckpt_path))
        said = " ".join(f"{key}={value:g}" for key, value in found.items())
        log.info(f"tune: {said or 'nothing'}, as found when the run began")
        _set(cfg, found)
    change_settings(Path(cfg.output_dir), found)
    return found


def _set(cfg: DictConfig, found: dict[str, float]) -> None:
    for key, value in found.items():
        group, _, name = key.partition(".")
        if name in cfg[group]:  # which may be another optimizer now
            cfg[group][name] = value


def _batch_size(cfg: DictConfig) -> dict[str, float]:
    log.info("looking for a batch size …")
    speeds = search(Trial(cfg))
    if not speeds:
        log.warning(f"a batch of {SMALLEST} does not fit into memory: data.batch_size={cfg.data.batch_size} stays")
        return {}
    size = choose(speeds)
    tried = ", ".join(f"{tried}: {speed:,.0f}" for tried, speed in speeds.items())
    log.info(
        f"batch size {size}: none is faster by 5 % (images/s of {tried}). Without the search: data.batch_size={size}"
    )
    return {"data.batch_size": size}


def _learning_rate(cfg: DictConfig) -> dict[str, float]:
    from fer_lightning.evaluation.lr_curve import plot_lr_range  # matplotlib is slow to import

    log.info(f"looking for a learning rate in {STEPS} steps …")
    started, trial, watch = time.monotonic(), Trial(cfg), RangeTest(cfg.optimizer.lr)
    kind: type[pl.LightningModule] = type(trial.model)
    given = issubclass(kind, OptimizedModule) or takes(kind, {"optimizer": None})
    if not given or not trial.model.automatic_optimization:
        raise ConfigError(
            f"tune.lr=true sets optimizer.lr, and {kind.__name__} makes its own optimizer: type tune.lr=false"
        )
    trial.train(watch, MicroBatches(), max_steps=STEPS)
    test = watch.evaluate()
    save(plot_lr_range(test.rates, test.losses, test.smooth, test.lr), Path(cfg.output_dir) / CURVE)
    if test.lr is None:
        log.warning(f"no learning rate lowers the loss clearly ({CURVE}): optimizer.lr={cfg.optimizer.lr:g} stays")
        return {}
    found: dict[str, Any] = {"optimizer.lr": test.lr}
    for key in IN_PROPORTION:
        if (rate := get(cfg, key)) is not None:
            found[key] = float(f"{test.lr * rate / cfg.optimizer.lr:.2g}")
    typed = " ".join(f"{key}={value:g}" for key, value in found.items())
    log.info(
        f"learning rate {test.lr:g}: where the loss was lowest while the rate grew ({CURVE}; "
        f"{time.monotonic() - started:.0f} s). Without the search: {typed}"
    )
    return found
