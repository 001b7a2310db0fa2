"""Whether the system ended a process for want of memory: the one thing that a killed run cannot say of itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

# of the whole machine; of this container, with the two generations of control groups
COUNTERS = (
    Path("/proc/vmstat"),
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
)


def memory_kills(counters: Sequence[Path] = COUNTERS) -> int:
    """Return how many processes the system has ended for want of memory, as far as it tells; 0 where it does not."""
    found = 0
    for counter in counters:
        try:
            text = counter.read_text(encoding="ascii")
        except (OSError, ValueError):
            continue
        found += sum(int(count) for count in re.findall(r"^oom_kill (\d+)$", text, flags=re.M))
    return found
