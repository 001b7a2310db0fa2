"""Continues a run or a sweep, in its own folder and with its own settings.

`ckpt_path=outputs/…/checkpoints/last.ckpt` continues a run, `sweep.resume=outputs/multirun/…` a sweep.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from fer_lightning.config.overrides import last_value, override_key, quoted
from fer_lightning.config.recorded import divide
from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.core.file_names import shown
from fer_lightning.core.former_names import current_overrides
from fer_lightning.runs.files import OVERRIDES, SWEEP_PLAN
from fer_lightning.runs.found_settings import SEARCHES, as_typed, read_found
from fer_lightning.system.resources import is_first_process

MULTIRUN = ("-m", "--multirun")


def continue_run(arguments: Sequence[str]) -> list[str]:
    """Add to a command line that names a checkpoint inside a run folder the run's overrides and its folder.

    What is typed replaces them. Applying this twice gives the same settings, because Lightning starts the other ranks
    with the same command line.
    """
    checkpoint = Path(last_value(arguments, "ckpt_path") or ".")
    run = next((folder for folder in checkpoint.parents if (folder / OVERRIDES).is_file()), None)
    if run is None or not checkpoint.exists() or not {*MULTIRUN}.isdisjoint(arguments):
        return list(arguments)
    typed = {override_key(item) for item in arguments}
    saved = _read_overrides(run / OVERRIDES)
    if typed.isdisjoint(SEARCHES):  # a sweep types them again, and the run itself looks up what it found
        found = read_found(checkpoint)  # what goes with another optimizer or other data is not for these
        saved = as_typed(saved, {key: value for key, value in found.items() if key.partition(".")[0] not in typed})
    own = _take([item for item in saved if override_key(item) not in typed], run / OVERRIDES)
    folder = [] if "hydra.run.dir" in typed else [f"hydra.run.dir={quoted(run)}"]
    if is_first_process():
        print(shown(f"continuing {run} with its own settings: {' '.join(own) or 'the defaults'}"), file=sys.stderr)
    return [*own, *folder, *arguments]


def continue_sweep(arguments: Sequence[str], verb: str) -> list[str]:
    """Add to a command line that names the folder of a sweep of `verb` the arguments of that sweep.

    Raises:
        ConfigError: the folder holds no sweep, or one of another verb, or one that needs what has to be typed again.
    """
    named = last_value(arguments, "sweep.resume")
    if named in (None, "null"):
        return list(arguments)
    folder = Path(str(named))  # of nothing, such as a variable of the shell that is not set, the working directory
    try:
        plan = json.loads((folder / SWEEP_PLAN).read_text(encoding="utf-8"))
        saved, kind = current_overrides(map(str, plan["arguments"])), str(plan["verb"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "type the folder that a sweep (-m) wrote, such as outputs/multirun/<date>/<time>"
        raise ConfigError(f"sweep.resume={folder} holds no sweep.json that can be read: {hint}") from error
    if kind != verb:
        raise ConfigError(f"{folder} is a sweep of fer_lightning.{kind}: type python -m fer_lightning.{kind} …")
    typed = [item for item in arguments if item not in MULTIRUN]
    replaced = {*map(override_key, typed), *MULTIRUN, "sweep.resume", "sweep.retry", "hydra.sweep.dir"}
    flags = {item for item in typed if item.startswith("-")}  # which replace the word after them too
    words = pairwise(["", *saved])
    own = [item for before, item in words if override_key(item) not in replaced and before not in flags]
    # without these, the sweep would go on with another study, or without its YAML files
    needed = [item for item in divide(own)[1] if override_key(item) == "sweep.storage" or item.startswith("-")]
    if needed:
        again = " ".join(map(_typed, needed))
        raise ConfigError(f"{folder} was started with {again}, which a file may not choose: type that again")
    own = _take(own, folder / SWEEP_PLAN)
    print(shown(f"continuing {folder}: {' '.join(own)}"), file=sys.stderr)
    return ["-m", *own, f"hydra.sweep.dir={quoted(folder)}", *typed]


def _read_overrides(file: Path) -> list[str]:
    """Return what was typed for a run, or raise ConfigError."""
    try:
        saved = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read ({first_lines(error)})") from error
    if not isinstance(saved, list) or not all(isinstance(item, str) for item in saved):
        raise ConfigError(f"{file} is not a list of settings, as Hydra writes it")
    return current_overrides(saved)


def _take(saved: Sequence[str], file: Path) -> list[str]:
    """Return those settings of a file that it may choose, and say which are left out."""
    taken, refused = divide(saved)
    if refused and is_first_process():
        again = " ".join(map(_typed, refused))
        said = f"not taken from {file}, which may be somebody else's: type again what you trust: {again}"
        print(shown(said), file=sys.stderr)
    return taken


def _typed(item: str) -> str:
    """Return an override, or a flag and its value, as it is typed in a shell."""
    flag, _, value = item.partition(" ")
    if item.startswith("-") and value:
        return f"{flag} {shlex.quote(value)}"
    return f'"{item}"' if "'" in item and not re.search(r'["$`\\!]', item) else shlex.quote(item)
