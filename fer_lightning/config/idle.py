"""Settings that have no effect beside others: harmless, and hardly what was meant, so that a run says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.listed import is_listed


class Idle(NamedTuple):
    """Settings that some values of others leave without effect."""

    keys: str
    beside: str  # the others
    when: Callable[[Any], bool]
    cure: str  # what to type for an effect


def _is_off(value: Any) -> bool:
    return value is None or value == 0


IDLE = (
    Idle("loss.beta", "loss.class_weights", lambda kind: kind != "effective", "loss.class_weights=effective"),
    Idle(
        "data.synthetic.train data.synthetic.validation data.synthetic.test",
        "data.root",
        lambda root: root is not None,
        "data.root=null",
    ),
    Idle("data.aliases data.code_order data.on_error data.max_pixels", "data.root", _is_off, "data.root=PATH"),
    Idle(
        "augmentation.rotate augmentation.shift augmentation.zoom",
        "augmentation.affine",
        _is_off,
        "augmentation.affine=1",
    ),
    Idle("augmentation.brightness augmentation.contrast", "augmentation.light", _is_off, "augmentation.light=1"),
    Idle("augmentation.erase_area", "augmentation.erase", _is_off, "augmentation.erase=0.25"),
    Idle("model.mix_until", "model.mixup model.cutmix", _is_off, "model.mixup=0.2"),
    Idle(
        "callbacks.progressive_resizing.until callbacks.progressive_resizing.step",
        "callbacks.progressive_resizing.start_size",
        _is_off,
        "callbacks.progressive_resizing.start_size=32",
    ),
    Idle("callbacks.ema.decay", "callbacks.ema.horizon", lambda part: part is not None, "callbacks.ema.horizon=null"),
    Idle("trainer.gradient_clip_algorithm", "trainer.gradient_clip_val", _is_off, "trainer.gradient_clip_val=1"),
    Idle("data.batch_size", "tune.batch_size", bool, "tune.batch_size=false"),
    Idle("sweep.retry", "sweep.resume", _is_off, "sweep.resume=FOLDER"),
)


def idle_settings(cfg: DictConfig) -> Iterator[str]:
    """Yield a line for each setting of a training that has no effect; one that no YAML file gives its value was typed.

    Where there is no model, both come from a checkpoint, and nothing can be said.
    """
    for keys, beside, when, cure in IDLE if "model" in cfg else ():
        others = {other: _read(cfg, other) for other in beside.split()}
        idle = all(other is not ... and when(other) for other in others.values())
        for key in keys.split() if idle else ():
            if (value := _read(cfg, key)) is not ... and not is_listed(key, value):
                words = ((name, {None: "null", True: "true"}.get(other, other)) for name, other in others.items())
                said = " ".join(f"{name}={word}" for name, word in words)
                yield f"{key}={value} has no effect beside {said}: type {cure}, or leave it out"


def _read(cfg: DictConfig, key: str) -> Any:
    """Return the value at a dotted key; an Ellipsis where there is none."""
    try:
        return OmegaConf.select(cfg, key, default=...)
    except OmegaConfBaseException:
        return ...
