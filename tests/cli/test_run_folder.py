"""Each run has a folder of its own, however many start at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import hydra
import pytest
from omegaconf import DictConfig

from fer_lightning.cli.command import run_verb
from fer_lightning.runs import run_lock
from fer_lightning.runs.run_lock import RunLock
from fer_lightning.runs.status import read_status

NAMED = "hydra.run.dir=mine"
TINY = (
    "data.synthetic={train: 56, validation: 21, test: 21}",
    "data.image_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "callbacks=none",
    "logger=none",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_lock, "PATIENCE", 0.1)
    return tmp_path


def folder_of(cfg: DictConfig) -> Path:
    return Path(hydra.core.hydra_config.HydraConfig.get().runtime.output_dir)


@pytest.mark.parametrize("verb", ["train", "evaluate", "compare"])
def test_the_second_run_of_a_second_takes_another_name(
    verb: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = type("Clock", (), {"now": staticmethod(lambda: datetime(2026, 11, 30, 12, 0, 0))})
    monkeypatch.setattr("hydra.core.utils.datetime", clock)
    needed = ["ckpt_path=x", "data=synthetic"] if verb == "evaluate" else []
    found: list[Path] = []
    for _ in range(3):
        run_verb(verb, lambda cfg: found.append(folder_of(cfg)), needed)
    first, *others = (path.relative_to(elsewhere).as_posix() for path in found)
    assert others == [f"{first}_2", f"{first}_3"]
    assert all((path / ".hydra" / "config.yaml").is_file() for path in found)
    assert list(elsewhere.rglob("run.lock")) == []


def test_a_folder_in_use_is_refused_before_anything_is_written(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_verb("train", lambda cfg: None, [NAMED, "seed=1"])
    before = {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()}
    lock = RunLock(Path("mine"))
    with pytest.raises(SystemExit) as stop:
        run_verb("train", lambda cfg: None, [NAMED, "seed=2"])
    lock.release()
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert said == (
        f"error: mine is in use by another run (process {os.getpid()}): wait until it has ended, or type another"
        " hydra.run.dir=FOLDER\n"
    )
    assert {path: path.read_bytes() for path in Path("mine").rglob("*") if path.is_file()} == before
    run_verb("train", lambda cfg: None, ["hydra.run.dir=other", "seed=2"])  # what was advised


def test_what_a_killed_run_left_half_written_is_removed(elsewhere: Path) -> None:
    for name in ("mine/.metrics.csv.01234567.new", "mine/checkpoints/.last.ckpt.01234567.new", "mine/checkpoints/a"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    run_verb("train", lambda cfg: None, [NAMED])
    assert [path.name for path in Path("mine").rglob("*") if path.name.endswith(".new")] == []
    assert Path("mine/checkpoints/a").exists()


@pytest.mark.slow
def test_runs_that_start_together(elsewhere: Path) -> None:
    """Three at once: without a name, each has a folder; with one name, one runs and the others are refused."""

    def start(*typed: str) -> list[subprocess.CompletedProcess[str]]:
        command = [sys.executable, "-m", "fer_lightning.train", *TINY, *typed]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children = [subprocess.Popen([*command, f"seed={seed}"], **pipes) for seed in range(3)]  # type: ignore[call-overload]
        ended = [(child, *child.communicate(timeout=120)) for child in children]
        return [subprocess.CompletedProcess(command, child.returncode, out, err) for child, out, err in ended]

    assert [done.returncode for done in start()] == [0] * 3
    folders = [*elsewhere.glob("outputs/train/*/*")]
    seeds = {(folder / ".hydra" / "overrides.yaml").read_text().split("seed=")[1].strip() for folder in folders}
    assert seeds == set("012")
    done = start(NAMED)
    assert Counter(one.returncode for one in done) == {0: 1, 2: 2}
    refused = [one.stderr for one in done if one.returncode]
    assert all("mine is in use by" in text or "mine holds a run already" in text for text in refused)
    status = read_status(Path("mine"))
    assert status is not None
    assert status.status == "finished"
    winner = next(number for number, one in enumerate(done) if one.returncode == 0)
    assert f"seed={winner}" in (Path("mine") / ".hydra" / "overrides.yaml").read_text()
