"""What is said of a run that could not say it itself."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.runs.status import Status, read_status, write_status
from fer_lightning.sweeps.run_job import finalize_status, oom_kills

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(
    ("code", "short", "reason", "words"),
    [
        (-signal.SIGKILL, True, "out of memory", "SIGKILL: the system ended it to free memory"),
        (-signal.SIGKILL, False, "killed", "SIGKILL"),
        (-signal.SIGSEGV, True, "killed", "SIGSEGV"),
        (7, False, "storage", "exit code 7"),
    ],
)
def test_a_run_that_died_gets_an_account(
    code: int, short: bool, reason: str, words: str, compose: Compose, tmp_path: Path
) -> None:
    write_status(tmp_path, Status(identity="a", values={"val/acc": 0.5}))
    finalize_status(tmp_path, compose("train", "output_dir=x"), code, short_of_memory=short)
    status = read_status(tmp_path)
    assert (status.status, status.reason, status.values) == ("failed", reason, {"val/acc": 0.5})
    assert words in status.message


@pytest.mark.parametrize("ended", ["finished", "pruned", "interrupted", "failed"])
def test_a_run_that_spoke_is_believed(ended: str, compose: Compose, tmp_path: Path) -> None:
    said = Status(status=ended, identity="a", message="as it said")
    write_status(tmp_path, said)
    assert (
        finalize_status(tmp_path, compose("train", "output_dir=x"), 1, short_of_memory=True)
        == said
        == read_status(tmp_path)
    )


def test_processes_ended_for_memory_are_counted(tmp_path: Path) -> None:
    machine, container = tmp_path / "vmstat", tmp_path / "events"
    machine.write_text("pgfault 7\noom_kill 3\n")
    container.write_text("oom 9\noom_kill 2\noom_group_kill 5\n")
    assert oom_kills([machine, container, tmp_path / "nothing"]) == 5
    assert oom_kills([]) == 0
    assert oom_kills() >= 0
