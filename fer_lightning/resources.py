"""What a process gets of this machine: cores, and the devices that it shares them with."""

from __future__ import annotations

import os
from collections.abc import Sequence


def available_cores() -> int:
    """CPU cores that this process may use, which on a cluster or in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
