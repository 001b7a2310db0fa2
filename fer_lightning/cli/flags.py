"""Words that begin with a dash: Hydra's flags, and settings in the manner of other programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise

from hydra._internal.utils import get_args_parser

from fer_lightning.config.habits import instead_of
from fer_lightning.config.listed import groups_of, listed_settings, other_names
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.suggestions import close_matches

# flags of Hydra whose value is the next word
VALUED = ("--config-dir", "--config-name", "--config-path", "--cfg", "--package", "-cd", "-cn", "-cp", "-c", "-p")


def complete_flags(verb: str, words: Sequence[str]) -> list[str]:
    """Return the words with the beginnings of flags completed, as argparse takes them where they are unique.

    Raises:
        ConfigError: for an unknown flag, such as `--lr 0.1`; it says how the setting behind it is typed.
    """
    completed = []
    known = [flag for action in get_args_parser()._actions for flag in action.option_strings]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if not word.startswith("-") or before in VALUED or name in known:
            completed.append(word)
            continue
        meant = [flag for flag in known if word.startswith("--") and flag.startswith(name)]
        if len(meant) == 1:
            completed.append(f"{meant[0]}{equals}{value}")
            continue
        value = value if equals else after if after and after[0] != "-" and "=" not in after else "VALUE"
        hint = f"type {meant[0]}" if meant else _setting(verb, name.strip("-"), value, known)
        hint = f"type ./{word} for the file" if os.path.exists(word) else hint
        raise ConfigError(f"there is no flag {name}: {hint}")
    return completed


def flags_first(words: Sequence[str]) -> list[str]:
    """Return the words with flags and their values first, because Hydra 1.3 wants the overrides in one row."""
    pairs = pairwise(["", *words])
    return [item for _, item in sorted(pairs, key=lambda pair: not (pair[1].startswith("-") or pair[0] in VALUED))]


def _setting(verb: str, name: str, value: str, known: Sequence[str]) -> str:
    """Return how a flag of another program is typed as a setting."""
    name = name.replace("-", "_").lower()
    settings: Mapping[str, object] = listed_settings(verb)
    leaves: dict[str, str] = {}
    for key in settings:
        if not key.startswith("hydra."):
            leaves.setdefault(key.rpartition(".")[2], key)
    if near := close_matches(name, known, cutoff=0.8):
        return f"type {near[0]}"
    if name in groups_of(verb) or name in settings or name in other_names(settings):
        return f"settings are typed without dashes: type {name}={value}"
    if typed := instead_of(name, value):
        return f"settings are typed without dashes: type {typed}"
    if near := close_matches(name, leaves, cutoff=0.75):
        return f"settings are typed without dashes: type {leaves[near[0]]}={value}"
    return "settings are typed as key=value, without dashes: type --help to see them"
