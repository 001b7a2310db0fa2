"""Sweeps on a real SLURM of one node, which `one_node_slurm.py` starts and takes down; skipped where it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.status import Status, read_status
from fer_lightning.system.resources import available_cores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        installed_version("hydra-submitit-launcher") is None,
        reason="needs hydra-submitit-launcher",
    ),
]
TINY = (
    "hydra/launcher=submitit_slurm",
    "data.synthetic={train: 56, validation: 14, test: 14}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=none",
)
PATIENCE = 120  # seconds for what takes five alone
Environment = dict[str, str]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """The environment in which commands find the cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    script = Path(__file__).with_name("one_node_slurm.py")
    command = [sys.executable, str(script), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemons:
        assert daemons.stdout is not None
        said = daemons.stdout.readline().strip()
        if said != "ready":
            pytest.skip(said or "the script that starts SLURM failed")
        own = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "OMP_"))}
        yield own | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        assert daemons.stdin is not None
        daemons.stdin.close()
        assert daemons.wait(60) == 0


def start_sweep(cluster: Environment, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    place = () if any("sweep.resume=" in word for word in arguments) else (*TINY, f"hydra.sweep.dir={folder}")
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *place, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder.parent, env=cluster, **pipes)  # type: ignore[call-overload]


def run_sweep(cluster: Environment, folder: Path, *arguments: str) -> str:
    sweep = start_sweep(cluster, folder, *arguments)
    said: str = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 0, said
    return said


def await_(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"no {what} in {PATIENCE} s"
        time.sleep(0.1)


def statuses(folder: Path) -> list[Status]:
    found = (read_status(path) for path in sorted(folder.glob("[0-9]*")))
    return [status for status in found if status is not None]


def epochs(job: Path) -> list[int]:
    return [int(number) for number in re.findall(r"epoch (\d+)/", (job / "output.log").read_text())]


def test_a_cancelled_job_is_recorded_and_can_be_continued(cluster: Environment, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = start_sweep(cluster, folder, "trainer=cpu", "trainer.max_epochs=1,5")
    short, long = folder / "0_max_epochs=1", folder / "1_max_epochs=5"
    await_(lambda: (long / "output.log").is_file() and epochs(long), "first epoch")
    queue = subprocess.run(["squeue", "--noheader", "--format=%F_%K"], env=cluster, capture_output=True, text=True)
    (array,) = {line.partition("_")[0] for line in queue.stdout.split()}
    subprocess.run(["scancel", f"{array}_1"], env=cluster, check=True)
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 0, said
    assert [status.status for status in statuses(folder)] == ["finished", "interrupted"]
    assert f"sweep.resume={folder}   # go on" in said

    run_sweep(cluster, folder, f"sweep.resume={folder}")
    assert [(status.status, status.attempts) for status in statuses(folder)] == [("finished", 1), ("finished", 2)]
    assert sorted(set(epochs(long))) == [*range(1, 6)]
    assert len(epochs(long)) <= 6  # the one that was cut off is trained again
    record = json.loads((short / "environment.json").read_text())
    assert record["machine"]["threads"] == 1  # the node has more cores, but one is what the job was granted


def test_two_tasks_of_a_job_are_the_ranks_of_one_run(cluster: Environment, tmp_path: Path) -> None:
    if available_cores() < 2:
        pytest.skip("needs two cores")
    folder = tmp_path / "sweep"
    ranks = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "hydra.launcher.tasks_per_node=2")
    said = run_sweep(cluster, folder, *ranks, "trainer.max_epochs=2", "seed=1")
    (job,) = folder.glob("0*")
    assert [status.status for status in statuses(folder)] == ["finished"], said
    assert epochs(job) == [1, 2]
    printed = (job / "output.log").read_text()
    assert "MEMBER: 1/2" in printed
    assert "MEMBER: 2/2" in printed
    assert (job / "report.html").is_file()
    assert not list(tmp_path.glob("outputs/*"))  # which would be a second run's
