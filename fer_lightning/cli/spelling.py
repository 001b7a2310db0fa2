"""Completes values as a shell passes them on to what Hydra's grammar reads."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import ConfigError

DEPTH = 20  # brackets inside brackets; no setting has more than three
LENGTH = 255  # bytes in the name of a file or a folder, on the usual file systems
SETTING = re.compile(r"[~+]*[A-Za-z_][\w./@:]*=")


def join_brackets(words: Sequence[str]) -> list[str]:
    """Return the words with those joined that the shell took apart, because a list or a mapping stood without quotes.

    >>> join_brackets(["data.classes=[happy,", "sad]", "seed=1"])
    ['data.classes=[happy, sad]', 'seed=1']
    """
    joined: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        for count in range(1, len(left) + 1) if SETTING.match(word) and _open_brackets(word) > 0 else ():
            text = " ".join([word, *left[:count]])
            if _open_brackets(text) == 0:
                word, left = text, left[count:]
                break
            if SETTING.match(left[count - 1]):
                break
        joined.append(word)
    return joined


def readable(word: str) -> str:
    """Return a setting so that Hydra can read it: text with quotes, brackets or `=` inside is quoted.

    Raises:
        ConfigError: the brackets of a list do not match, or lie too deep; or a name is longer than a file's can be.

    >>> readable("data.root=/home/o'neill/faces (1)")
    "data.root='/home/o\\\\'neill/faces (1)'"
    """
    if not SETTING.match(word):
        return word
    key, _, value = word.partition("=")
    _check_size(key, value)
    if _is_readable(word):
        return word
    if not _is_readable(f"{key}=1"):
        raise ConfigError(f"'{key}' is no name of a setting: type --help to see them")
    if key[:1] == "~":
        raise ConfigError(f"what follows {key}= cannot be read: type '{key}'")
    if value[:1] in "[{":
        raise ConfigError(f"the brackets or quotes in {word} do not match: type '{key}=[a,b]' for a list")
    return f"{key}={quoted(value)}"


def _check_size(key: str, value: str) -> None:
    depth = deepest = 0
    for letter in value:
        depth += (letter in "[{(") - (letter in "]})")
        deepest = max(deepest, depth)
    if deepest > DEPTH:
        raise ConfigError(f"{key} holds {deepest} brackets inside each other: type {DEPTH} at most")
    names = [key] if value[:1] in "[{" or "," in value else [key, *value.split("/")]
    longest = max(names, key=lambda name: len(os.fsencode(name)))
    if len(os.fsencode(longest)) > LENGTH:
        shown = f"{longest[:40]}…"
        raise ConfigError(f"{shown} in {key[:40]} has {len(longest)} letters: type a name of {LENGTH} bytes at most")


def _open_brackets(text: str) -> int:
    return sum((letter in "[{(") - (letter in "]})") for letter in text)


def _is_readable(word: str) -> bool:
    try:
        _parser().parse_override(word)
    except HydraException:
        return False
    return True


@functools.cache
def _parser() -> Any:
    return OverridesParser.create()
