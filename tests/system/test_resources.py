"""Cores that a process may use where the system binds it to none: in containers, and on clusters that only count."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from fer_lightning.system.machine import resolve_machine
from fer_lightning.system.resources import _container_cores, available_cores

BOUND = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"}
TWO_TASKS = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 32 cores, outside of SLURM and of containers."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(32)), raising=False)
    monkeypatch.setattr("fer_lightning.system.resources._container_cores", lambda: None)
    for name in [*os.environ]:
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_nobody_gets_more_than_the_system_binds_it_to() -> None:
    assert 1 <= available_cores() <= BOUND


@pytest.mark.parametrize(
    ("variables", "cores"),
    [
        ({}, 32),
        ({"SLURM_CPUS_PER_TASK": "4"}, 32),  # of a shell that is in no job
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),  # a batch script
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}, 8),  # one that will start tasks, or share its cores
        ({"SLURM_CPUS_ON_NODE": "8", **STEP}, 8),
        ({"SLURM_CPUS_ON_NODE": "32", "SLURM_CPUS_PER_TASK": "6", **STEP}, 6),  # on a node that it has for itself
        ({"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "4", **TWO_TASKS}, 4),
        ({"SLURM_CPUS_ON_NODE": "8", **TWO_TASKS}, 4),
        ({"SLURM_CPUS_ON_NODE": "8", **TWO_TASKS, "SLURM_STEP_TASKS_PER_NODE": "4(x2),1"}, 2),
        ({"SLURM_CPUS_ON_NODE": "64"}, 32),
        ({"SLURM_CPUS_ON_NODE": "1", **TWO_TASKS}, 1),
    ],
)
def test_what_slurm_granted(
    variables: Mapping[str, str], cores: int, roomy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert available_cores() == cores


@pytest.mark.parametrize(
    ("files", "groups", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 2),
        ({"cpu.max": "25000 100000\n"}, "0::/\n", 1),
        ({"a/cpu.max": "800000 100000", "a/b/cpu.max": "max 100000"}, "0::/a/b\n", 8),  # a group's limit is its parts'
        ({"a/cpu.max": "800000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 3),
        ({"cpu.max": "400000 100000"}, "0::/seen/from/outside\n", 4),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", 2),
        ({"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, "4:cpu:/x\n3:memory:/y\n", None),
        ({"cpu.max": "what is this\n"}, "0::/\n", None),
        ({}, "", None),
    ],
)
def test_what_a_container_may_spend(files: Mapping[str, str], groups: str, cores: int | None, tmp_path: Path) -> None:
    write(tmp_path / "sys", files)
    write(tmp_path, {"own": groups, "above/cpu.max": "100000 100000"})
    assert _container_cores(tmp_path / "sys", tmp_path / "own") == cores


def test_where_there_are_no_control_groups(tmp_path: Path) -> None:
    assert _container_cores(tmp_path, tmp_path / "none") is None


def test_ranks_share_cores_but_tasks_have_their_own(roomy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.system.machine._THREADS_FROM_ENVIRONMENT", None)

    def threads(**options: int) -> int:
        fixed = {"accelerator": "cpu", "precision": "32-true", "channels_last": True, "num_workers": 0}
        return resolve_machine(**fixed, **options).threads  # type: ignore[arg-type]

    assert (threads(), threads(devices=2), threads(devices=2, jobs=4)) == (32, 16, 4)
    for name, value in {"SLURM_CPUS_ON_NODE": "16", **TWO_TASKS}.items():
        monkeypatch.setenv(name, value)
    assert (threads(devices=2), threads(devices=2, jobs=2)) == (8, 4)
