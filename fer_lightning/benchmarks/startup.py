"""Suite `startup`: seconds of whole commands, from the shell's side."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import hydra

from fer_lightning.benchmarks.bench import OWN_KEYS, Bench
from fer_lightning.benchmarks.rows import Goal, Row, Spread, paired
from fer_lightning.config.compose import conf_dir
from fer_lightning.config.overrides import override_key, quoted

FIRST_STEP = "fer_lightning.benchmarks.first_step.LeaveAfterFirstStep"
TRAIN = ["-m", "fer_lightning.train"]
# a program that is nothing but Hydra, on the same YAML files
BARE_HYDRA = "import hydra; hydra.main(config_path={path!r}, config_name='train'{version})(lambda cfg: None)()"
# leaves as the command that it is compared with does, without a second of taking everything down again
IMPORTS = "import os, torch, lightning.pytorch; os._exit(0)"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """One way to start the program.

    Attributes:
        row: what is said of it.
        ours: arguments of Python.
        yardstick: likewise.
        codes: exit codes that both must end with.
        light: whether it must not import torch.
    """

    row: Row
    ours: list[str]
    yardstick: list[str]
    codes: tuple[int, int] = (0, 0)
    light: bool = True


def startup(bench: Bench) -> Iterator[Row]:
    """Time every way to start the program."""
    for start in starts(bench):
        row = _race(bench, start)
        if start.light and _imports_torch(start.ours):
            row = replace(row, failed="torch is imported, which nobody should wait for here")
        yield replace(row, notes=(*row.notes, "torch is not imported")) if start.light and row.failed is None else row


def starts(bench: Bench) -> list[Start]:
    """Return the commands, each with its yardstick and its goal in seconds."""
    version = ", version_base='1.3'" if "version_base" in inspect.signature(hydra.main).parameters else ""
    bare = ["-c", BARE_HYDRA.format(path=str(conf_dir()), version=version)]
    found = [Start(_row("import fer_lightning", "python -c pass", 0.1), ["-c", "import fer_lightning"], ["-c", "pass"])]
    for typed, seconds, codes in (
        (["--help"], 1.0, (0, 0)),
        (["--cfg", "job"], 1.2, (0, 0)),
        (["optimizer.lrr=1"], 1.2, (2, 1)),
        (["model=resnet51"], 1.2, (2, 1)),
    ):
        found.append(Start(_row(" ".join(typed), "bare Hydra", seconds), [*TRAIN, *typed], [*bare, *typed], codes))
    row = _row("from command to first training step", "import torch and Lightning", None)
    row = replace(row, goal=Goal("ratio", "most", 1.3), notes=("the cache is warm",))
    return [*found, Start(row, _first_step(bench), ["-c", IMPORTS], light=False)]


def _row(what: str, against: str, seconds: float | None) -> Row:
    goal = None if seconds is None else Goal("ours", "most", seconds)
    return Row("startup", what, against, unit="s", goal=goal)


def _first_step(bench: Bench) -> list[str]:
    """The user's own training command, with one more callback."""
    typed = [item for item in bench.overrides if override_key(item) not in OWN_KEYS]
    size = f"data.batch_size={bench.cfg.data.batch_size}"  # which this verb has another default for
    return [*TRAIN, *typed, size, f"+callbacks.leave._target_={FIRST_STEP}", *bench.flags]


def _race(bench: Bench, start: Start) -> Row:
    """Time two commands in turn, after each has run once, uncounted, to warm the caches of the disk."""
    seconds: tuple[list[float], list[float]] = ([], [])
    commands = (start.ours, start.yardstick)
    log.info(f"startup: {start.row.what}, against {start.row.against}")
    for turn in range(-1, bench.cfg.windows):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            own = [] if start.light or side else [f"hydra.run.dir={quoted(bench.folder / f'run-{turn}')}"]
            begin = time.perf_counter()
            done = _run([*commands[side], *own])
            taken = time.perf_counter() - begin
            if done.returncode != start.codes[side]:
                said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
                return replace(start.row, failed=f"a command ended with code {done.returncode} and said: {said}")
            if turn >= 0:
                seconds[side].append(taken)
    mine, theirs = seconds
    return replace(start.row, ours=Spread.of(mine), yardstick=Spread.of(theirs), ratio=paired(mine, theirs))


def _imports_torch(command: list[str]) -> bool:
    """Whether a command of Python imports torch, told by Python itself."""
    lines = _run(["-X", "importtime", *command]).stderr.splitlines()
    return "torch" in {line.rpartition("|")[2].strip() for line in lines}


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}
    return subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
