"""Explains what Hydra could not compose: one message with the nearest valid names and what to type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.compose import conf_dir
from fer_lightning.config.overrides import override_key
from fer_lightning.config.trainer_arguments import unlisted_arguments
from fer_lightning.core.former_names import INSTEAD, SETTINGS
from fer_lightning.core.suggestions import close_matches


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Return one message about an error of composing: what is wrong with `overrides`, or with the YAML files."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            return f"'{key}' is not understood: settings are typed as key=value, e.g. trainer.max_epochs=20"
        return f"the value of {key} cannot be read; quote it twice: '{key}=\"{value}\"'"
    text, cause = str(error), error.__cause__
    if found := re.search(r"hydra_plugins\.hydra_(joblib|submitit|ray)_launcher", text):
        return f'the launcher needs {found[1]}, which is not installed: type pip install "fer_lightning[{found[1]}]"'
    if text.startswith("Config group override must be"):
        groups = [key for key in map(override_key, overrides) if (conf_dir() / key).is_dir()]
        return f"what follows {' or '.join(groups)} is not the name of an option; leave out a group that is not wanted"
    if isinstance(error, ConfigCompositionException):
        if text.startswith("Could not override") and isinstance(cause, OmegaConfBaseException):
            return _unknown_keys(text, cause, overrides)
        if found := re.match("Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", text):
            key, _, value = (found[1] or found[2]).lstrip("+").partition("=")
            return f"{key} has several values: add -m to run each of them, or type '{key}=[{value}]' for one list"
        if found := re.match("You must specify '(.+?)'", text):
            options = re.findall(r"\t(\S+)", text)
            return f"{found[1]} has no value: type {found[1]}={'|'.join(options)}"
        if found := re.match("Could not append to config. An item is already at '(.+?)'", text):
            return f"+{found[1]} adds a new setting, but there is one already: type it without +"
        if isinstance(cause, OmegaConfBaseException):
            text = f"{text}: {cause}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and "https://" not in line]
    return "; ".join(line for line in lines if not line.startswith(("object_type=", "full_key:", "To append to your")))


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if group == "hydra/sweeper/sampler" and not error.options:
        return 'sweep=optuna and the search spaces need Optuna: type pip install "fer_lightning[sweep]"'
    if not error.options or not group:
        return f"there is no {error.missing_cfg_file}.yaml among the configs: see --info searchpath"
    near = close_matches(option, error.options)
    guess = f"did you mean {group}={near[0]}? " if near else ""
    return f"{group} has no option '{option}'; {guess}There are {', '.join(sorted(error.options))}"


def _unknown_keys(text: str, cause: OmegaConfBaseException, overrides: Sequence[str]) -> str:
    first = re.findall("'(.+?)'", text)[0]
    root = cause.parent_node._get_root() if cause.parent_node is not None else OmegaConf.create()
    valid = list(_paths(OmegaConf.to_container(root, resolve=False)))
    valid += [f"trainer.{name}" for name in unlisted_arguments() if "trainer" in valid]
    typed = {override_key(item): item.partition("=")[2] for item in overrides if item[:1] not in "+~-" and "=" in item}
    # Hydra stops at the first; a group such as `experiment` is no key of the composed configuration
    unknown = [key for key in typed if key not in valid and "/" not in key and not (conf_dir() / key).is_dir()]
    lines = [_unknown_key(key, typed.get(key, "VALUE"), valid, root) for key in dict.fromkeys([first, *unknown])]
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} settings do not exist:", *lines])


def _unknown_key(key: str, value: str, valid: list[str], root: DictConfig) -> str:
    if key in SETTINGS:
        instead = INSTEAD.get(key) or f"{SETTINGS[key]}={value}"
        return f"there is no setting '{key}' any more; leave it out, or type {instead}"
    valid = [path for path in valid if path.startswith("hydra") == key.startswith("hydra")]
    parent, _, leaf = key.rpartition(".")
    beside = {path.rpartition(".")[2]: path for path in valid if path.rpartition(".")[0] == parent}
    by_leaf: dict[str, list[str]] = {}
    for path in valid:
        by_leaf.setdefault(path.rpartition(".")[2], []).append(path)
    # misspelt beside its siblings, given without its group, or with a misspelt group
    near = [beside[name] for name in close_matches(leaf, beside)] + by_leaf.get(leaf, [])
    near = near or [path for name in close_matches(leaf, by_leaf) for path in by_leaf[name]]
    near = list(dict.fromkeys(near or ([] if parent in valid else close_matches(key, valid))))[:3]
    if near:
        others = f" (or {', '.join(near[1:])})" if near[1:] else ""
        return f"there is no setting '{key}'; did you mean {near[0]}={value}{others}?"
    names = ", ".join(name for name in beside if not name.startswith("_"))
    if parent in valid and not names:
        return f"there is no setting '{key}', for {parent} is a value: type {parent}={value}"
    if parent and names and (target := OmegaConf.select(root, f"{parent}._target_")):
        return f"there is no setting '{key}'; {parent} has {names}. If {target} takes it, type +{key}={value}"
    return f"there is no setting '{key}'; " + (f"there are {names}" if names else "see --help")


def _paths(node: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted path of everything below `node`."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield f"{prefix}{key}"
        yield from _paths(child, f"{prefix}{key}.")
