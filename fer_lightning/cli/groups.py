"""Groups that are left out or added in Hydra's ways: `~scheduler`, `scheduler=null`, `+experiment=…`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fer_lightning.config.listed import COMBINED, groups_of, options_of, other_names, own_settings
from fer_lightning.config.overrides import override_key
from fer_lightning.core.errors import ConfigError

NONE = ("", "null", "none", "false", "[]", "''", '""')  # after a group, in any case
ENTRY = re.compile(r"(callbacks|logger)\.\w+")  # one object of a group of several
# settings that the program itself reads, beside those of no group
READ = (
    *("trainer.accelerator", "trainer.benchmark", "trainer.deterministic", "trainer.devices", "trainer.precision"),
    *("trainer.enable_progress_bar", "trainer.fast_dev_run", "trainer.limit_val_batches", "trainer.max_epochs"),
    *("trainer.max_steps", "trainer.max_time", "trainer.num_nodes", "trainer.val_check_interval"),
    *("data.batch_size", "data.cache_dir", "data.channels", "data.engine", "data.image_size", "data.layout"),
    *("data.num_workers", "data.root", "model.backbone", "model.channels_last", "model.input_size"),
    *("model.weights", "model._target_"),
)


def spell_groups(verb: str, arguments: Sequence[str]) -> list[str]:
    """Return a command line in which a group that is left out takes its option `none`, and none is added twice.

    Raises:
        ConfigError: the verb cannot do without what is left out.
    """
    spelt = []
    for item in _own_names(verb, arguments):
        key, value = override_key(item), item.partition("=")[2]
        if key in groups_of(verb) and value[:1] == "[":
            _check_list(item, key, value)
        if key not in groups_of(verb) or "@" in item.partition("=")[0]:
            if item.startswith("~") and key in (*READ, *own_settings(verb)):
                raise ConfigError(f"{key} is read by fer_lightning.{verb} and cannot be deleted: leave out '~{key}'")
            unwanted = ENTRY.fullmatch(key) is not None and "=" in item and value.lower() in NONE
            spelt.append(f"~{key}" if unwanted else item)
        elif item.startswith("~"):
            spelt += _without(verb, key)
        elif "=" in item:
            choices = value.split(",")
            left_out = [choice.strip().lower() in NONE for choice in choices]
            if len(choices) == 1 and left_out[0]:
                spelt += _without(verb, key)
            elif any(left_out) and "none" in options_of(key):
                names = ("none" if out else choice for choice, out in zip(choices, left_out, strict=True))
                spelt.append(f"{key}={','.join(names)}")
            else:
                spelt.append(item.lstrip("+"))
        else:
            spelt.append(item)
    return spelt


def _own_names(verb: str, arguments: Sequence[str]) -> list[str]:
    """Return a command line with the own names of settings: Hydra would take FILE of `model=FILE` for a model's YAML.

    Raises:
        ConfigError: a setting is typed by both of its names.
    """
    others, typed = other_names(own_settings(verb)), {*map(override_key, arguments)}
    for other, own in others.items():
        if {other, own} <= typed:
            raise ConfigError(f"{other} and {own} both name the model: type one of them")
    keys = ((item, override_key(item)) for item in arguments)
    return [f"{others[key]}={item.partition('=')[2]}" if key in others else item for item, key in keys]


def _check_list(item: str, group: str, value: str) -> None:
    """Check a list of options, of which Hydra would take the last, or each in a group of several objects."""
    options = [option.strip() for option in value.strip("[]").split(",")]
    if re.fullmatch(r"\[[\w ,./:-]*\]", value) is None or (value != "[]" and {*map(str.lower, options)} & {*NONE}):
        first = options_of(group)[0]
        raise ConfigError(f"what follows {group} is not the name of an option: type {group}={first}, for example")
    if group not in COMBINED and len(options) > 1:
        cure = f"type {group}={options[0]}, or -m {group}={','.join(options)} to run each of them"
        raise ConfigError(f"{item} names several options, and {group} is one: {cure}")


def _without(verb: str, group: str) -> list[str]:
    default, options = groups_of(verb)[group], options_of(group)
    if default is None:
        return []  # it is not composed unless it is typed
    if "none" in options:
        return [f"{group}=none"]
    others = [f"{group}={option}" for option in options if option != default]
    hint = f"type {group}={default}" + f", or {' or '.join(others)}" * bool(others)
    raise ConfigError(f"fer_lightning.{verb} needs {group} and cannot leave it out: {hint}")
