"""Ranks that something else starts: torchrun on one machine and on two, and tasks as srun starts them, on loopback."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from omegaconf import DictConfig

from fer_lightning.cli.arguments import follow_first_rank
from fer_lightning.config.rules import rules
from fer_lightning.system.resources import is_first_process, launched_rank

TRAIN = ("-m", "fer_lightning.train")
TINY = (
    "data.synthetic={train: 56, validation: 21, test: 21}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer=ddp",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
)
LAUNCHERS = ("one machine", "two machines", "srun")
VARIABLES = ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_JOB_NAME")


class Launched(NamedTuple):
    """A run: the directory that it was started from, and what its ranks printed."""

    place: Path
    output: str


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def torchrun(*options: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--master_addr=127.0.0.1", *options, *TRAIN, *TINY]


def task(number: int, port: int) -> dict[str, str]:
    """Return what srun tells the tasks of two machines with one each."""
    own = {"PROCID": number, "NODEID": number, "LOCALID": 0}
    shared = {"NTASKS": 2, "NTASKS_PER_NODE": 1, "NNODES": 2, "JOB_ID": 7, "JOB_NAME": "fer", "NODELIST": "127.0.0.1"}
    return {"MASTER_PORT": str(port)} | {f"SLURM_{name}": str(value) for name, value in (own | shared).items()}


def commands(launcher: str) -> list[tuple[list[str], dict[str, str]]]:
    """Return what is typed, or started, on each machine."""
    port = free_port()
    if launcher == "one machine":
        return [([*torchrun("--nproc_per_node=2", f"--master_port={port}"), "trainer.devices=2"], {})]
    one_each = ["trainer.devices=1", "trainer.num_nodes=2"]
    if launcher == "srun":
        return [([sys.executable, *TRAIN, *TINY, *one_each], task(number, port)) for number in range(2)]
    options = ("--nproc_per_node=1", "--nnodes=2", f"--master_port={port}")
    return [([*torchrun(*options, f"--node_rank={number}"), *one_each], {}) for number in range(2)]


def run_all(started: Sequence[tuple[list[str], dict[str, str]]], place: Path, *, apart: float) -> str:
    """Run processes beside each other, each started so many seconds after the one before, and return what they said."""
    running = []
    for command, variables in started:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running.append(subprocess.Popen(command, env=environment, cwd=place, **pipes))
        time.sleep(apart)
    outputs = [process.communicate(timeout=180)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running), "\n".join(outputs)
    return "\n".join(outputs)


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Launched]:
    """The same run by each launcher; the ranks' clocks say different seconds when they begin."""
    places = {launcher: tmp_path_factory.mktemp("place") for launcher in LAUNCHERS}
    return {name: Launched(place, run_all(commands(name), place, apart=1.2)) for name, place in places.items()}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_ranks_are_one_run_in_one_folder(launched: dict[str, Launched], launcher: str) -> None:
    place, output = launched[launcher]
    assert "MEMBER: 2/2" in output
    assert [path.name for path in place.iterdir()] == ["outputs"]
    assert [path.name for path in (place / "outputs").iterdir()] == ["train"]
    (folder,) = place.glob("outputs/train/*/*")
    table = pd.read_csv(folder / "predictions.csv")
    assert (len(table), table["path"].is_unique) == (21, True)
    assert json.loads((folder / "status.json").read_text())["status"] == "finished"
    assert {"checkpoints", ".hydra", "train.log", "report.html"} <= {path.name for path in folder.iterdir()}
    assert output.count(f"written to {folder}") == 1


@pytest.mark.slow
def test_whoever_starts_the_ranks_they_train_the_same(launched: dict[str, Launched]) -> None:
    curves = [path.read_text() for one in launched.values() for path in one.place.glob("outputs/train/*/*/history.csv")]
    assert len(curves) == len(LAUNCHERS)
    assert len(set(curves)) == 1


RANKS = [
    ({}, None, True),
    ({"LOCAL_RANK": "1"}, None, False),  # started by Lightning
    ({"NODE_RANK": "1"}, None, False),  # by hand, on the second machine
    ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0"}, 0, True),
    ({"TORCHELASTIC_RUN_ID": "x", "RANK": "8", "LOCAL_RANK": "0"}, 8, False),
    ({"SLURM_NTASKS": "4", "SLURM_PROCID": "3", "SLURM_JOB_NAME": "fer"}, 3, False),
    ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "bash"}, None, True),
    # torchrun under srun numbers the machines as they come
    ({"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, 0, True),
]


@pytest.mark.parametrize(("variables", "rank", "first"), RANKS)
def test_a_process_knows_its_place(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], rank: int | None, first: bool
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (launched_rank(), is_first_process()) == (rank, first)
    argv = ["seed=1", "hydra.run.dir=mine"]
    added = follow_first_rank(argv)[2:]
    assert ("hydra.output_subdir=null" in added) == (rank not in (None, 0))
    assert not any(item.startswith("hydra.run.dir=") for item in added)


@pytest.mark.parametrize(
    ("variables", "overrides", "text"),
    [
        (
            {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
            [],
            "torchrun started 4 processes, .*type trainer=ddp trainer.devices=2 trainer.num_nodes=2",
        ),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "fer"}, [], "srun started 2 tasks"),
        (
            {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"},
            ["trainer=ddp", "trainer.num_nodes=2"],
            None,
        ),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "fer"}, ["trainer=ddp"], None),
    ],
)
def test_processes_that_would_not_be_one_run_are_refused(
    compose: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    overrides: list[str],
    text: str | None,
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    problems = "\n".join(rules(compose("train", *overrides)))
    assert ("started" in problems) == (text is not None)
    assert text is None or re.search(text, problems)
