"""What all suites share: the user's settings, the folders, and the way from two contenders to a row."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from fer_lightning.benchmarks.paired_timing import Contender, ContenderError, Window, compare, run_once
from fer_lightning.benchmarks.rows import Row
from fer_lightning.config.check import check_config
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.overrides import override_key
from fer_lightning.core.errors import UserError

PACKAGE = "fer_lightning.benchmarks"
OWN_KEYS = ("suite", "window", "windows", "ckpt_path")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark."""

    cfg: DictConfig  # composed from `conf/benchmark.yaml`
    overrides: tuple[str, ...]  # that were typed
    flags: tuple[str, ...]  # of Hydra that were typed and that other programs need too
    folder: Path  # temporary, for everything that is written
    facts: dict[str, Any]  # what `prepare` found; empty before

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def on_gpu(self) -> bool:
        return self.facts["machine"]["accelerator"] in ("gpu", "cuda")

    def prepared(self) -> Bench:
        """Return this with `facts`, the cache being warm; raise a UserError where settings or data cannot be used."""
        work = contender("prepare", "prepare.prepare", settings=self.settings(), folder=str(self.folder))
        return replace(self, facts=run_once(work, self.logs))

    def settings(self, *fixed: str) -> str:
        """Write the settings of a contender's training, which has no end, and return the path of the file.

        The overrides `fixed` replace what was typed for the groups that they name, and any experiment. Raises a
        ConfigError for settings that cannot work.
        """
        groups = {override_key(item).partition(".")[0] for item in fixed if "." not in override_key(item)}
        groups |= {"experiment"} if groups else set()
        dropped = {*OWN_KEYS, *groups}
        kept = [item for item in self.overrides if override_key(item).partition(".")[0] not in dropped]
        composing: AbstractContextManager[None] = nullcontext()  # an initialized Hydra knows the user's --config-dir
        if not GlobalHydra.instance().is_initialized():
            composing = initialize_config_dir(str(conf_dir()), **hydra_options(initialize_config_dir))
        with composing:
            cfg = compose("benchmark", [*kept, *fixed, "output_dir=out"])
        with open_dict(cfg):
            cfg.trainer.max_epochs, cfg.trainer.max_steps, cfg.trainer.max_time = 10**6, -1, None
            # only ends of epochs pause the clock
            cfg.trainer.val_check_interval, cfg.trainer.fast_dev_run = None, False
            cfg.callbacks.pop("early_stopping", None)
            for key in OWN_KEYS:
                del cfg[key]
            cfg.ckpt_path = None  # of a contender, a run to continue
        check_config(cfg)
        path = self.folder / f"{len(list(self.folder.glob('*.yaml')))}.yaml"
        cfg.output_dir = str(path.with_suffix(""))  # before callbacks and loggers resolve it
        OmegaConf.save(cfg, path, resolve=True)
        return str(path)

    def training_overrides(self, *but: str) -> list[str]:
        """Return the user's own overrides for `fer_lightning.train`, without those of some keys."""
        typed = [item for item in self.overrides if override_key(item) not in (*OWN_KEYS, *but)]
        return [*typed, f"data.batch_size={self.cfg.data.batch_size}"]  # which this verb has another default for

    def measure(self, row: Row, ours: Contender, baseline: Contender, unit: float = 1.0, inverse: bool = False) -> Row:
        """Fill in a row that is not skipped, in units a second or, if `inverse`, in seconds a unit.

        A unit is `unit` of the things that the contenders count.
        """
        if row.skipped is not None:
            return row
        try:
            sides = self.compare(row, ours, baseline)
        except ContenderError as error:
            return replace(row, failed=str(error))
        mine, theirs = ([unit / w.rate if inverse else w.rate / unit for w in side] for side in sides)
        first, second = (side[-1] for side in sides)
        on_gpu = first.device_memory is not None and second.device_memory is not None
        notes = [*row.notes, *_describe_pauses("ours", "validation, checkpoints, pictures", sides[0])]
        notes += _describe_pauses(f"the {row.against}", "new loader processes", sides[1])
        if any(max(figures) > 1.5 * min(figures) for figures in (mine, theirs)):
            busy = "the windows of one side differ widely, so something else kept the machine busy"
            notes.append(f"{busy}: repeat it when it is idle")
        device_memory = (first.device_memory, second.device_memory) if on_gpu else None
        facts = {"memory": (first.memory, second.memory), "device_memory": device_memory, "notes": tuple(notes)}
        return row.filled(mine, theirs, **facts)

    def compare(self, row: Row, ours: Contender, baseline: Contender) -> tuple[list[Window], list[Window]]:
        """Return the windows of both sides of a row; raise a ContenderError if one of them fails."""
        log.info(f"{row.suite}: {row.what}, against {row.against}")
        return compare(ours, baseline, window=self.cfg.window, windows=self.cfg.windows, logs=self.logs)


def contender(name: str, work: str, **arguments: Any) -> Contender:
    """Return a contender whose work is a function `module.function` of this folder."""
    return Contender(name, f"{PACKAGE}.{work}", arguments)


def textbook(bench: Bench, work: str) -> Contender:
    """Return the contender of the textbook that does `work`: train or load."""
    return contender(f"textbook {work}", f"textbook.{work}", parts=bench.facts["textbook"], folder=bench.facts["faces"])


def left_out(bench: Bench) -> tuple[str, ...]:
    """Return a note on the settings that the textbook ignores."""
    extra = OmegaConf.select(bench.cfg, "augmentation.extra")
    return ("the textbook leaves augmentation.extra out",) if extra else ()


def attempt(row: Row, measure: Callable[[], Row]) -> Row:
    """Return the row if it is skipped, or else what `measure` returns, or the row as failed with the error of that."""
    try:
        return measure() if row.skipped is None else row
    except (UserError, ContenderError) as error:
        return replace(row, failed=str(error))


def run_python(*arguments: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run Python with these arguments; return what it printed and how many seconds it took."""
    environment = {key: value for key, value in os.environ.items() if key != "HYDRA_FULL_ERROR"}  # short errors
    command, begin = [sys.executable, *arguments], time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done, time.perf_counter() - begin


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of a command's errors, or else of its output."""
    return (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or ["nothing"])[-1]


def _describe_pauses(whose: str, what: str, windows: list[Window]) -> list[str]:
    count, seconds = sum(w.pauses for w in windows), sum(w.paused for w in windows)
    return [f"not counted of {whose}: {count} ends of epochs ({what}), {seconds / count:.2f} s each"] if count else []
