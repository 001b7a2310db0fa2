"""Runs in processes of their own: how they end, what they say where, and that none outlives who waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

PROGRAM = """
import sys, pathlib
from fer_lightning.sweeps import process
from fer_lightning.system import resources

def start(arguments):
    from fer_lightning.train import main
    main(arguments)

if __name__ == "__main__":
    how, log, *arguments = sys.argv[1:]
    log = None if log == "-" else pathlib.Path(log)
    if how == "fork":
        code = process.run_forked("train", start, arguments, log)
    else:
        code = process.run_spawned("train", arguments, log)
    print("code", code)
    print("ours", resources.is_job())
"""
QUICK = [
    "data.synthetic={train: 14, validation: 7, test: 7}",
    "trainer=cpu",
    "trainer.precision=32-true",
    "logger=none",
]


def run(folder: Path, how: str, log: str, *arguments: str) -> subprocess.Popen[str]:
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, "program.py", how, log, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


@pytest.mark.parametrize("how", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--help"], 0, "groups, the default first"),
        (["optimizer.lrr=1"], 2, "there is no setting 'optimizer.lrr'"),
        pytest.param(["data.root=nowhere"], 3, "", marks=pytest.mark.slow),  # imports torch
    ],
)
def test_the_exit_code_is_that_of_the_run(how: str, arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    output = run(tmp_path, how, "-", *arguments, "hydra.run.dir=run").communicate(timeout=120)[0]
    assert output.endswith(f"code {code}\nours False\n")
    assert said in output


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_what_it_prints_goes_where_it_shall(how: str, tmp_path: Path) -> None:
    output = run(tmp_path, how, "output.log", "--help").communicate(timeout=120)[0]
    assert output == "code 0\nours False\n"
    assert "groups, the default first" in (tmp_path / "output.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_it_ends_with_the_process_that_waits_for_it(how: str, tmp_path: Path) -> None:
    waiting = run(tmp_path, how, "-", *QUICK, "hydra.run.dir=run", "trainer.max_epochs=1000", "data.num_workers=1")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    end = time.monotonic() + 120
    while not last.is_file() and time.monotonic() < end:
        time.sleep(0.05)
    family = psutil.Process(waiting.pid).children(recursive=True)
    assert family, "the run, and what loads its images"
    os.kill(waiting.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    waiting.communicate()


@pytest.mark.parametrize("how", ["fork", "spawn"])
def test_one_that_is_killed_says_by_what(how: str, tmp_path: Path) -> None:
    waiting = run(tmp_path, how, "-", *QUICK, "hydra.run.dir=run", "trainer.max_epochs=1000")
    status = tmp_path / "run" / "status.json"
    end = time.monotonic() + 120
    while not status.is_file() and time.monotonic() < end:
        time.sleep(0.05)
    (child,) = psutil.Process(waiting.pid).children()
    child.send_signal(signal.SIGTERM)
    assert f"code {-signal.SIGTERM}\n" in waiting.communicate(timeout=60)[0]
