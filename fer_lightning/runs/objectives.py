"""The objectives of a sweep: scores that training logs, latency and parameters of the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.nodes import get
from fer_lightning.config.selection import MONITORS, monitors, nearest_score, why_not
from fer_lightning.core.errors import ConfigError

if TYPE_CHECKING:
    import lightning.pytorch as pl

LATENCY, PARAMETERS = "latency", "parameters"
MODES = {**MONITORS, LATENCY: "min", PARAMETERS: "min"}


def objectives(cfg: DictConfig) -> list[str]:
    """Return `sweep.objectives`, or `monitor` where that is null; a ConfigError says if one is unknown or repeated."""
    typed = get(cfg, "sweep.objectives")
    if typed is None:
        if problems := [*monitors(OmegaConf.masked_copy(cfg, ["monitor", "mode"]))]:
            raise ConfigError.listing(problems)
        return [str(cfg.monitor)]
    names = [typed] if isinstance(typed, str) else [str(name) for name in typed]
    for name in names:
        if name not in MODES:
            cure = f"type sweep.objectives={nearest_score(name, MODES)}"
            raise ConfigError(f"sweep.objectives={name} {why_not(name, MODES)}: {cure}")
    if len(set(names)) < max(1, len(names)):
        raise ConfigError(f"sweep.objectives=[{','.join(names)}] must name one or more, each once")
    return names


def directions(names: Sequence[str]) -> list[str]:
    """Return `maximize` or `minimize` for each objective, in Optuna's words."""
    return ["maximize" if MODES[name] == "max" else "minimize" for name in names]


def measure(
    names: Sequence[str], trainer: pl.Trainer, model: pl.LightningModule, image: Any, row: dict[str, float]
) -> dict[str, float]:
    """Return the objectives of a trained network, as far as they can be measured.

    The latency is that of an `image`, a uint8 array `(C, H, W)`, on the trainer's device in its precision; `row` holds
    the scores logged in the epoch of these weights.
    """
    known = {**row, PARAMETERS: float(sum(parameter.numel() for parameter in model.parameters()))}
    if LATENCY in names:
        known[LATENCY] = _latency(trainer, model, image)
    return {name: known[name] for name in names if name in known}


def _latency(trainer: pl.Trainer, model: pl.LightningModule, image: Any) -> float:
    """Return the median time of one image through the network on the device of the run, in milliseconds."""
    import torch

    device = trainer.strategy.root_device
    model.to(device).eval()
    batch, times = torch.as_tensor(image)[None].to(device), []
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for _ in range(60):
            started = time.perf_counter()
            model(batch).cpu()  # waits for the device
            times.append(time.perf_counter() - started)
    return 1000 * sorted(times[10:])[25]  # the first ten warm up
