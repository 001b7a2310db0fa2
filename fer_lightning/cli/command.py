"""Starts every verb: Hydra in front, one readable message and an exit code behind."""

from __future__ import annotations

import functools
import importlib
import logging
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fer_lightning.cli.arguments import complete
from fer_lightning.cli.state import command_line, environment, silent_log
from fer_lightning.cli.usage import usage
from fer_lightning.config.check import check_config
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.overrides import unquoted
from fer_lightning.core.errors import UserError
from fer_lightning.core.fast_imports import fast_imports
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.runs.config_hash import identify
from fer_lightning.runs.status import Pruned, recorded
from fer_lightning.sweeps.process import end_with_parent
from fer_lightning.system.resources import is_first_process, is_job

FAILED, MISTYPED, INTERRUPTED = 1, 2, 130
RECORDED = ("train", "evaluate")  # verbs whose runs are told apart and looked at later
Task = Callable[[DictConfig], Any]
log = logging.getLogger(__name__)


def run_verb(
    name: str,
    task: str | Task,
    argv: Sequence[str] | None = None,
    *,
    positional: str | None = None,
) -> Any:
    """Compose `conf/<name>.yaml` with the command line, check it and run `task`, once or once for every job of a sweep.

    Args:
        name: of the verb and of its primary configuration.
        task: the function that gets the composed configuration, or its address below `fer_lightning`,
            `module:function`, which is imported when the configuration has been checked.
        argv: overrides and flags; those of the process by default.
        positional: setting, a list, that gets the words of the command line that are no settings; None for no such.

    Returns:
        what the task returned; nothing of a sweep, whose jobs keep their own account.

    Raises:
        SystemExit: 1 failed, 2 mistyped, 3 bad data, 130 interrupted, each after one message on stderr.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = _Verb(name, task)
    try:
        if is_job():
            end_with_parent()
        if {"-h", "--help"} & set(arguments):
            print(usage(name))
            return None
        arguments = complete(name, arguments, positional, swept=name in RECORDED)
        verb.remember_settings(arguments)
        # Hydra prints errors in its own way unless it is told to raise them
        with environment(HYDRA_FULL_ERROR="1"), command_line(arguments), silent_log():
            hydra.main(config_path=str(conf_dir()), config_name=name, **hydra_options(hydra.main))(verb.job())()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; nothing can be said to it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, SystemExit) as end:
        # inside the Trainer, Lightning turns Ctrl-C into SystemExit(1)
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        sys.exit(_report_start(error, arguments, verb.full_error))
    return verb.result


def run_task(task: str | Task, cfg: DictConfig) -> Any:
    """Check a composed configuration and run what `run_verb` calls a task with it.

    Raises:
        ConfigError: lists every problem of the configuration.
    """
    silence_libraries()
    with fast_imports():  # torch and Lightning, which a mistyped key should not wait for
        check_config(cfg)
        if not isinstance(task, str):
            return task(cfg)
        module, _, name = task.partition(":")
        function = getattr(importlib.import_module(f"fer_lightning.{module}"), name)
    return function(cfg)


class _Verb:
    """One start of a program: what it returned, or failed with."""

    def __init__(self, name: str, task: str | Task) -> None:
        self.name, self.task = name, task
        self.full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
        self.started = time.time()
        self.result: Any = None
        self.settings: dict[Path, bytes] = {}

    def remember_settings(self, arguments: Sequence[str]) -> None:
        """Keep what an earlier run in the same folder recorded, for Hydra writes over it before anything is checked."""
        folders = [unquoted(item.partition("=")[2]) for item in arguments if item.startswith("hydra.run.dir=")]
        for path in Path(folders[-1], ".hydra").glob("*.yaml") if folders and is_first_process() else ():
            self.settings[path] = path.read_bytes()

    def job(self) -> Callable[[DictConfig], Any]:
        """Return the task as Hydra shall call it: for the run, or for each job of a sweep."""
        name, task = self.name, self.task

        def job(cfg: DictConfig) -> Any:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                from fer_lightning.sweeps.run_job import run_job

                with environment(HYDRA_FULL_ERROR="1" if self.full_error else None):
                    return run_job(name, cfg, functools.partial(run_verb, name, task))
            return self._run(cfg)

        job.__module__ = f"fer_lightning.{self.name}"  # Hydra names job and log after it
        return job

    def _run(self, cfg: DictConfig) -> Any:
        hydra = HydraConfig.get()
        try:
            with environment(HYDRA_FULL_ERROR="1" if self.full_error else None), ExitStack() as kept:
                if self.name in RECORDED and is_first_process():
                    account = recorded(Path(hydra.runtime.output_dir), identify(cfg), [*hydra.overrides.task])
                    kept.enter_context(account)
                self.result = run_task(self.task, cfg)
            return self.result
        except Pruned:
            return None
        except Exception as error:
            raise SystemExit(self._report(error)) from error

    def _report(self, error: Exception) -> int:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if self.full_error:
            traceback.print_exception(error)
        user_error = _user_error(error)
        if user_error is not None:
            if not is_job():  # its sweep says it, beside what came of the others
                print(f"error: {user_error}", file=sys.stderr)
            for path, content in self.settings.items():
                path.write_bytes(content)
            if self.settings or is_job() or not is_first_process() or not self._remove_untouched(folder):
                _to_log_file(f"error: {user_error}")
            return user_error.exit_code
        place = _to_log_file("".join(traceback.format_exception(error)))
        where = f"the full traceback is in {place}; " if place else ""
        message = f"error: {type(error).__name__}: {error}\n{where}set HYDRA_FULL_ERROR=1 to see it here"
        print(message, file=sys.stderr)
        return FAILED

    def _remove_untouched(self, folder: Path) -> bool:
        """Remove an output folder that holds only what Hydra put there now, and the date above it if empty then."""
        hydras = {".hydra", "status.json", f"{self.name}.log"}
        older = any(path.stat().st_mtime < self.started for path in folder.rglob("*") if path.is_file())
        in_use = Path.cwd().is_relative_to(folder.resolve())
        if older or in_use or not folder.is_dir() or {path.name for path in folder.iterdir()} - hydras:
            return False
        for handler in _file_handlers():
            if folder in Path(handler.baseFilename).parents:
                handler.close()
                logging.getLogger().removeHandler(handler)
        shutil.rmtree(folder)
        for parent in folder.parents:
            ours = parent.name in (self.name, "multirun") or re.fullmatch(r"\d{4}-\d\d-\d\d", parent.name)
            if not ours or any(parent.iterdir()):
                break
            parent.rmdir()
        return True


def _report_start(error: Exception, arguments: Sequence[str], full_error: bool) -> int:
    """Report what went wrong before the task was reached."""
    if full_error:
        traceback.print_exception(error)
    user_error = _user_error(error)
    blocked = error if isinstance(error, OSError) else error.__cause__
    if user_error is not None:
        message, code = str(user_error), user_error.exit_code
    elif isinstance(error, (HydraException, OmegaConfBaseException, YAMLError)):
        message, code = explain(error, arguments), MISTYPED
    elif isinstance(blocked, OSError):
        message = f"cannot write to {blocked.filename} ({blocked.strerror}): choose a folder with hydra.run.dir=FOLDER"
        code = FAILED
    # mistakes in overrides and flags, and a launcher that is not installed, are these for Hydra
    elif isinstance(error, ValueError) or "Unknown plugin class" in str(error):
        message, code = explain(error, arguments), MISTYPED
    else:
        message, code = f"{type(error).__name__}: {error}\nset HYDRA_FULL_ERROR=1 to see where", FAILED
    print(f"error: {message}", file=sys.stderr)
    return code


def _user_error(error: BaseException | None) -> UserError | None:
    """Return the message for the user among an error and its causes."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


def _to_log_file(text: str) -> Path | None:
    """Write to the log of the run but not to the screen; return where that is."""
    record = log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None)
    for handler in _file_handlers():
        handler.handle(record)
        return Path(handler.baseFilename)
    return None


def _file_handlers() -> list[logging.FileHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
