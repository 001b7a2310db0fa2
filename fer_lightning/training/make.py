"""From one node of a configuration to its object; the only caller of `hydra.utils.instantiate`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.allowed import allowed_modules, check_targets, hydra_whitelist
from fer_lightning.config.listed import example_of, is_listed
from fer_lightning.core.errors import ConfigError, first_lines

EXTRAS = ("wandb", "mlflow")  # of pyproject.toml, named after the logger that needs them


def make(node: DictConfig, **arguments: Any) -> Any:
    """Instantiate a node; errors of its constructor become ConfigErrors."""
    if not isinstance(node, DictConfig):  # text that a resolver has turned into something else
        raise ConfigError(f"{first_lines(ValueError(node))} is no mapping with a _target_: write it out")
    own = allowed_modules(node._get_root())
    plain: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]  # of a mapping
    check_targets(plain, str(node._get_full_key(None)), own)
    # bound first and called after, so that Hydra neither converts the arguments nor wraps the constructor's complaints
    maker = instantiate(plain, _partial_=True, _convert_="all", **hydra_whitelist(own))
    if node.get("_partial_"):
        return maker
    with blaming(node):
        return maker(**arguments)


@contextmanager
def blaming(node: DictConfig) -> Iterator[None]:
    """Turn what a constructor complains about into a ConfigError that names its node, and what to type."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = node["_target_"].rpartition(".")[2].removesuffix("Logger").lower()
        hint = f'pip install "fer_lightning[{extra}]"' if extra in EXTRAS else f"pip install {error.name}"
        raise ConfigError(f"{node['_target_']} needs a package that is not installed: type {hint}") from error
    except (ValueError, TypeError, MisconfigurationException) as error:
        raise ConfigError(f"{node['_target_']}: {error}{_cure(node, str(error))}") from error


def _cure(node: DictConfig, complaint: str) -> str:
    """Return what to type for the setting that a constructor complains about, or else for one that is not as usual."""
    if re.search(r"\btype |choose |did you mean", complaint):
        return ""
    keys = [key for key in map(str, node) if not key.startswith("_")]
    full = {key: str(node._get_full_key(key)) for key in keys}
    named = [key for key in keys if re.search(rf"\b{key}\b", complaint)]
    changed = [key for key in keys if not is_listed(full[key], node.get(key))]
    for key in [*named, *changed]:
        if example := _other_example(full[key], str(node.get(key))):
            return f"; type '{example}', for example"
    return ""


def _other_example(key: str, now: str) -> str | None:
    return example_of(key, lambda value: str(value) != now)
