"""Optuna sweeps, for real: what trials are told, pruned, killed and continued, and what two ranks of one train."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from filelock import FileLock

from fer_lightning.runs.status import read_status

optuna = pytest.importorskip("optuna", reason="needs the extra sweep")

from fer_lightning.sweeps.study import open_storage, study_url  # noqa: E402

pytestmark = pytest.mark.slow
TINY = (
    "data.synthetic={train: 28, validation: 14, test: 14}",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "logger=none",
)


def start_sweep(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a sweep in `folder`, in a session of its own."""
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *arguments]
    path = os.pathsep.join([str(folder.parent), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        cwd=folder.parent,
        start_new_session=True,
    )


def run_sweep(folder: Path, *arguments: str) -> tuple[int, str]:
    sweep = start_sweep(folder, *arguments)
    said = sweep.communicate(timeout=240)[0]
    return sweep.returncode, said


def fresh(folder: Path, *arguments: str) -> tuple[str, ...]:
    """Return the arguments of a new sweep in a folder."""
    return ("sweep=optuna", *TINY, f"hydra.sweep.dir={folder}", *arguments)


def trials(place: Path) -> list[Any]:
    """Return the trials in `study.db` of a folder."""
    return load(place).trials


def load(place: Path) -> Any:
    storage = open_storage(study_url(place))  # which leaves no file open
    return optuna.load_study(study_name="train", storage=storage)


def jobs(folder: Path) -> list[Path]:
    found = (path for path in folder.iterdir() if path.is_dir())
    return sorted(found, key=lambda path: int(path.name.partition("_")[0]))


def wait_for(there: Callable[[], object], sweep: subprocess.Popen[str], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert sweep.poll() is None, sweep.communicate()[0]
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


# what trials are told


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """Six random draws, two at once, among a right, an impossible and a diverging rate."""
    folder = tmp_path_factory.mktemp("drawn") / "sweep"
    rates, sampler = "optimizer.lr=choice(1e-3,-1.0,1e+30)", "hydra/sweeper/sampler=random"
    counts = ("hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=2", "hydra.sweeper.sampler.seed=1")
    objectives = "sweep.objectives=[val/acc,latency,parameters]"
    code, said = run_sweep(folder, *fresh(folder, rates, sampler, *counts, objectives))
    return folder, code, said


def test_equal_trials_are_one_job_and_each_outcome_is_told(drawn: tuple[Path, int, str]) -> None:
    folder, code, said = drawn
    assert code == 0, said
    told = trials(folder)
    assert len(told) == 6
    outcomes = {(trial.params["optimizer.lr"], trial.state.name, trial.user_attrs.get(".reason")) for trial in told}
    assert outcomes == {
        (1e-3, "COMPLETE", None),
        (-1.0, "FAIL", "configuration"),
        (1e30, "FAIL", "diverged"),
    }
    assert len(jobs(folder)) == 3
    assert [read_status(job).attempts for job in jobs(folder)] == [1, 1, 1]
    assert said.count("epoch 2/2") == 1
    failed = next(trial for trial in told if trial.user_attrs.get(".reason") == "diverged")
    assert "the loss is not finite" in failed.user_attrs[".message"]
    assert (folder / failed.user_attrs[".job"]).is_dir()


def test_several_objectives_leave_a_front(drawn: tuple[Path, int, str]) -> None:
    folder, _, said = drawn
    study = load(folder)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]
    done = next(trial for trial in study.trials if trial.state.name == "COMPLETE")
    values = read_status(folder / done.user_attrs[".job"]).values
    assert list(values) == ["val/acc", "latency", "parameters"]
    assert done.values == list(values.values())
    metrics = json.loads((folder / done.user_attrs[".job"] / "metrics.json").read_text())
    assert values["parameters"] == metrics["parameters"] > 1e6
    assert values["val/acc"] == metrics["monitored"]
    assert 0 < values["latency"] < 1000
    written = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert written["solutions"][0]["values"] == values
    assert written["solutions"][0]["overrides"] == ["optimizer.lr=0.001"]
    assert "no other trial is better in all" in said


def test_failed_trials_are_tried_again_if_asked(drawn: tuple[Path, int, str]) -> None:
    folder, _, _ = drawn
    before = {job.name: read_status(job).attempts for job in jobs(folder)}
    code, said = run_sweep(folder, f"sweep.resume={folder}", "sweep.retry=true")
    assert code == 0, said
    again = [trial for trial in trials(folder) if ".repeats" in trial.user_attrs]
    failed = [trial for trial in trials(folder)[:6] if trial.state.name == "FAIL"]
    assert [trial.user_attrs[".repeats"] for trial in again] == [trial.number for trial in failed]
    assert [trial.params for trial in again] == [trial.params for trial in failed]
    assert len(trials(folder)) == 6 + len(failed), "and no new ones"
    assert len(failed) > len({trial.user_attrs[".job"] for trial in failed}), "some are equal"
    assert {read_status(job).attempts for job in jobs(folder)} == {1, 2}, "once, for all that are equal"
    tried = {job.name for job in jobs(folder) if read_status(job).attempts > before[job.name]}
    assert tried == {trial.user_attrs[".job"] for trial in failed}


# pruning, on a grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A rate that learns and then two that cannot: the grid's seed says in which order."""
    folder = tmp_path_factory.mktemp("grid") / "sweep"
    values = ("optimizer.lr=choice(3e-3,1e-9,2e-9)", "hydra/sweeper/sampler=grid", "hydra.sweeper.sampler.seed=5")
    scores = ("monitor=train/loss", "mode=min", "augmentation=none", "model.drop_rate=0", "data.batch_size=7")
    pruner = ("sweep.pruner.n_startup_trials=1", "sweep.pruner.n_warmup_steps=4", "trainer.max_epochs=6")
    code, said = run_sweep(folder, *fresh(folder, *values, *scores, *pruner, "hydra.sweeper.n_trials=30"))
    assert code == 0, said
    return folder, said


def test_a_rate_that_cannot_learn_is_pruned(grid: tuple[Path, str]) -> None:
    folder, said = grid
    told = trials(folder)
    assert told[0].params == {"optimizer.lr": 3e-3}
    assert [trial.state.name for trial in told] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert [read_status(job).status for job in jobs(folder)] == ["finished", "pruned", "pruned"]
    assert list(told[0].intermediate_values) == [1, 2, 3, 4, 5, 6]
    for trial, job in zip(told[1:], jobs(folder)[1:], strict=True):
        assert list(trial.intermediate_values) == [1, 2, 3, 4], "four epochs, and no fifth"
        status = read_status(job)
        assert status.values == {"train/loss": pytest.approx(min(trial.intermediate_values.values()))}
        assert "after epoch 4, train/loss 1.9" in status.message
        assert (job / "checkpoints" / "last.ckpt").is_file()
        assert not (job / "metrics.json").exists(), "nothing is scored"
    assert "1 finished, 2 pruned" in said


def test_a_grid_is_run_once(grid: tuple[Path, str]) -> None:
    folder, _ = grid
    assert sorted(trial.params["optimizer.lr"] for trial in trials(folder)) == [1e-9, 2e-9, 3e-3]
    written = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert (written["number"], written["best_params"]) == (0, {"optimizer.lr": 3e-3})
    assert written["job"] == jobs(folder)[0].name


# killed and continued


def test_a_killed_sweep_loses_no_trial_and_doubles_none(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=3", "trainer.max_epochs=8")
    sweep = start_sweep(folder, *fresh(folder, *space))
    wait_for(lambda: [*folder.glob("1_*/checkpoints/last.ckpt")], sweep)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    assert [trial.state.name for trial in trials(folder)] == ["COMPLETE", "RUNNING"]
    rates = [trial.params["optimizer.lr"] for trial in trials(folder)]
    reports = trials(folder)[1].intermediate_values
    before = [(job / "metrics.json").stat().st_mtime_ns for job in jobs(folder)[:1]]

    with FileLock(folder / "study.lock"):
        code, said = run_sweep(folder, f"sweep.resume={folder}")
    assert code == 1
    assert f"{folder} is in use by another process" in said.splitlines()[-1]

    code, said = run_sweep(folder, f"sweep.resume={folder}")
    assert code == 0, said
    told = trials(folder)
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 3
    assert [trial.params["optimizer.lr"] for trial in told][:2] == rates
    assert len({trial.params["optimizer.lr"] for trial in told}) == 3
    assert [trial.user_attrs[".job"] for trial in told] == [job.name for job in jobs(folder)]
    assert [read_status(job).attempts for job in jobs(folder)] == [1, 2, 1]
    assert [(job / "metrics.json").stat().st_mtime_ns for job in jobs(folder)[:1]] == before
    assert list(told[1].intermediate_values) == [1, 2, 3, 4, 5, 6, 7, 8], "none of them twice"
    assert reports.items() <= told[1].intermediate_values.items()
    assert [trial.values for trial in told] == [[read_status(job).values["val/acc"]] for job in jobs(folder)]
    assert "already reported" not in said
    assert "1 trials of an earlier session go on" in said


# two ranks a trial

RECORDER = """
import json, os
from pathlib import Path
import lightning.pytorch as pl

NAMES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")

class Recorder(pl.Callback):
    def __init__(self, folder):
        self.folder, self.found = folder, {name: os.environ[name] for name in NAMES if name in os.environ}

    def on_train_start(self, trainer, module):
        rate, drop = trainer.optimizers[0].param_groups[0]["initial_lr"], module.hparams["drop_rate"]
        facts = {"lr": rate, "drop_rate": drop, "found": self.found, "port": os.environ["MASTER_PORT"]}
        place = Path(self.folder)
        place.mkdir(exist_ok=True)
        (place / f"rank{trainer.global_rank}.json").write_text(json.dumps(facts))
"""


def test_both_ranks_of_a_trial_train_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    (tmp_path / "recorder.py").write_text(RECORDER)
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.batch_size=7")
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "model.drop_rate=interval(0.0,0.5)")
    recorder = (
        "+callbacks.recorder={_target_: recorder.Recorder, folder: '${output_dir}/ranks'}",
        "security.allow=[recorder]",
    )
    code, said = run_sweep(folder, *fresh(folder, *ranks, *space, *recorder, "hydra.sweeper.n_trials=2"))
    assert code == 0, said
    told = trials(folder)
    assert [trial.state.name for trial in told] == ["COMPLETE"] * 2
    assert [list(trial.intermediate_values) for trial in told] == [[1, 2]] * 2, "one rank speaks for both"
    assert len(jobs(folder)) == 2
    assert told[0].params != told[1].params
    for trial, job in zip(told, jobs(folder), strict=True):
        first, second = (json.loads((job / "ranks" / f"rank{rank}.json").read_text()) for rank in (0, 1))
        assert (first["lr"], first["drop_rate"]) == (second["lr"], second["drop_rate"])
        assert first["lr"] == trial.params["optimizer.lr"]
        assert first["drop_rate"] == trial.params["model.drop_rate"]
        assert first["port"] == second["port"]
        assert first["found"] == {}, "nothing is left of the job before"
    assert [path.name for path in tmp_path.glob("outputs*")] == [], "the ranks write to the job's folder"


# storages that fail


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as full:
        try:
            while True:
                full.write(bytes(1024))
        except OSError:
            pass


def check_integrity(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_a_full_disk_ends_the_sweep_and_harms_no_study(tmp_path: Path, small_disk: Path) -> None:
    folder = tmp_path / "sweep"
    storage = f"sweep.storage='sqlite:///{small_disk / 'study.db'}'"
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-2))", "hydra.sweeper.n_trials=2", "trainer.max_epochs=30")
    sweep = start_sweep(folder, *fresh(folder, storage, *space))
    wait_for(lambda: [*folder.glob("0_*/checkpoints/last.ckpt")], sweep)
    fill(small_disk / "filler")
    said = sweep.communicate(timeout=120)[0]
    assert sweep.returncode == 1, said
    last = said.rstrip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "database or disk is full" in last
    assert "sweep.resume=" in last
    assert "Traceback" not in said
    (small_disk / "filler").unlink()
    assert check_integrity(small_disk / "study.db") == "ok"

    code, said = run_sweep(folder, f"sweep.resume={folder}")
    assert code == 2, "a file in a folder does not choose a data base"
    assert f'was started with "{storage}", which a file may not choose: type that again' in said
    code, said = run_sweep(folder, f"sweep.resume={folder}", storage, "hydra.sweeper.n_trials=1")
    assert code == 0, said
    assert [trial.state.name for trial in trials(small_disk)] == ["COMPLETE"]
    assert [(read_status(job).status, read_status(job).attempts) for job in jobs(folder)] == [("finished", 2)]
    reported = trials(small_disk)[0].intermediate_values
    assert [*reported] == pd.read_csv(jobs(folder)[0] / "history.csv")["epoch"].tolist()

    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, said = run_sweep(folder, f"sweep.resume={folder}", storage)
    assert code == 1
    assert "attempt to write a readonly database" in said.splitlines()[-1]
    code, said = run_sweep(folder, *fresh(small_disk / "sweep", *space))
    assert (code, len(said.strip().splitlines())) == (1, 1), said
    assert "Read-only file system" in said
