"""Whether the images of a run fit into the memory of the device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import psutil
import torch

from fer_lightning.core.errors import ConfigError

# Of the free memory. Less on a host, where the disk cache, which uses the same memory, serves as well.
_GPU_FRACTION, _HOST_FRACTION = 0.25, 0.05
# memory limit and use of a container or SLURM job, in control groups v2 and v1
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a device; for Apple's GPUs those of the host, which they share."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(min(psutil.virtual_memory().available, *(_left_in_group(*files) for files in _CGROUPS)))


def _left_in_group(limit: str, use: str) -> float:
    try:
        return max(0, int(Path(limit).read_text()) - int(Path(use).read_text()))
    except (OSError, ValueError):  # no such group, or "max"
        return math.inf


def fits(resident: bool | Literal["auto"], need: int, device: torch.device) -> bool:
    """Decide whether `need` bytes of images are kept in the memory of the device, by the setting `data.resident`.

    Raises:
        ConfigError: `resident` is true, and they do not fit.
    """
    if resident is False:
        return False
    free = free_memory(device)
    if resident == "auto":
        return need <= free * (_HOST_FRACTION if device.type == "cpu" else _GPU_FRACTION)
    if need > free:
        raise ConfigError(
            f"data.resident=true: the images take {readable(need)}, and {device} has {readable(free)} free; type "
            "data.resident=auto, or a smaller data.image_size"
        )
    return True


def readable(size: int) -> str:
    """Format a number of bytes: 7.4 GB, 74 MB, 9 kB."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
