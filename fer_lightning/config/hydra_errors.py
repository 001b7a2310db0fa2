"""Explains what Hydra could not compose: one message with the nearest valid names and what to type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.compose import conf_dir
from fer_lightning.config.given import GIVEN
from fer_lightning.config.habits import instead_of
from fer_lightning.config.listed import COMBINED, listed_settings, options_of, other_names
from fer_lightning.config.missing_options import explain_option
from fer_lightning.config.overrides import override_key
from fer_lightning.config.trainer_arguments import unlisted_arguments
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.former_names import INSTEAD, SETTINGS
from fer_lightning.core.suggestions import close_matches

CHECKPOINT = re.compile(r"\.(ckpt|pth?|safetensors)$")
SHOWN = 12  # names in one message


def explain(error: Exception, overrides: Sequence[str]) -> str:
    """Return one message about an error of composing: what is wrong with `overrides`, or with the YAML files."""
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        if not equals:
            setting = "ckpt_path" if CHECKPOINT.search(key) else "data.root" if "/" in key else None
            example = f"type {path_setting(setting, key)}" if setting else "type trainer.max_epochs=20, for example"
            return f"'{key}' is not understood: settings are typed as key=value; {example}"
        return f"the value of {key} cannot be read; quote it twice: '{key}=\"{value}\"'"
    text, cause = str(error), error.__cause__
    if found := re.search(r"hydra_plugins\.hydra_(joblib|submitit|ray)_launcher", text):
        return f'the launcher needs {found[1]}, which is not installed: type pip install "fer_lightning[{found[1]}]"'
    if text.startswith("Config group override must be"):
        groups = [key for key in map(override_key, overrides) if (conf_dir() / key).is_dir()]
        hints = " ".join(f"{group}={options_of(group)[0]}" for group in groups)
        return f"what follows {' or '.join(groups)} is not the name of an option: type {hints}, for example"
    if found := re.search(r"does not support sweep type", text):
        return "a search space is for Optuna: add sweep=optuna"
    if isinstance(error, ConfigCompositionException):
        if text.startswith("Could not override") and isinstance(cause, OmegaConfBaseException):
            return _unknown_keys(text, cause, overrides)
        if known := _known(text):
            return known
        if isinstance(cause, OmegaConfBaseException):
            text = f"{text}: {cause}"
    lines = [line.strip() for line in text.splitlines() if line.strip() and "https://" not in line]
    kept = [line for line in lines if not line.startswith(("object_type=", "full_key:", "To append to your"))]
    return "; ".join([*kept, "type --help to see what can be set"])


def _known(text: str) -> str | None:
    """Return the message for a mistake that Hydra words for readers of its manual."""
    if found := re.match("Ambiguous value for argument '(.+)'|Sweep parameters '(.+)' requires", text):
        key, _, value = (found[1] or found[2]).lstrip("+").partition("=")
        return _several_values(key, value)
    if found := re.match("Sweeping over Hydra's configuration is not supported : '(.+?)=(.+)'", text):
        return f"{found[1]} takes one value: type '{found[1]}=\"{found[2]}\"' if the comma is part of it"
    if found := re.match("Could not override '(.+?)'\\.\\s+No match in the defaults list", text):
        return f"this program has no group '{found[1]}': leave it out, or type --help to see what can be set"
    if found := re.match("You must specify '(.+?)'", text):
        options = re.findall(r"\t(\S+)", text)
        return f"{found[1]} has no value: type {found[1]}={'|'.join(options)}"
    if found := re.match("Could not append to config. An item is already at '(.+?)'", text):
        return f"+{found[1]} adds a new setting, but there is one already: type it without +"
    if found := re.match("Multiple values for (.+?)\\.", text):
        return f"{found[1]} is typed twice: type it once"
    if found := re.match("Could not delete '(.+?)'. No match|Could not delete from config. '(.+?)' does not", text):
        return _nothing_to_delete(found[1] or found[2])
    if found := re.match("Could not delete from config. The value of '(.+?)' is", text):
        return f"{found[1]} has another value than '~{found[1]}=…' names: type '~{found[1]}'"
    if found := re.search("but config group '(.+?)' does not exist", text):
        groups = [path.name for path in conf_dir().iterdir() if path.is_dir()]
        near = [f"did you mean {name}?" for name in close_matches(found[1], groups)[:1]]
        return f"there is no group '{found[1]}'; {' '.join([*near, 'There are', ', '.join(sorted(groups))])}"
    return None


def _missing_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    top, _, path = str(error.missing_cfg_file).partition("/")
    if (conf_dir() / top).is_dir() and not (conf_dir() / group).is_dir() and top != "hydra":
        return explain_option(top, path, options_of(top))  # a path was typed for an option
    if (not error.options and group != "hydra/sweeper/sampler") or not group:
        where = "type --info searchpath to see where they are"
        return f"there is no {error.missing_cfg_file}.yaml among the configs: {where}"
    return explain_option(group, option, error.options or [])


def _several_values(key: str, value: str) -> str:
    """Explain values for several runs, or what only looks like them, without `-m`."""
    if re.match(r"(tag|interval)\(", value):
        return f"{key} holds a search space: add -m sweep=optuna to search it"
    message = f"{key} has several values: add -m to run each of them"
    listed = listed_settings().get(key, [])
    if re.fullmatch(r"\d+,\d+", value) and any(isinstance(one, (int, float)) for one in listed):
        return f"{key}={value} has a decimal comma; did you mean {key}={value.replace(',', '.')}? Otherwise {message}"
    if "/" in value:
        return f"{message}, or type '{key}=\"{value}\"' for one text with a comma"
    takes_list = not listed or any(one is None or isinstance(one, list) for one in listed)
    takes_list = key in COMBINED if _is_group(key) else takes_list
    return message + f", or type '{key}=[{value}]' for one list" * (takes_list and "(" not in value)


def _nothing_to_delete(key: str) -> str:
    if key in listed_settings():
        return f"{key} is null already: leave out '~{key}'"
    near = close_matches(key, {part for name in listed_settings() for part in (name, name.rpartition(".")[0])})
    guess = f"did you mean '~{near[0]}'?" if near else f"leave out '~{key}'"
    return f"'{key}' does not exist, so that it cannot be deleted; {guess}"


def _unknown_keys(text: str, cause: OmegaConfBaseException, overrides: Sequence[str]) -> str:
    first = re.findall("'(.+?)'", text)[0]
    root = cause.parent_node._get_root() if cause.parent_node is not None else OmegaConf.create()
    valid = dict(_paths(OmegaConf.to_container(root, resolve=False)))
    valid |= dict.fromkeys(other_names(valid))
    valid |= {f"trainer.{name}": None for name in unlisted_arguments() if "trainer" in valid}
    typed = {override_key(item): item.partition("=")[2] for item in overrides if item[:1] not in "+~-" and "=" in item}
    # Hydra stops at the first; a group such as `experiment` is no key of the composed configuration
    unknown = [key for key in typed if key not in valid and "/" not in key and not (conf_dir() / key).is_dir()]
    lines = [_unknown_key(key, typed.get(key, "VALUE"), valid, root) for key in dict.fromkeys([first, *unknown])]
    return lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} settings do not exist:", *lines])


def _unknown_key(key: str, value: str, valid: dict[str, Any], root: DictConfig) -> str:
    if key in SETTINGS:
        instead = INSTEAD.get(key) or f"{SETTINGS[key]}={value}"
        return f"there is no setting '{key}' any more; leave it out, or type {instead}"
    if given := GIVEN.get(key.partition(".")[0], {}).get(key.partition(".")[2]):
        return f"{key} is set by the program; {given}"
    if (typed := instead_of(key, value)) is not None:
        hint = f"type {typed}" if typed else "nothing takes its place: leave it out"
        return f"there is no setting '{key}'; {hint}"
    valid = {path: node for path, node in valid.items() if path.startswith("hydra") == key.startswith("hydra")}
    parent, _, leaf = key.rpartition(".")
    # a single value does not take the place of several settings
    fitting = [path for path, node in valid.items() if not isinstance(node, dict) or _is_group(path)]
    beside = {path.rpartition(".")[2]: path for path in fitting if path.rpartition(".")[0] == parent}
    by_leaf: dict[str, list[str]] = {}
    for path in fitting:
        by_leaf.setdefault(path.rpartition(".")[2], []).append(path)
    # misspelt beside its siblings, given without its group, or with a misspelt group
    near = [beside[name] for name in close_matches(leaf, beside)] + by_leaf.get(leaf, [])
    far = close_matches(leaf, by_leaf, cutoff=0.85 if parent in valid else 0.6)
    near = near or [path for name in far for path in by_leaf[name]]
    near = list(dict.fromkeys(near or ([] if parent in valid else close_matches(key, fitting))))[:3]
    if near:
        others = f" (or {', '.join(near[1:])})" if near[1:] else ""
        return f"there is no setting '{key}'; did you mean {near[0]}={value}{others}?"
    inside = [path.rpartition(".")[2] for path in valid if path.rpartition(".")[0] == parent]
    names = [name for name in inside if not name.startswith("_")]
    if parent in valid and not names:
        return f"there is no setting '{key}', for {parent} is a value: type {parent}={value}"
    shown = ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN} more: type --help" * (len(names) > SHOWN)
    if parent and names and (target := OmegaConf.select(root, f"{parent}._target_")):
        takes = "" if parent == "trainer" else f". If {target} takes it, type +{key}={value}"
        return f"there is no setting '{key}'; {parent} has {shown}{takes}"
    return f"there is no setting '{key}'; " + (f"there are {', '.join(names)}" if names else "type --help to see all")


def _is_group(path: str) -> bool:
    return "." not in path and (conf_dir() / path).is_dir()


def _paths(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted path of everything below `node`, and what is there."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield f"{prefix}{key}", child
        yield from _paths(child, f"{prefix}{key}.")
