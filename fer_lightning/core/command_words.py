"""Settings as words of a command line that people copy: quoted for Hydra and for the shell."""

from __future__ import annotations

import re
import shlex


def quoted(value: object) -> str:
    """Return `value` so that Hydra reads it as this text, whatever it contains."""
    escaped = str(value).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def path_setting(key: str, path: object) -> str:
    """Return the word that sets a key to a path, to be typed in a shell, whatever the folder is called."""
    if re.fullmatch(r"[\w./+-]+", str(path), re.ASCII):
        return f"{key}={path}"
    word = f"{key}={quoted(path)}"
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'  # the second is easier to read
