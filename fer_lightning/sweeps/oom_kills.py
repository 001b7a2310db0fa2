"""Counts the processes that the system killed to free memory, which a killed run cannot report itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# of the machine, and of this container: cgroups v2 and v1
COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")


def oom_kills(counters: Iterable[str | Path] = COUNTERS) -> int:
    """Return how many processes the system has killed to free memory; 0 where it does not say."""
    found = 0
    for counter in counters:
        with suppress(OSError, ValueError):
            text = Path(counter).read_text(encoding="ascii")
            found += sum(map(int, re.findall(r"^oom_kill (\d+)$", text, flags=re.M)))
    return found
