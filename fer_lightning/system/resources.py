"""What a process gets of this machine: cores, devices, and its place among the processes of a run."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

JOB_VARIABLE = "FER_LIGHTNING_JOB"  # set in the processes of a sweep's job, its ranks included


def available_cores() -> int:
    """Return how many CPU cores this process may use: of those it is bound to, what its container and SLURM grant."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit for limit in (bound, _container_cores(), _slurm_cores()) if limit is not None))


def is_slurm_task() -> bool:
    """Return whether SLURM started this process beside others in one step, and granted each cores of its own."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _slurm_cores() -> int | None:
    """Return the cores that SLURM granted this task, or this job, on this node, bound or not; None without SLURM."""
    granted, per_task = (os.environ.get(f"SLURM_CPUS_{name}", "") for name in ("ON_NODE", "PER_TASK"))
    if not granted.isdigit():
        return None
    if "SLURM_STEP_ID" in os.environ and per_task.isdigit():
        return min(int(granted), int(per_task))
    tasks = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))  # 2(x3),1: the nodes are filled evenly
    return int(granted) // int(tasks[0]) if is_slurm_task() and tasks else int(granted)


def _container_cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Return the CPU time that the control groups listed in `own`, and their parents, may spend, in cores, rounded up.

    They are mounted at `root`, of version 2 or, below `cpu`, of version 1. `joblib.cpu_count` reads the limit of the
    root only, and misses those of a process that sees the whole tree, such as a service or a SLURM step.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, place in lines:
        if controllers and "cpu" not in controllers.split(","):
            continue
        top, names = (root / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us")) if controllers else (root, ("cpu.max",))
        group = top / place.strip("/")
        for folder in (one for one in (group, *group.parents) if one.is_relative_to(top)):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # `max` and -1 are no quota
                texts = [(folder / name).read_text(encoding="ascii") for name in names]
                quota, period = map(int, " ".join(texts).split())
                limits += [-(-quota // period)] if quota >= 0 else []
    return min(limits, default=None)


def launched_rank() -> int | None:
    """Return the rank of this process if a launcher, torchrun or srun, started it; None where none did."""
    if "TORCHELASTIC_RUN_ID" in os.environ:  # first, as in Lightning: srun may have started torchrun on each node
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


MOST_DEVICES = 65_536  # of one machine; a larger number is a typing error, whose list might not fit into memory


def listed_devices(devices: object) -> list[int]:
    """Return the numbers of the devices that Lightning's Trainer would take, nothing for `auto`, -1 and other values.

    >>> listed_devices(2), listed_devices("1,"), listed_devices([0, 3]), listed_devices("auto")
    ([0, 1], [1], [0, 3], [])
    """
    if isinstance(devices, str) and "," not in devices and devices.strip().isdigit():
        devices = int(devices)
    if isinstance(devices, int):
        return list(range(devices)) if devices < MOST_DEVICES else []
    parts = devices.split(",") if isinstance(devices, str) else devices if isinstance(devices, Sequence) else ()
    return [int(part) for part in parts if str(part).strip().isdigit()]


def is_job() -> bool:
    """Return whether this process is the run of a sweep's job, or a rank of it."""
    return JOB_VARIABLE in os.environ
