"""The command that repeats a run, without the settings of its sweep and its folder."""

from __future__ import annotations

import shlex
from itertools import chain, pairwise

from fer_lightning.config.overrides import override_key
from fer_lightning.core.former_names import current_overrides
from fer_lightning.runs.found_settings import as_typed, found_in
from fer_lightning.runs.read import RecordedRun

SWEEP_KEYS = (
    *("hydra.run.dir.", "ckpt_path.", "sweep.", "machine.jobs."),
    *(f"hydra{mark}{name}." for mark in "./" for name in ("sweep", "sweeper", "launcher")),
)


def rerun_command(run: RecordedRun) -> str | None:
    """Return what to type to run it again in a new folder; None where its command was not recorded."""
    command = run.environment.get("command")
    if not isinstance(command, str):
        return None
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that does not end: nobody has typed that
        return None
    start = 3 if words[1:2] == ["-m"] else 2  # python -m fer_lightning.train, or python and a script
    program, arguments = words[:start], words[start:]
    if {"-m", "--multirun"} & set(arguments):  # the command of a whole sweep: Hydra recorded the overrides of this job
        pairs = [pair for pair in pairwise(arguments) if pair[0] in ("--config-dir", "-cd", "--config-name", "-cn")]
        arguments = [*chain.from_iterable(pairs), *run.overrides]
    kept = current_overrides(word for word in arguments if not belongs_to_sweep(word))
    kept = as_typed(kept, found_in(run.environment))
    return shlex.join([*program, *kept])


def belongs_to_sweep(word: str) -> bool:
    """Whether an override says where a run is written or what drives it, and not what it computes."""
    return "=" in word and f"{override_key(word)}.".startswith(SWEEP_KEYS)
