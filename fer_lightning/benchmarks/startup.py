"""Suite `startup`: seconds that whole commands take."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import hydra

from fer_lightning.benchmarks.bench import Bench, attempt, last_line, run_python
from fer_lightning.benchmarks.paired_timing import ContenderError
from fer_lightning.benchmarks.rows import Goal, Row, in_turn
from fer_lightning.config.compose import conf_dir
from fer_lightning.config.overrides import quoted

FIRST_STEP = "fer_lightning.benchmarks.first_step.LeaveAfterFirstStep"
TRAIN = ["-m", "fer_lightning.train"]
# a program that is nothing but Hydra, on the same YAML files
BARE_HYDRA = "import hydra; hydra.main(config_path={path!r}, config_name='train'{version})(lambda cfg: None)()"
# exits as the command that it is compared with does, without a second of clean-up
IMPORTS = "import os, torch, lightning.pytorch; os._exit(0)"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """One way to start the program."""

    row: Row  # without figures
    ours: list[str]  # arguments of Python
    baseline: list[str]
    codes: tuple[int, int] = (0, 0)  # exit codes that both must end with
    light: bool = True  # whether ours must not import torch


def startup(bench: Bench) -> Iterator[Row]:
    """Time commands, from `import fer_lightning` to the first training step."""
    for start in starts(bench):
        yield time_start(bench, start)


def time_start(bench: Bench, start: Start) -> Row:
    """Fill in the row of a start, which fails if a light one imports torch."""
    row = attempt(start.row, partial(_time, bench, start))
    if start.light and _imports_torch(start.ours):
        row = replace(row, failed="it imports torch, which takes seconds")
    elif start.light:
        row = replace(row, notes=(*row.notes, "torch is not imported"))
    return row


def starts(bench: Bench) -> list[Start]:
    """Return the commands, each with its baseline and its goal in seconds."""
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
    row = _row("from command to first training step", "import torch and Lightning", 0)
    row = replace(row, goal=Goal("ratio", "most", 1.3), notes=("the cache is warm",))
    leave = f"+callbacks.leave._target_={FIRST_STEP}"
    first_step = [*TRAIN, *bench.training_overrides(), leave, *bench.flags]
    return [*found, Start(row, first_step, ["-c", IMPORTS], light=False)]


def _row(what: str, against: str, seconds: float) -> Row:
    return Row("startup", what, against, unit="s", goal=Goal("ours", "most", seconds))


def _time(bench: Bench, start: Start) -> Row:
    """Time two commands in turn, after each has run once, uncounted, to warm the caches of the disk."""

    def run(turn: int, side: int) -> float:
        own = [] if start.light or side else [f"hydra.run.dir={quoted(bench.folder / f'run-{turn}')}"]
        done, seconds = run_python(*(start.baseline if side else start.ours), *own)
        if done.returncode != start.codes[side]:
            raise ContenderError(f"a command ended with code {done.returncode} and said: {last_line(done)}")
        return seconds

    log.info(f"{start.row.suite}: {start.row.what}, against {start.row.against}")
    ours, baseline = in_turn(1 + bench.cfg.windows, run)
    return start.row.filled(ours[1:], baseline[1:])


def _imports_torch(command: list[str]) -> bool:
    done, _ = run_python("-X", "importtime", *command)
    return "torch" in {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
