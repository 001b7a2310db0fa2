"""The callback that ends hopeless trials: what it reports, when it leaves, and that ranks leave together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from fer_lightning.core.errors import StorageError
from fer_lightning.runs.status import Pruned
from fer_lightning.system.resources import JOB_VARIABLE

optuna = pytest.importorskip("optuna", reason="needs the extra sweep")

from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner, ThresholdPruner  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from fer_lightning.sweeps.pruning import PruneTrial  # noqa: E402
from fer_lightning.sweeps.study import Study, study_url  # noqa: E402

MONITOR = "val/acc"


class Scored(pl.LightningModule):
    """Logs the scores it is given, one an epoch."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.layer, self.scores = torch.nn.Linear(1, 1), scores

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).mean()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log(MONITOR, self.scores[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study with one finished trial of 0.5 in each epoch, seen from a job."""
    monkeypatch.setenv(JOB_VARIABLE, "1")
    study = Study(study_url(tmp_path), "train", ["maximize"], "me")
    good = study.ask()
    for epoch in range(1, 5):
        good.report(0.5, epoch)
    study.tell(good, TrialState.COMPLETE, [0.5])
    return study


def fit(study: Study, scores: Sequence[float], pruner: object, trial: int = 1, **settings: object) -> pl.Trainer:
    options = {"epochs": len(scores), "ckpt_path": None, "callbacks": [], "every": 1, **settings}
    prune = PruneTrial(pruner, MONITOR, study.url, "train", trial, options.get("objectives"))
    loader = torch.utils.data.DataLoader(torch.ones(2, 1))
    trainer = pl.Trainer(
        max_epochs=options["epochs"],
        check_val_every_n_epoch=options["every"],
        callbacks=[prune, *options["callbacks"]],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=bool(options["callbacks"]),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
    )
    trainer.fit(Scored(scores), loader, loader, ckpt_path=options["ckpt_path"])
    return trainer


def reports(study: Study, number: int = 1) -> dict[int, float]:
    return {step: round(value, 4) for step, value in study.trials()[number].intermediate_values.items()}


@pytest.mark.slow
def test_a_hopeless_trial_leaves_before_its_next_epoch(study: Study, tmp_path: Path) -> None:
    study.ask()
    last = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    with pytest.raises(Pruned, match=r"after epoch 2, val/acc 0\.2 \(threshold\)"):
        fit(study, [0.6, 0.2, 0.2, 0.2], ThresholdPruner(lower=0.4), callbacks=[last])
    assert reports(study) == {1: 0.6, 2: 0.2}
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 1, "the epoch that was judged is kept"


@pytest.mark.parametrize("pruner", [MedianPruner(n_startup_trials=1), HyperbandPruner(max_resource=2)])
def test_shipped_pruners_look_at_the_other_trials(study: Study, pruner: object) -> None:
    good = study.ask()
    fit(study, [0.9] * 4, pruner)
    assert reports(study) == dict.fromkeys(range(1, 5), 0.9)
    study.tell(good, TrialState.COMPLETE, [0.9])
    study.ask()
    with pytest.raises(Pruned):
        fit(study, [0.1] * 4, pruner, trial=2)
    assert 1 <= len(reports(study, 2)) < 4


def test_a_trial_in_its_last_epoch_is_finished(study: Study) -> None:
    study.ask()
    assert fit(study, [0.1], ThresholdPruner(lower=0.4)).current_epoch == 1


@pytest.mark.slow
def test_a_resumed_trial_reports_no_step_twice(study: Study, tmp_path: Path) -> None:
    study.ask()
    last = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    fit(study, [0.6, 0.7, 0.8], NopPruner(), callbacks=[last])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*already reported.*")
        fit(study, [0.0, 0.1, 0.2, 0.9], NopPruner(), ckpt_path=str(tmp_path / "epoch=0.ckpt"))
    assert reports(study) == {1: 0.6, 2: 0.7, 3: 0.8, 4: 0.9}


def test_epochs_without_validation_report_nothing(study: Study) -> None:
    study.ask()
    fit(study, [0.6, 0.7, 0.8, 0.9], NopPruner(), every=2)
    assert reports(study) == {2: 0.7, 4: 0.9}


@pytest.mark.parametrize("case", ["no job", "no trial", "several objectives", "told before"])
def test_nothing_is_done_where_no_trial_can_be_pruned(study: Study, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    trial = study.ask()
    if case == "no job":
        monkeypatch.delenv(JOB_VARIABLE)
    if case == "told before":
        study.tell(trial, TrialState.FAIL)
    objectives = [MONITOR, "latency"] if case == "several objectives" else None
    fit(study, [0.1, 0.1], ThresholdPruner(lower=0.4), None if case == "no trial" else 1, objectives=objectives)
    assert reports(study) == {}


@pytest.mark.slow
def test_a_storage_that_fails_amid_a_run_is_told_once(study: Study, tmp_path: Path) -> None:
    study.ask()

    class Away(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            if trainer.current_epoch == 0:
                (tmp_path / "study.db").rename(tmp_path / "moved.db")
                (tmp_path / "study.db").mkdir()

    with pytest.raises(StorageError, match=r"study\.db cannot be read or written \(unable to open database file\)"):
        fit(study, [0.6, 0.7, 0.8], NopPruner(), callbacks=[Away()])
    (tmp_path / "study.db").rmdir()
    (tmp_path / "moved.db").rename(tmp_path / "study.db")
    assert reports(study) == {1: 0.6}


RANKS = """
import json, sys
import lightning.pytorch as pl, torch
from optuna.pruners import ThresholdPruner
from fer_lightning.core.errors import StorageError
from fer_lightning.runs.status import Pruned
from fer_lightning.sweeps.pruning import PruneTrial

class Scored(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, batch_idx):
        return self.layer(batch).mean()
    def validation_step(self, batch, batch_idx):
        self.log("val/acc", 0.5 - 0.1 * self.current_epoch + self.global_rank, sync_dist=False)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    folder, url = sys.argv[1:]
    prune = PruneTrial(ThresholdPruner(lower=0.45), "val/acc", url, "train", 1)
    trainer = pl.Trainer(max_epochs=5, accelerator="cpu", devices=2, strategy="ddp", callbacks=[prune], logger=False,
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    loader = torch.utils.data.DataLoader(torch.ones(4, 1))
    try:
        trainer.fit(Scored(), loader, loader)
        ended = "finished"
    except (Pruned, StorageError) as error:
        ended = type(error).__name__
    with open(f"{folder}/{trainer.global_rank}.json", "w") as file:
        json.dump([ended, trainer.current_epoch], file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("ended", ["Pruned", "StorageError"])
def test_ranks_leave_together_by_the_score_of_the_first(study: Study, tmp_path: Path, ended: str) -> None:
    study.ask()
    (tmp_path / "fit.py").write_text(RANKS)
    url = study.url if ended == "Pruned" else "sqlite:////nowhere/study.db"
    command = [sys.executable, str(tmp_path / "fit.py"), str(tmp_path), url]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, stdin=subprocess.PIPE, env={**os.environ}
    )
    assert done.returncode == 0, done.stderr
    epoch = 2 if ended == "Pruned" else 0
    assert [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)] == [[ended, epoch]] * 2
    assert list(reports(study)) == ([1, 2] if ended == "Pruned" else [])
