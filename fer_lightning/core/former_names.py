"""Names that files of earlier versions hold, and what they are called today: the only place that knows both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
# settings that a command line may still name, and what they are called today; None: no longer there
SETTINGS = {"callbacks.validation_pictures.share": "callbacks.validation_pictures.fraction", "model.cuda_graph": None}
# settings since 0.2, and what holds in files without them
ADDED = {
    "data.max_pixels": 64_000_000,
    "model.normalize": "standard",
    "views": "single",
    "augmentation.ramp": 0.0,
    "model.mix_until": 1.0,
    "model.layer_decay": 1.0,
    "model.weight_decay_exclude_1d": False,
    "scheduler.until": 1.0,
    "callbacks.progressive_resizing.until": 0.7,
    "callbacks.progressive_resizing.step": 8,
    "callbacks.progressive_resizing._target_": "fer_lightning.callbacks.progressive_resizing.ProgressiveResizing",
    "callbacks.expected_finish._target_": "fer_lightning.training.expected_finish.ExpectedFinish",
}
INSTEAD = {"model.cuda_graph": "model.compile=reduce-overhead"}  # what to type for a setting that is no longer there


def renamed(content: Mapping[str, Any], names: Mapping[str, str | None] = KEYS) -> dict[str, Any]:
    """Return the top level of a mapping with today's keys, without those that are no longer there.

    >>> renamed({"begun": "2026-11-20T10:00:00+00:00", "attempts": 1})
    {'started': '2026-11-20T10:00:00+00:00', 'attempts': 1}
    """
    today = {names.get(key, key): value for key, value in content.items()}
    return {key: value for key, value in today.items() if key is not None}


def current_overrides(overrides: Iterable[str]) -> list[str]:
    """Return overrides under today's names of settings and targets, without settings that are no longer there.

    >>> current_overrides(["seed=1", "model.cuda_graph=true", "callbacks.validation_pictures.share=0.5"])
    ['seed=1', 'callbacks.validation_pictures.fraction=0.5']
    """
    parts = (override.partition("=") for override in overrides)
    known = ((SETTINGS.get(key, key), equals, TARGETS.get(value, value)) for key, equals, value in parts)
    return [f"{key}{equals}{value}" for key, equals, value in known if key is not None]
