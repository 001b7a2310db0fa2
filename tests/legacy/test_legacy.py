"""Checkpoints, runs and sweeps that version 0.1 wrote, before its modules were moved: see data/README.md."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from fer_lightning import compare, evaluate, train
from fer_lightning.core.former_names import KEYS, TARGETS
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs.read import read_runs
from fer_lightning.runs.settings import differing_keys
from fer_lightning.runs.status import Status, read_status

DATA = Path(__file__).parent / "data"


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old folders, in the working directory, as they were written."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(DATA, tmp_path / "old")


def resume(folder: Path) -> str:
    """Resume a sweep in a process of its own and return what it printed."""
    command = [sys.executable, "-m", "fer_lightning.train", "-m", f"sweep.resume={folder}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def statuses(folder: Path) -> dict[str, Status]:
    found = {path.parent.name: read_status(path.parent) for path in folder.glob("*/status.json")}
    return {name: status for name, status in sorted(found.items()) if status is not None}


def epochs(folder: Path) -> list[int]:
    return pd.read_csv(folder / "history.csv")["epoch"].tolist()


@pytest.mark.parametrize("name", ["best", "last"])
def test_a_checkpoint_is_loaded_without_running_code_and_predicts(name: str) -> None:
    path = DATA / "train" / "checkpoints" / f"{name}.ckpt"
    weights = torch.load(path, weights_only=True)["state_dict"]
    model = Checkpoint.read(path).build()
    assert model.state_dict().keys() == weights.keys()
    with torch.inference_mode():
        logits = model(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
    assert (logits.shape, logits.isfinite().all().item()) == ((2, 7), True)


def test_a_checkpoint_is_scored_as_it_was(old: Path) -> None:
    checkpoint = old / "train" / "checkpoints" / "best.ckpt"
    accuracy = evaluate.main([f"ckpt_path={checkpoint}", "trainer.precision=32-true", "hydra.run.dir=again"])
    assert accuracy == json.loads((old / "train" / "metrics.json").read_text())["accuracy"]
    before, after = (pd.read_csv(folder / "predictions.csv") for folder in (old / "train", Path("again")))
    assert after["predicted"].tolist() == before["predicted"].tolist()
    classes = before.columns[4:]
    np.testing.assert_allclose(after[classes], before[classes], atol=1e-4)


def test_a_run_is_continued_from_its_last_checkpoint(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = old / "train"
    first = pd.read_csv(run / "history.csv")
    train.main([f"ckpt_path={run / 'checkpoints' / 'last.ckpt'}", "trainer.max_epochs=2"])
    history = pd.read_csv(run / "history.csv")
    assert history["epoch"].tolist() == [1, 2]
    pd.testing.assert_frame_equal(history.head(1)[first.columns], first)
    status = read_status(run)
    assert (status.status, status.attempts) == ("finished", 2)
    assert f"continuing {run} with its own settings" in capsys.readouterr().err
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert (state["epoch"], state["global_step"]) == (1, 2)


def test_old_runs_are_read_and_compared(old: Path) -> None:
    compare.main([str(old), "hydra.run.dir=out"])
    table = pd.read_csv("out/compare.csv").set_index("run")
    for name, state in (
        ("train", "finished"),
        ("0_lr=0.001", "finished"),
        ("1_lr=0.01", "interrupted"),
        ("0_lr=0.02765", "finished"),
        ("1_lr=0.01255", "interrupted"),
    ):
        row = table.loc[name]
        metrics = Path(row["folder"], "metrics.json")
        assert row["status"] == state
        if metrics.exists():
            assert row["accuracy"] == json.loads(metrics.read_text())["accuracy"]
            assert row["command"].startswith("python -m fer_lightning.train ")
    assert len(table) == 5


def test_an_old_run_differs_from_a_new_one_in_nothing_but_what_was_typed(old: Path) -> None:
    overrides = yaml.safe_load((old / "train" / ".hydra" / "overrides.yaml").read_text())
    train.main([*overrides, "hydra.run.dir=new"])
    (before, after), _ = read_runs([old / "train", Path("new")])
    assert differing_keys([before.settings, after.settings]) == []
    assert before.status.started == "2026-11-29T20:24:48+00:00"
    assert before.scored.digest == after.scored.digest


@pytest.mark.slow
def test_a_sweep_skips_its_finished_job_continues_the_killed_one_and_starts_the_third(old: Path) -> None:
    folder = old / "sweep"
    before, finished = statuses(folder), (folder / "0_lr=0.001" / "status.json").read_bytes()
    assert [status.status for status in before.values()] == ["finished", "running"]
    begun = epochs(folder / "1_lr=0.01")
    said = resume(folder)
    jobs = statuses(folder)
    assert {name: (status.status, status.attempts) for name, status in jobs.items()} == {
        "0_lr=0.001": ("finished", 1),
        "1_lr=0.01": ("finished", 2),
        "2_lr=0.03": ("finished", 1),
    }, said
    assert (folder / "0_lr=0.001" / "status.json").read_bytes() == finished
    assert begun == [1, 2, 3]
    history = pd.read_csv(folder / "1_lr=0.01" / "history.csv")
    assert history["epoch"].tolist() == [*range(1, len(history) + 1)]
    pd.testing.assert_frame_equal(
        history.head(3), pd.read_csv(DATA / "sweep" / "1_lr=0.01" / "history.csv"), check_exact=False
    )


@pytest.mark.slow
def test_a_study_keeps_its_trials_and_continues_the_killed_one(old: Path) -> None:
    pytest.importorskip("optuna", reason="needs the extra sweep")
    from fer_lightning.sweeps.study import open_storage, study_url

    folder = old / "optuna"
    (first, finished), (second, _) = statuses(folder).items()
    said = resume(folder)
    jobs = statuses(folder)
    assert len(jobs) == 3, said
    assert {status.status for status in jobs.values()} == {"finished"}
    assert jobs[first] == finished
    assert jobs[second].attempts == 2
    assert epochs(folder / second)[:4] == [1, 2, 3, 4]

    import optuna

    trials = optuna.load_study(study_name="train", storage=open_storage(study_url(folder))).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE"] * 3
    assert trials[0].value == finished.values["val/acc"]


def test_every_former_address_has_one_that_exists() -> None:
    for path in sorted(DATA.rglob(".hydra/config.yaml")):
        for line in path.read_text().splitlines():
            key, _, address = line.strip().removeprefix("- ").partition(": ")
            if key == "_target_" and address.startswith("fer_lightning."):
                assert address in TARGETS or exists(address), f"{address}, as in {path}, has no name in former_names.py"
    for former, current in TARGETS.items():
        assert exists(current), current
        assert not exists(former), f"{former} is no former name"


def test_keys_that_status_files_hold_are_read() -> None:
    written = json.loads((DATA / "train" / "status.json").read_text())
    known = set(Status.__dataclass_fields__)
    assert {KEYS.get(key, key) for key in written} <= known


def exists(address: str) -> bool:
    module, _, name = address.rpartition(".")
    try:
        return hasattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        return False
