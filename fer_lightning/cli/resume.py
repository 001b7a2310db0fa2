"""`ckpt_path=outputs/…/checkpoints/last.ckpt` continues that run in its own folder, with its own settings."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from fer_lightning.cli.composition import override_key


def continue_run(argv: Sequence[str]) -> list[str]:
    """Complete a command line that names a checkpoint of a run by what that run was started with.

    The run's own overrides come first and give way to what is typed again, and the run's folder is the output folder.
    Applying it twice gives the same settings, because Lightning starts the other ranks with the same command line.

    Args:
        argv: what was typed, without the program's name.

    Returns:
        the command line to use: `argv` itself where no checkpoint inside a run folder is named.
    """
    arguments = list(argv)
    position = max((index for index, item in enumerate(arguments) if item.startswith("ckpt_path=")), default=None)
    run = None if position is None else run_folder(unquoted(arguments[position].partition("=")[2]))
    if position is None or run is None or {"-m", "--multirun"} & set(arguments):
        return arguments
    typed = {override_key(item) for item in arguments}
    saved: list[str] = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text(encoding="utf-8")) or []
    own = [item for item in saved if override_key(item) not in typed]
    folder = [] if "hydra.run.dir" in typed else [f"hydra.run.dir={quoted(run)}"]
    if "hydra.output_subdir=null" not in arguments:  # which Lightning adds for the other ranks
        print(f"continuing {run} with its own settings: {' '.join(own) or 'the defaults'}", file=sys.stderr)
    # beside ckpt_path, because argparse on Hydra 1.3 wants all overrides in one row
    return [*arguments[:position], *own, arguments[position], *folder, *arguments[position + 1 :]]


def run_folder(checkpoint: str) -> Path | None:
    """Return the nearest folder above an existing checkpoint that Hydra recorded a run in."""
    path = Path(checkpoint)
    if not checkpoint or not path.exists():
        return None
    return next((folder for folder in path.parents if (folder / ".hydra" / "overrides.yaml").is_file()), None)


def quoted(value: object) -> str:
    """Return `value` so that Hydra reads it as this text, whatever it contains."""
    escaped = str(value).replace("\\'", "\\\\'").replace("'", "\\'")
    return f"'{escaped}'"


def unquoted(text: str) -> str:
    """Return what Hydra reads from the value of an override, for paths."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1].replace(f"\\{text[0]}", text[0])
    return re.sub(r"\\([\\()\[\]{}:=, ])", r"\1", text)
