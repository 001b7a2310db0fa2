"""Where the images of a run live: in the memory of the device, or on disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import psutil
import torch

from fer_lightning.core.errors import ConfigError

# of what is free: a GPU is the run's own; a host's memory serves the disk cache too, which is as good a place
_SHARE_OF_A_GPU, _SHARE_OF_A_HOST = 0.25, 0.05
# limit and use of a container or a SLURM job, in version 2 of control groups and in version 1
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a device; on Apple's GPUs, which share it, those of the host."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(psutil.virtual_memory().available, *(_left_in_group(*files) for files in _CGROUPS))


def _left_in_group(limit: str, use: str) -> float:
    try:
        return max(0, int(Path(limit).read_text()) - int(Path(use).read_text()))
    except (OSError, ValueError):  # there is no such group, or "max"
        return math.inf


def fits(resident: bool | Literal["auto"], need: int, device: torch.device) -> bool:
    """Decide whether the images are kept in the memory of the device.

    Args:
        resident: as it was asked for.
        need: bytes of all images.
        device: that trains on them.

    Raises:
        ConfigError: asked for, and they do not fit.
    """
    if resident is False:
        return False
    free = free_memory(device)
    if resident == "auto":
        return need <= free * (_SHARE_OF_A_HOST if device.type == "cpu" else _SHARE_OF_A_GPU)
    if need > free:
        raise ConfigError(
            f"data.resident=true: the images take {readable(need)}, and {device} has {readable(free)} free; type "
            "data.resident=auto, or a smaller data.image_size"
        )
    return True


def readable(size: int) -> str:
    """Return a number of bytes as people say it.

    >>> readable(74_381_536), readable(7_438_153_600), readable(9_216)
    ('74 MB', '7.4 GB', '9 kB')
    """
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
