"""What a process gets of this machine: cores, devices, and its place among the processes of a run."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path


def available_cores() -> int:
    """CPU cores that this process may use, which on a cluster or in a container are fewer than the machine's.

    What the system binds it to, what its container may spend, and what SLURM granted: many clusters count cores, but
    bind nobody to them.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(limit for limit in (bound, _container_cores(), _slurm_cores()) if limit is not None))


def is_task() -> bool:
    """Whether SLURM started this process beside others in one step, and granted each cores of its own."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _slurm_cores() -> int | None:
    """Cores that SLURM granted on this node: a task its own, a job or its only task all; None without SLURM."""
    granted = os.environ.get("SLURM_CPUS_ON_NODE", "")
    each = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if not granted.isdigit():
        return None
    if "SLURM_STEP_ID" not in os.environ:
        return int(granted)
    if each.isdigit():
        return min(int(granted), int(each))
    if not is_task():
        return int(granted)
    here = re.match(r"\d+", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))  # 2(x3),1: the nodes are filled evenly
    return int(granted) // int(here[0]) if here else int(granted)


def _container_cores(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Cores' worth of time that the control groups of this process may spend, rounded up; None for no limit.

    Args:
        root: where control groups are mounted, of the second generation or, below `cpu`, of the first.
        own: file that says which groups this process is in.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, kinds, place = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        top, names = (root, ("cpu.max",)) if not kinds else (root / "cpu", ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        inside = top / place.strip("/")
        for group in (inside, *inside.parents):
            if group != top and top not in group.parents:
                break
            limits.append(_spendable([group / name for name in names]))
    return min((limit for limit in limits if limit is not None), default=None)


def _spendable(files: Sequence[Path]) -> int | None:
    """Read a quota and its period, µs, from the files of one group; `max` and -1 are no quota."""
    try:
        quota, period = " ".join(file.read_text(encoding="ascii") for file in files).split()
        return None if quota == "max" or int(quota) < 0 else -(-int(quota) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def launched_rank() -> int | None:
    """Return which of its run's processes a launcher, torchrun or srun, started this one as; None where none did.

    In the order of Lightning: torchrun may itself be started by srun, which numbers the nodes then.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["RANK"])
    if "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive"):
        return int(os.environ.get("SLURM_PROCID", "0"))
    return None


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the one of its ranks that speaks and writes for all."""
    rank = launched_rank()
    if rank is not None:
        return rank == 0
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "NODE_RANK", "LOCAL_RANK"))


def listed_devices(devices: int | str | Sequence[int | str] | None) -> list[int]:
    """Return the numbers of the devices that Lightning's Trainer would take, nothing for `auto` and -1.

    >>> listed_devices(2), listed_devices("1,"), listed_devices([0, 3]), listed_devices("auto")
    ([0, 1], [1], [0, 3], [])
    """
    if devices is None:
        return []
    if isinstance(devices, str):
        if "," not in devices:
            return list(range(int(devices))) if devices.strip().isdigit() else []
        devices = devices.split(",")
    if isinstance(devices, Sequence):
        return [int(part) for part in devices if str(part).strip().isdigit()]
    return list(range(devices))


VARIABLE = "FER_LIGHTNING_JOB"  # set in the processes of a job, its ranks included


def is_job() -> bool:
    """Whether this process is the run of a sweep's job, or a rank of it."""
    return VARIABLE in os.environ
