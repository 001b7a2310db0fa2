"""The command that repeats a run, without the settings of its sweep and its folder."""

from __future__ import annotations

import shlex

from fer_lightning.config.overrides import override_key
from fer_lightning.runs.read import RecordedRun

SWEEP_KEYS = (
    "hydra.run.dir",
    *(f"hydra{mark}{name}" for mark in "./" for name in ("sweep", "sweeper", "launcher")),
    "ckpt_path",
    "sweep",
    "machine.jobs",
)
SWEEPING = {"-m", "--multirun"}
FLAGS = ("--config-dir", "-cd", "--config-name", "-cn")  # each before its value


def rerun_command(run: RecordedRun) -> str | None:
    """Return what to type to run it again in a new folder; None where its command was not recorded."""
    command = run.environment.get("command")
    if not isinstance(command, str):
        return None
    words = shlex.split(command)
    start = 3 if words[1:2] == ["-m"] else 2  # python -m fer_lightning.train, or python and a script
    program, arguments = words[:start], words[start:]
    if SWEEPING & set(arguments):  # the command of a whole sweep: Hydra recorded the overrides of this job
        flags = [at for at, word in enumerate(arguments) if word in FLAGS]
        arguments = [*(word for at in flags for word in arguments[at : at + 2]), *run.overrides]
    return shlex.join([*program, *(word for word in arguments if not belongs_to_sweep(word))])


def belongs_to_sweep(word: str) -> bool:
    """Whether an override says where a run is written or what drives it, and not what it computes."""
    key = override_key(word) if "=" in word else ""
    return any(key == name or key.startswith(f"{name}.") for name in SWEEP_KEYS)
