"""The command that repeats a run: as it was started, without what belongs to its sweep or its folder."""

from __future__ import annotations

import shlex

from fer_lightning.config.overrides import override_key
from fer_lightning.runs.read import RecordedRun

OWN = (
    "hydra.run.dir",
    *(f"hydra{mark}{name}" for mark in "./" for name in ("sweep", "sweeper", "launcher")),
    "ckpt_path",
    "sweep",
    "machine.jobs",
)
SWEEPING = {"-m", "--multirun"}
FLAGS = ("--config-dir", "-cd", "--config-name", "-cn")  # each before its value


def repeating_command(run: RecordedRun) -> str | None:
    """Return what to type to run it again in a new folder; None where the run does not say how it was started."""
    command = run.environment.get("command")
    if not isinstance(command, str):
        return None
    words = shlex.split(command)
    start = 3 if words[1:2] == ["-m"] else 2  # python -m fer_lightning.train, or python and a script
    program, arguments = words[:start], words[start:]
    if SWEEPING & set(arguments):  # the command of a whole sweep: of this run, Hydra noted what it was told
        flags = [at for at, word in enumerate(arguments) if word in FLAGS]
        arguments = [*(word for at in flags for word in arguments[at : at + 2]), *run.overrides]
    return shlex.join([*program, *(word for word in arguments if not of_its_sweep(word))])


def of_its_sweep(word: str) -> bool:
    """Whether a word of a command line says where a run goes or what drives it, and not what it computes."""
    if "=" not in word:
        return False
    key = override_key(word)
    return any(key == own or key.startswith(f"{own}.") for own in OWN)
