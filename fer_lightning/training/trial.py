"""Short trainings that are thrown away: a run learns a setting from them, and starts as if there had been none."""

from __future__ import annotations

import copy
from contextlib import suppress

import lightning.pytorch as pl
from omegaconf import DictConfig, open_dict

from fer_lightning.core.errors import DivergedError
from fer_lightning.training import build

# of the Trainer: no end but that of the trial, no validation, nothing written
_SHORT = {
    "max_epochs": 10_000,  # far away, so that what depends on where a run is sees its beginning
    "min_epochs": None,
    "min_steps": None,
    "max_time": None,
    "limit_val_batches": 0,
    "num_sanity_val_steps": 0,
    "fast_dev_run": False,
    "enable_progress_bar": False,
    "profiler": None,
}


class Trial:
    """Model, data and optimizer of a run, made for short trainings without its callbacks, loggers and schedule.

    Raises:
        UserError: settings, data or weights cannot be used.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.cfg = copy.deepcopy(cfg)
        with open_dict(self.cfg):
            self.cfg.callbacks, self.cfg.logger, self.cfg.scheduler = {}, {}, {}
            self.cfg.trainer.update(_SHORT)
        self.machine, self.data, makers, _ = build.build_components(self.cfg)
        self.machine.apply()
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        self.data.setup()
        self.data.require("train")
        build.check_limits(self.cfg, self.data)
        self.model = build.build_model(self.cfg, self.data, self.machine, makers, fresh=True)

    def train(self, *callbacks: pl.Callback, max_steps: int) -> pl.Trainer:
        """Take up to so many optimizer steps, fewer if a callback stops the Trainer or the loss is not finite."""
        self.cfg.trainer.max_steps = max_steps
        trainer = build.build_trainer(self.cfg, self.machine, [*callbacks], [])
        with suppress(DivergedError):
            trainer.fit(self.model, datamodule=self.data)
        return trainer
