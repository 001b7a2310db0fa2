"""One ensemble: the best runs, their average, its verdict, and what it gains over the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fer_lightning.comparison import formatting
from fer_lightning.comparison.averaging import average_predictions
from fer_lightning.comparison.members import Members, choose_members
from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.core.errors import ConfigError
from fer_lightning.evaluation.metrics import wilson_interval
from fer_lightning.runs import console
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.find import find_runs
from fer_lightning.runs.read import RecordedRun, read_runs
from fer_lightning.runs.results import write_results
from fer_lightning.system.resources import listed_devices

SPLITS = {"val": "validation", "train": "train"}


def ensemble_runs(cfg: DictConfig) -> Difference:
    """Average the best `cfg.top` of the runs in or below `cfg.runs` on `cfg.split`, and write the verdict.

    Args:
        cfg: composed from `conf/ensemble.yaml`.

    Returns:
        the gain in accuracy over the best single run.

    Raises:
        UserError: runs, checkpoints or data cannot be used.
    """
    if len(listed_devices(cfg.trainer.devices)) > 1 or cfg.trainer.num_nodes != 1:
        raise ConfigError(
            "the members of an ensemble predict on one device: type trainer.devices=1 trainer.num_nodes=1"
        )
    runs, _ = read_runs(find_runs(cfg.runs))
    members = Members(choose_members(runs, cfg.top), cfg)
    table = average_predictions(members.tables)
    gain = paired_difference(_right(table), _right(members.tables[members.runs[0].name]))
    folder = Path(cfg.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    write_environment(folder, data={"fingerprint": members.runs[0].fingerprint})
    metrics = write_results(table, members.images(), folder, **_facts(members, gain))
    _print_members(members.runs, members.tables, metrics, gain)
    console.print_results(metrics, folder)
    return gain


def _right(table: pd.DataFrame) -> np.ndarray:
    return np.asarray(table["label"] == table["predicted"], dtype=bool)


def _facts(members: Members, gain: Difference) -> dict[str, Any]:
    """What the numbers are about, for `metrics.json`."""
    best = members.runs[0]
    networks = sorted({str(run.metrics.get("model")) for run in members.runs if run.metrics.get("model")})
    sizes = [run.metrics.get("parameters") for run in members.runs]
    return {
        "split": members.split,
        "same_data": members.same_data,
        "selected_on": SPLITS.get(str(best.monitor).partition("/")[0]),
        "partial": any(bool(run.metrics.get("partial")) for run in members.runs),
        "checkpoint": f"the mean of {len(members.runs)} checkpoints",
        "model": f"ensemble of {len(members.runs)}" + (f": {', '.join(networks)}" if networks else ""),
        "parameters": None if None in sizes else sum(sizes),
        "data": best.metrics.get("data"),
        "members": [run.name for run in members.runs],
        "chosen_by": best.monitor,
        "gain": gain.value,
        "gain_interval": [gain.low, gain.high],
        "gain_p": gain.p,
    }


def _print_members(
    runs: tuple[RecordedRun, ...], tables: Mapping[str, pd.DataFrame], metrics: Mapping[str, Any], gain: Difference
) -> None:
    screen, split, monitor = Console(), metrics["split"], str(runs[0].monitor)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("member")
    for name in (monitor, f"accuracy ({split})"):
        table.add_column(name, justify="right")
    for run in runs:
        right = _right(tables[run.name])
        scored = formatting.percent(float(right.mean()), wilson_interval(int(right.sum()), len(right)))
        table.add_row(escape(run.name), formatting.score(run.monitor, run.value), scored)
    table.add_section()
    table.add_row("their mean", "", formatting.percent(metrics["accuracy"], metrics["accuracy_interval"]), style="bold")
    screen.print()
    screen.print(table)
    screen.print(
        f"\n[bold]gain over {escape(runs[0].name)}: {formatting.difference(gain)} percentage points[/bold]"
        f" on the same {metrics['count']:,} images, p {formatting.p_value(gain)}",
        highlight=False,
        soft_wrap=True,
    )
    if metrics["selected_on"] == split:
        warning = (
            f"The members were chosen on these same {split} images: the score is optimistic, and so may be the gain."
        )
        screen.print(warning, highlight=False, soft_wrap=True)
