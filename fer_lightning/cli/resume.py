"""Continues a run or a sweep, in its own folder and with its own settings.

`ckpt_path=outputs/…/checkpoints/last.ckpt` continues a run, `sweep.resume=outputs/multirun/…` a sweep.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from fer_lightning.config.overrides import override_key, quoted, unquoted
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.files import OVERRIDES, SWEEP_PLAN
from fer_lightning.system.resources import is_first_process

MULTIRUN = ("-m", "--multirun")


def continue_run(argv: Sequence[str]) -> list[str]:
    """Add the overrides of a run to a command line that names one of its checkpoints.

    They come before what is typed, which overrides them, and the output goes to the run's folder. Applying this twice
    gives the same settings, because Lightning starts the other ranks with the same command line.

    Args:
        argv: what was typed, without the program's name.

    Returns:
        the command line to use: `argv` itself where no checkpoint inside a run folder is named.
    """
    arguments = list(argv)
    named = [index for index, item in enumerate(arguments) if item.startswith("ckpt_path=")]
    run = run_folder(unquoted(arguments[named[-1]].partition("=")[2])) if named else None
    if run is None or not {*MULTIRUN}.isdisjoint(arguments):
        return arguments
    typed = {override_key(item) for item in arguments}
    saved: list[str] = yaml.safe_load((run / OVERRIDES).read_text(encoding="utf-8")) or []
    own = [item for item in saved if override_key(item) not in typed]
    folder = [] if "hydra.run.dir" in typed else [f"hydra.run.dir={quoted(run)}"]
    if is_first_process():
        print(f"continuing {run} with its own settings: {' '.join(own) or 'the defaults'}", file=sys.stderr)
    # beside ckpt_path, because argparse on Hydra 1.3 wants all overrides in one row
    before, ckpt_path, after = arguments[: named[-1]], arguments[named[-1]], arguments[named[-1] + 1 :]
    return [*before, *own, ckpt_path, *folder, *after]


def continue_sweep(argv: Sequence[str], verb: str) -> list[str]:
    """Add the arguments of a sweep to a command line that names its folder.

    Args:
        argv: what was typed, without the program's name.
        verb: of the program.

    Returns:
        the command line to use: `argv` itself where no sweep is named.

    Raises:
        ConfigError: the folder holds no sweep, or one of another verb.
    """
    named = [unquoted(item.partition("=")[2]) for item in argv if item.startswith("sweep.resume=")]
    if not named or named[-1] == "null":
        return list(argv)
    folder = Path(named[-1])  # of nothing, such as a variable of the shell that is not set, the working directory
    try:
        plan = json.loads((folder / SWEEP_PLAN).read_text(encoding="utf-8"))
        saved, kind = [str(item) for item in plan["arguments"]], plan["verb"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "type the folder that a sweep (-m) wrote, such as outputs/multirun/<date>/<time>"
        raise ConfigError(f"sweep.resume={folder} holds no sweep.json that can be read: {hint}") from error
    if kind != verb:
        raise ConfigError(f"{folder} is a sweep of fer_lightning.{kind}: type python -m fer_lightning.{kind} …")
    typed = [item for item in argv if item not in MULTIRUN]
    replaced = {*map(override_key, typed), *MULTIRUN, "sweep.resume", "sweep.retry", "hydra.sweep.dir"}
    flags = {item for item in typed if item.startswith("-")}  # which replace the word after them too
    pairs = zip(("", *saved), saved, strict=False)
    own = [item for before, item in pairs if override_key(item) not in replaced and before not in flags]
    print(f"continuing {folder}: {' '.join(own)}", file=sys.stderr)
    return ["-m", *own, f"hydra.sweep.dir={quoted(folder)}", *typed]


def run_folder(checkpoint: str) -> Path | None:
    """Return the nearest folder above an existing checkpoint that Hydra recorded a run in."""
    path = Path(checkpoint)
    folders = path.parents if checkpoint and path.exists() else ()
    return next((folder for folder in folders if (folder / OVERRIDES).is_file()), None)
