"""Optimizer, schedule and gradient clipping of a LightningModule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.optimizers.sam import SharpnessAware
from fer_lightning.models.schedules import Mode, scheduler_config

ACCUMULATED = (
    "optimizer=sam computes each gradient twice and cannot sum those of several batches: type "
    "trainer.accumulate_grad_batches=1, or another optimizer"
)


class OptimizedModule(pl.LightningModule):
    """A module whose optimizer and schedule are made by its attributes; subclasses set them, network and steps."""

    optimizer: Callable[..., Optimizer]  # makes an optimizer from parameter groups
    scheduler: Callable[..., Any] | None  # makes a schedule from an optimizer; see `schedules.scheduler_config`
    monitor: str  # logged value that a plateau schedule watches
    mode: Mode  # whether `max` or `min` of it is better
    in_second_pass = False  # of SAM over a batch, which is not to be logged and counted again

    @abstractmethod
    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return what the optimizer is made from."""

    @property
    def splits_hidden(self) -> bool:
        """Whether the optimizer treats weights of hidden layers in a way of their own, and groups must mark them."""
        return bool(getattr(getattr(self.optimizer, "func", self.optimizer), "splits_hidden", False))

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        algorithm, plugin = GradClipAlgorithmType(gradient_clip_algorithm or "norm"), self.trainer.precision_plugin
        clip_norm = getattr(self.trainer.strategy, "clip_norm", None)  # where no rank knows the norm by itself
        if gradient_clip_val and algorithm == GradClipAlgorithmType.NORM and clip_norm is not None:
            clip_norm(gradient_clip_val)
        elif gradient_clip_val is not None and isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            # what all plugins do; this one refuses fused optimizers, for those unscale gradients, and bf16 scales none
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # Lightning would step a plateau schedule after the checkpoint is written, and a resumed run would miss the step
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def step_plateaus(self) -> None:
        """Let plateau schedules look at what was logged in this epoch."""
        if not self.trainer.fit_loop.epoch_loop._num_ready_batches_reached():
            return  # max_steps, say, ended it within the epoch
        for config in self.trainer.lr_scheduler_configs:
            value = self.trainer.callback_metrics.get(config.monitor or "")
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)

    @contextmanager
    def _second_pass(self) -> Iterator[None]:
        """Let a batch be seen again without a trace: buffers, such as statistics of batch norm, stay as they are."""
        before = [(buffer, buffer.clone()) for buffer in self.buffers()]
        self.in_second_pass = True
        try:
            yield
        finally:
            self.in_second_pass = False
            for buffer, value in before:
                buffer.copy_(value)

    def make_optimizer(self) -> Optimizer:
        """Return the optimizer, with the learning rates of groups that have an `lr_scale` multiplied by it."""
        optimizer = self.optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            if "lr_scale" in group:
                group["lr"] *= group.pop("lr_scale")
        return optimizer

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer()
        if isinstance(optimizer, SharpnessAware):
            if self.trainer.accumulate_grad_batches > 1:
                raise ConfigError(ACCUMULATED)
            optimizer.second_pass = self._second_pass
        if self.scheduler is None:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        schedule = scheduler_config(self.scheduler, optimizer, total_steps=steps, monitor=self.monitor, mode=self.mode)
        return {"optimizer": optimizer, "lr_scheduler": schedule}
