"""The best trial of an Optuna study, or its Pareto front where there are several objectives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.sweeps.study import JOB, Study


def report_best_trials(study: Study, folder: Path, names: Sequence[str]) -> None:
    """Print the best trials and write them to `optimization_results.yaml`, the file of hydra-optuna-sweeper."""
    found = sorted(study.best_trials(), key=lambda trial: trial.values, reverse=True)
    if not found:
        return
    best_trials = [
        {
            "number": trial.number,
            "values": dict(zip(names, trial.values, strict=True)),
            "params": trial.params,
            "overrides": [f"{name}={'null' if value is None else value}" for name, value in trial.params.items()],
            "job": trial.user_attrs.get(JOB),
        }
        for trial in found
    ]
    result: dict[str, Any] = {"name": "optuna"}
    if len(names) > 1:
        result["solutions"] = best_trials
    else:
        result |= {"best_params": found[0].params, "best_value": found[0].value, **best_trials[0]}
    with atomic_write(folder / "optimization_results.yaml") as new:
        OmegaConf.save(OmegaConf.create(result), new)
    from rich.console import Console  # not at each start of a sweep
    from rich.table import Table

    title = "the best trial" if len(names) == 1 else "no other trial is better in all"
    table = Table("trial", *names, "overrides", show_edge=False, pad_edge=False, title=title, title_justify="left")
    for trial in best_trials:
        values = (f"{value:.4g}" for value in trial["values"].values())
        table.add_row(f"{trial['number']}", *values, " ".join(trial["overrides"]))
    console = Console()
    console.print()
    console.print(table)
