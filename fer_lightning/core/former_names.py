"""Names that files of earlier versions hold, and what they are called today: the only place that knows both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# keys of status.json and sweep.json before 0.2
KEYS = {"begun": "started"}
# `_target_`s of configurations before 0.2
TARGETS = {
    "fer_lightning.data.augmentation.Augmentation": "fer_lightning.data.augmentation.spec.Augmentation",
    "fer_lightning.machine.settle": "fer_lightning.system.machine.resolve_machine",
    "fer_lightning.sharding.ShardedStrategy": "fer_lightning.training.fsdp.ShardedStrategy",
}


def renamed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top level of a JSON object with today's keys.

    >>> renamed({"begun": "2026-11-20T10:00:00+00:00", "attempts": 1})
    {'started': '2026-11-20T10:00:00+00:00', 'attempts': 1}
    """
    return {KEYS.get(key, key): value for key, value in content.items()}
