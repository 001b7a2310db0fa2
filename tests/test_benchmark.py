"""The verb from the command line."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.startup import starts, startup
from fer_lightning.benchmarks.suites import SUITES
from fer_lightning.config.check import Suite, check_config
from fer_lightning.core.errors import ConfigError

TINY = (
    "data.synthetic={train: 42, validation: 14, test: 7}",
    "data.image_size=32",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "window=0.1",
    "windows=2",
)


def program(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fer_lightning.benchmark", *TINY, f"hydra.run.dir={folder / 'out'}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


@pytest.mark.slow
def test_the_verb_measures_and_writes(tmp_path: Path) -> None:
    done = program(tmp_path, "suite=[inference]")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert len(record["rows"]) >= 7
    for row in record["rows"]:
        assert (row["suite"], row["failed"], row["skipped"]) == ("inference", None, None)
        assert row["ours"]["count"] == row["baseline"]["count"] == row["ratio"]["count"]
        assert row["ours"]["count"] == 2 or row["what"].startswith("app: ")  # a window may see no upload begin
        assert row["ours"]["low"] > 0
        assert row["memory"] is None or min(row["memory"]) > 50
    assert record["environment"]["machine"]["precision"] == "32-true"
    assert "| bare loop |" in (tmp_path / "out" / "benchmark.md").read_text()
    assert "bare loop: inference_mode" in done.stdout
    assert not (tmp_path / "out" / "logs").exists()


@pytest.mark.slow
def test_a_failed_row_costs_no_other_and_is_told_at_the_end(tmp_path: Path) -> None:
    done = program(tmp_path, "suite=[train,startup]", "callbacks.history.folder=/dev/null/x")
    assert done.returncode == 1
    rows = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    failed = [row for row in rows if row["failed"] is not None]
    assert {row["suite"] for row in failed} == {"train"}
    assert all("/dev/null/x" in row["failed"] for row in failed if row["against"] != "Keras fit")
    others = [row for row in rows if row["suite"] == "startup"]
    assert [row["ours"]["count"] for row in others] == [2] * 6
    assert f"error: {len(failed)} of {len(rows)} rows failed" in done.stderr
    reasons = " ".join(row["skipped"] for row in rows if row["skipped"] is not None)
    assert "needs a GPU" in reasons
    assert ("TensorFlow" in reasons) == (importlib.util.find_spec("tensorflow") is None)
    logs = [log.read_text() for log in (tmp_path / "out" / "logs").glob("*_ours.log")]
    assert len(logs) == len(failed)
    assert all("Traceback" in text for text in logs)


@pytest.mark.slow
def test_data_that_cannot_be_used_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = program(tmp_path, f"data.root={tmp_path / 'empty'}")
    assert done.returncode == 3
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "empty") in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("suite=[trian]", r"suite=\['trian'\] is not a list of some of startup, .*; did you mean train\?"),
        ("suite=train", r"suite=train is not a list of some of startup, pipeline, .*; type 'suite=\[train\]'"),
        ("suite=[]", r"suite=\[\] leaves nothing to measure: type suite=\[train\]"),
        ("window=0", "window=0.0 must be at least 0.05: type window=0.05"),
        ("windows=1", "windows=1 must be at least 2"),
        ("windows=2.5", "windows=2.5 is not a whole number"),
        ("trainer.devices=2", "the benchmark measures one device: type trainer.devices=1"),
    ],
)
def test_bad_settings_are_told(compose: Callable[..., DictConfig], typed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_config(compose("benchmark", "trainer=cpu", "output_dir=out", typed))


def test_every_suite_that_can_be_typed_is_there(compose: Callable[..., DictConfig]) -> None:
    assert tuple(SUITES) == get_args(Suite)
    asked_for = {"memory", "sweep", "faces"}  # which fill the disk, or take many minutes
    assert {*compose("benchmark", "output_dir=out").suite} == {*SUITES} - asked_for


def bench_of(compose: Callable[..., DictConfig], folder: Path, *overrides: str) -> Bench:
    typed = (*TINY, f"data.cache_dir={folder / 'cache'}", *overrides)
    return Bench(compose("benchmark", *typed, "output_dir=out"), typed, (), folder, facts={})


@pytest.mark.slow
def test_starting_is_timed_to_the_first_step(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    rows = {row.what: row for row in startup(bench_of(compose, tmp_path))}
    assert [row.failed for row in rows.values()] == [None] * len(rows)
    assert all(row.ours.count == 2 for row in rows.values())
    runs = sorted(tmp_path.glob("run-*"))
    assert len(runs) == 3  # one to warm up
    assert all((run / "environment.json").exists() for run in runs)  # which is written as training begins
    assert not list(tmp_path.rglob("batch.png"))  # which is drawn after the first step
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_command_to_the_first_step_is_the_users_own(compose: Callable[..., DictConfig], tmp_path: Path) -> None:
    last = starts(bench_of(compose, tmp_path, "model=keras_cnn", "suite=[startup]"))[-1]
    assert "model=keras_cnn" in last.ours
    assert not {"window=0.1", "windows=2", "suite=[startup]"} & set(last.ours)
    assert "data.batch_size=16" in last.ours
