"""Whose turn it is: a number that each start finds one higher, and that all processes of one run agree on."""

from __future__ import annotations

import os
from pathlib import Path

from fer_lightning.core.atomic_write import atomic_write

_RANKS = ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID")  # one of these is set in a process of several


def take_turn(counter: Path) -> int | None:
    """Return the number of this start, and count it.

    Ranks that Lightning starts get the number that the process which started them has taken, through the environment.

    Args:
        counter: the file that keeps the number.

    Returns:
        The number; None where there is none to agree on: for a rank that torchrun or SLURM has started, and where
        `counter` cannot be written.
    """
    variable = f"FER_LIGHTNING_TURN_{counter.stem}"
    if any(name in os.environ for name in _RANKS):
        handed_on = os.environ.get(variable, "")
        return int(handed_on) if handed_on.isdecimal() else None
    try:
        turn = int(counter.read_text())
    except (OSError, ValueError):
        turn = 0
    try:
        set_turn(counter, turn + 1)
    except OSError:
        os.environ.pop(variable, None)
        return None
    os.environ[variable] = str(turn)
    return turn


def set_turn(counter: Path, turn: int) -> None:
    """Let the next start have this number.

    Raises:
        OSError: `counter` cannot be written.
    """
    with atomic_write(counter) as new:
        new.write_text(str(turn))
