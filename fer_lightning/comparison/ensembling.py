"""Ensemble the best runs: average their predictions, score the average, and compare it with the best single run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from fer_lightning.comparison import formatting
from fer_lightning.comparison.averaging import average_predictions
from fer_lightning.comparison.averaging_weights import average_weights
from fer_lightning.comparison.members import Members, rank_members
from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.core.errors import ConfigError
from fer_lightning.evaluation.metrics import wilson_interval
from fer_lightning.runs import console
from fer_lightning.runs.console import escape
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.find import find_runs
from fer_lightning.runs.read import read_runs
from fer_lightning.runs.results import write_results
from fer_lightning.system.resources import listed_devices


def ensemble_runs(cfg: DictConfig) -> Difference:
    """Average the best `cfg.top` of the runs in or below `cfg.runs` on `cfg.split`, and write the results.

    Averaged are predictions, or with `cfg.average` weights: see `average_weights`.

    Returns the gain in accuracy over the best single run; raises a UserError where runs, checkpoints or data cannot be
    used. `cfg` is composed from `conf/ensemble.yaml`.
    """
    if len(listed_devices(cfg.trainer.devices)) > 1 or cfg.trainer.num_nodes != 1:
        raise ConfigError(
            "the members of an ensemble predict on one device: type trainer.devices=1 trainer.num_nodes=1"
        )
    if cfg.average != "predictions":
        return average_weights(cfg)
    if any(place.endswith(".ckpt") for place in cfg.runs):
        raise ConfigError("predictions are those of runs: name their folders, or type average=weights")
    runs, _ = read_runs(find_runs(cfg.runs))
    members = Members(rank_members(runs, cfg.top), cfg)
    table = average_predictions(members.tables)
    best, *_ = members.tables.values()
    gain = paired_difference(_right(table), _right(best))
    folder = Path(cfg.output_dir)
    write_environment(folder, data={"fingerprint": members.runs[0].fingerprint})
    metrics = write_results(table, members.images(), folder, **_facts(members, gain))
    _print_members(members, metrics, gain)
    console.print_results(metrics, folder)
    return gain


def _right(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["label"] == table["predicted"], dtype=bool)


def _facts(members: Members, gain: Difference) -> dict[str, Any]:
    """Return what the scores are about, for `metrics.json`."""
    best, count = members.runs[0], len(members.runs)
    networks = sorted({str(run.metrics.get("model")) for run in members.runs if run.metrics.get("model")})
    parameters = [run.metrics.get("parameters") for run in members.runs]
    return {
        "split": members.split,
        "same_data": members.same_data,
        **{f"left_out_in_{role}": count for role, count in members.left_out.items() if count},
        "selected_on": {"val": "validation", "train": "train"}.get(str(best.monitor).partition("/")[0]),
        "partial": any(run.metrics.get("partial") for run in members.runs),
        "checkpoint": f"the mean of {count} checkpoints",
        "model": f"ensemble of {count}" + (f": {', '.join(networks)}" if networks else ""),
        "parameters": None if None in parameters else sum(parameters),
        "data": best.metrics.get("data"),
        "members": [run.name for run in members.runs],
        "chosen_by": best.monitor,
        "gain": gain.value,
        "gain_interval": [gain.low, gain.high],
        "gain_p": gain.p,
    }


def _print_members(members: Members, metrics: dict[str, Any], gain: Difference) -> None:
    screen, split, best = Console(highlight=False), metrics["split"], members.runs[0]
    table = Table("member", show_edge=False, pad_edge=False)
    for name in (str(best.monitor), f"accuracy ({split})"):
        table.add_column(name, justify="right")
    for run in members.runs:
        right = _right(members.tables[run.name])
        accuracy = formatting.percent(float(right.mean()), wilson_interval(int(right.sum()), len(right)))
        table.add_row(escape(run.name), formatting.score(run.monitor, run.value), accuracy)
    table.add_section()
    table.add_row("their mean", "", formatting.percent(metrics["accuracy"], metrics["accuracy_interval"]), style="bold")
    screen.print()
    screen.print(table)
    screen.print(
        f"\n[bold]gain over {escape(best.name)}: {formatting.difference(gain)} percentage points[/bold]"
        f" on the same {metrics['count']:,} images, p {formatting.p_value(gain)}",
        soft_wrap=True,
    )
    if metrics["selected_on"] == split:
        chosen = f"The members were chosen on these same {split} images"
        screen.print(f"{chosen}: the score is optimistic, and so may be the gain.", soft_wrap=True)
