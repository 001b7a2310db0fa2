"""Hydra's overrides as text: which setting one changes, and how values are quoted."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fer_lightning.core.command_words import quoted as quoted


def override_key(override: str) -> str:
    """Return what an override sets, for `+model.x=1` `model.x`."""
    return re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0]


def last_value(overrides: Iterable[str], key: str) -> str | None:
    """Return what Hydra reads from the last `key=text`, for paths; None where there is none."""
    texts = [item.removeprefix(f"{key}=") for item in overrides if item.startswith(f"{key}=")]
    if not texts:
        return None
    text = texts[-1]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return re.sub(r"\\([\\()\[\]{}:=, ])", r"\1", text)
