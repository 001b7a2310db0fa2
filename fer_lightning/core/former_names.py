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
# arguments of ExpressionClassifier in checkpoints before 0.2; None: no longer there
HYPER_PARAMETERS = {"cuda_graph": None}
# settings that a command line may still name, and what to type instead
SETTINGS = {
    "model.cuda_graph": "model.compile=reduce-overhead",
    "callbacks.validation_pictures.share": "callbacks.validation_pictures.fraction=0.02",
}


def renamed(content: Mapping[str, Any], names: Mapping[str, str | None] = KEYS) -> dict[str, Any]:
    """Return the top level of a mapping with today's keys, without those that are no longer there.

    >>> renamed({"begun": "2026-11-20T10:00:00+00:00", "attempts": 1})
    {'started': '2026-11-20T10:00:00+00:00', 'attempts': 1}
    """
    today = {names.get(key, key): value for key, value in content.items()}
    return {key: value for key, value in today.items() if key is not None}


def current_override(override: str) -> str:
    """Return a recorded override with today's name of its setting, where it was only renamed."""
    return override.replace("callbacks.validation_pictures.share=", "callbacks.validation_pictures.fraction=")
