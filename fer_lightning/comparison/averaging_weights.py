"""Average the weights of checkpoints of one network, and score the network that this makes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from fer_lightning.comparison.members import evaluation_of, rank_members
from fer_lightning.comparison.paired_test import Difference, paired_difference
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.core.home import expand_user
from fer_lightning.runs import console
from fer_lightning.runs.environment import write_environment
from fer_lightning.runs.files import BEST_CHECKPOINT
from fer_lightning.runs.find import find_runs, run_of
from fer_lightning.runs.read import read_run, read_runs
from fer_lightning.runs.results import write_results
from fer_lightning.training.average_checkpoints import average_checkpoints, check_alike, write_checkpoint
from fer_lightning.training.evaluate_checkpoint import Evaluation, Rescored

AVERAGE = "checkpoints/average.ckpt"
log = logging.getLogger(__name__)


def average_weights(cfg: DictConfig) -> Difference:
    """Write the checkpoint of the mean weights of `cfg.runs`, and score it on `cfg.split`.

    With `average=greedy_weights` the checkpoints are taken in the order of their accuracy on validation images, and
    each is kept if the mean with it is not worse there (the greedy soup of Wortsman et al., 2022). Returns the gain in
    accuracy over the best single checkpoint; raises a UserError where checkpoints or data cannot be used.
    """
    evaluations = [evaluation_of(path, cfg, _settings(path)) for path in _paths(cfg)]
    check_alike([evaluation.checkpoint for evaluation in evaluations])
    accuracies = [_accuracy(_predict(one, "validation")) for one in evaluations]
    ranked = [evaluations[place] for place in np.argsort(np.negative(accuracies), kind="stable")]
    best, *others = ranked
    data = best.open_data()
    chosen = ranked
    if cfg.average == "greedy_weights":
        chosen, accuracy = [best], max(accuracies)
        for other in others:
            tried = _accuracy(_predict(_mean(best, [*chosen, other], data), "validation"))
            if tried >= accuracy:
                chosen, accuracy = [*chosen, other], tried
    mean = _mean(best, chosen, data)
    done, alone = _predict(mean, cfg.split), _predict(best, cfg.split)
    gain = paired_difference(_right(done.table), _right(alone.table))
    folder = Path(cfg.output_dir)
    write_checkpoint(mean.checkpoint, folder / AVERAGE)
    write_environment(folder, data={"fingerprint": done.data.source.fingerprint})
    metrics = write_results(done.table, done.images, folder, **_facts(mean, done, chosen, gain))
    console.print_results(metrics, folder)
    _print_gain(chosen, ranked, gain, folder)
    return gain


def _paths(cfg: DictConfig) -> list[Path]:
    """Return the files that are named, or the best checkpoints of the best runs in the folders that are."""
    places = [expand_user(Path(place)) for place in cfg.runs]
    files = [place for place in places if place.suffix == ".ckpt"]
    if not files:
        runs, _ = read_runs(find_runs(cfg.runs))
        return [run.folder / BEST_CHECKPOINT for run in rank_members(runs, cfg.top)[: cfg.top]]
    if len(files) < len(places):
        raise ConfigError("name either checkpoints or folders of runs, not both")
    if len(files) < 2:
        raise DataError("an average needs two checkpoints, and there is 1: name more of them")
    return files


def _settings(checkpoint: Path) -> dict[str, Any]:
    folder = run_of(checkpoint)
    return {} if folder is None else dict(read_run(folder, folder.name).settings.values)


def _mean(best: Evaluation, members: Sequence[Evaluation], data: Any) -> Evaluation:
    checkpoints = [member.checkpoint for member in members]
    return Evaluation(best.cfg, average_checkpoints(checkpoints, data, selected_on="validation"))


def _predict(evaluation: Evaluation, split: str) -> Rescored:
    cfg = evaluation.cfg.copy()
    cfg.split = split
    log.info(f"{evaluation.checkpoint.path} predicts the {split} images")
    return Evaluation(cfg, evaluation.checkpoint).predict(announce=False)


def _right(table: pd.DataFrame) -> Any:
    return (table["label"] == table["predicted"]).to_numpy(dtype=bool)


def _accuracy(done: Rescored) -> float:
    return float(_right(done.table).mean())


def _facts(mean: Evaluation, done: Rescored, members: Sequence[Evaluation], gain: Difference) -> dict[str, Any]:
    """Return what the scores are about, for `metrics.json`."""
    weights = mean.checkpoint.content["state_dict"].values()
    return {
        "split": done.split,
        "same_data": done.same_data,
        **{f"left_out_in_{role}": count for role, count in done.left_out.items() if count},
        **mean.checkpoint.selection,
        "partial": len(done.table) < done.asked or done.data.limit is not None,
        "checkpoint": AVERAGE,
        "model": mean.checkpoint.hyper_parameters["backbone"],
        "parameters": sum(value.numel() for value in weights if value.is_floating_point()),
        "data": done.data.notes[0],
        "members": [str(member.checkpoint.path) for member in members],
        "gain": gain.value,
        "gain_interval": [gain.low, gain.high],
        "gain_p": gain.p,
    }


def _print_gain(chosen: Sequence[Evaluation], ranked: Sequence[Evaluation], gain: Difference, folder: Path) -> None:
    points = f"{100 * gain.value:+.2f} percentage points [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
    print(f"the mean of {len(chosen)} of {len(ranked)} checkpoints: {points} over {ranked[0].checkpoint.path}")
    if gain.high < 0:
        why = "their networks hardly come from one course of training, and their weights have no mean in common"
        log.warning(f"the mean is worse than its best member: {why}; type average=predictions")
    print(f"to use it: {path_setting('ckpt_path', folder / AVERAGE)}")
