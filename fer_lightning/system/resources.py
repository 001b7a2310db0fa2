"""What a process gets of this machine: cores, devices, and its place among the processes of a run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

JOB_VARIABLE = "FER_LIGHTNING_JOB"  # set in the processes of a sweep's job, its ranks included


def available_cores() -> int:
    """Return how many CPU cores this process may use, the smallest of three limits.

    They are the cores that the system binds it to, what its container may spend, and what SLURM granted: many clusters
    count cores without binding processes to them.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit for limit in (bound, _container_cores(), _slurm_cores()) if limit is not None))


def is_slurm_task() -> bool:
    """Return whether SLURM started this process beside others in one step, and granted each cores of its own."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _slurm_cores() -> int | None:
    """Return the cores that SLURM granted this task, or this job, on this node; None without SLURM."""
    granted, per_task = (os.environ.get(f"SLURM_CPUS_{name}", "") for name in ("ON_NODE", "PER_TASK"))
    if not granted.isdigit():
        return None
    if "SLURM_STEP_ID" in os.environ and per_task.isdigit():
        return min(int(granted), int(per_task))
    tasks = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))  # 2(x3),1: the nodes are filled evenly
    return int(granted) // int(tasks[0]) if is_slurm_task() and tasks else int(granted)


def _container_cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the CPU time that the control groups of this process may spend, in cores, rounded up; None for no limit.

    A limit of a parent group holds as well. `joblib.cpu_count` does not serve here: it reads the limit of the mount's
    root only, so that it misses every limit of a process that sees the whole tree, such as a service or a SLURM step.

    Args:
        root: where control groups are mounted, of version 2 or, below `cpu`, of version 1.
        own: file that lists the groups of this process.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, place in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top, names = (root / "cpu", "cpu.cfs_quota_us cpu.cfs_period_us") if controllers else (root, "cpu.max")
        group = top / place.strip("/")
        groups = [one for one in (group, *group.parents) if one.is_relative_to(top)]
        limits += [_quota([one / name for name in names.split()]) for one in groups]
    return min((limit for limit in limits if limit is not None), default=None)


def _quota(files: Sequence[Path]) -> int | None:
    """Return quota / period, rounded up, from the files of one group; `max` and -1 are no quota."""
    try:
        quota, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
        return None if quota == "max" or int(quota) < 0 else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def launched_rank() -> int | None:
    """Return the rank of this process if a launcher, torchrun or srun, started it; None where none did.

    Torchrun goes first, as in Lightning: it may itself be started by srun, which numbers the nodes then.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    if "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return int(os.environ.get("SLURM_PROCID", "0"))
    return None


def is_first_process() -> bool:
    """Return whether this is the only process of a run, or rank zero, which prints and writes for all."""
    rank = launched_rank()
    if rank is not None:
        return rank == 0
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))


def listed_devices(devices: object) -> list[int]:
    """Return the numbers of the devices that Lightning's Trainer would take, nothing for `auto`, -1 and other values.

    >>> listed_devices(2), listed_devices("1,"), listed_devices([0, 3]), listed_devices("auto")
    ([0, 1], [1], [0, 3], [])
    """
    if isinstance(devices, str) and "," not in devices and devices.strip().isdigit():
        devices = int(devices)
    if isinstance(devices, int):
        return list(range(devices))
    parts = devices.split(",") if isinstance(devices, str) else devices if isinstance(devices, Sequence) else ()
    return [int(part) for part in parts if str(part).strip().isdigit()]


def is_job() -> bool:
    """Return whether this process is the run of a sweep's job, or a rank of it."""
    return JOB_VARIABLE in os.environ
