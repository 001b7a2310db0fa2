"""Starts every verb: Hydra composes the settings; a failure is one readable message and an exit code."""

from __future__ import annotations

import contextvars
import errno
import functools
import io
import logging
import os
import pkgutil
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fer_lightning.cli.arguments import complete
from fer_lightning.cli.run_folder import release_folders
from fer_lightning.cli.usage import usage
from fer_lightning.config.check import check_config
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.hydra_targets import checked_composition
from fer_lightning.config.idle import idle_settings
from fer_lightning.config.overrides import last_value
from fer_lightning.core.errors import StorageError, UserError
from fer_lightning.core.fast_imports import fast_imports
from fer_lightning.core.file_names import shown
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.core.shown_records import ShownRecord
from fer_lightning.runs.config_hash import identify
from fer_lightning.runs.files import HYDRA, RUN_LOCK, STATUS
from fer_lightning.runs.status import Pruned, recorded
from fer_lightning.sweeps.process import end_with_parent
from fer_lightning.system.resources import is_first_process, is_job

FAILED, MISTYPED, INTERRUPTED, TERMINATED = 1, 2, 130, 143
RECORDED = ("train", "evaluate")  # verbs that keep a status.json and can be swept
Task = Callable[[DictConfig], Any]
log = logging.getLogger(__name__)


def run_verb(name: str, task: str | Task, argv: Sequence[str] | None = None, *, positional: str | None = None) -> Any:
    """Compose `conf/<name>.yaml` with the command line, check it and run `task`, once or for every job of a sweep.

    Args:
        name: of the verb and of its primary configuration.
        task: the function that gets the composed configuration, or its address below `fer_lightning`,
            `module:function`, which is imported when the configuration has been checked.
        argv: overrides and flags; those of the process by default.
        positional: the setting, a list, that gets the arguments that are no settings; None for no such.

    Returns:
        what the task returned; None for a sweep, whose jobs record their own results.

    Raises:
        SystemExit: 1 failed, 2 mistyped, 3 bad data, 130 interrupted, each after one message on stderr; 143 after
            SIGTERM, and likewise 128 and the number of another signal.
    """
    logging.setLogRecordFactory(ShownRecord)
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = _Verb(name, task)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are not UTF-8
    try:
        if is_job():
            end_with_parent()
        if {"-h", "--help"} & set(arguments):
            print(usage(name))
            return None
        arguments = complete(name, arguments, positional, swept=name in RECORDED)
        verb.remember_settings(arguments)
        with (
            _changed(os.environ, HYDRA_FULL_ERROR="1"),  # or Hydra would print errors in its own way
            # Hydra reads the command line here, and Lightning starts other ranks with it
            _changed(vars(sys), argv=[sys.argv[0], *arguments]),
            # on a full disk, logging would print a traceback for each line that it cannot write
            _changed(vars(logging), raiseExceptions=False),
            checked_composition(),
        ):
            program = hydra.main(config_path=str(conf_dir()), config_name=name, **hydra_options(hydra.main))(verb.job())
            contextvars.copy_context().run(program)
    except BrokenPipeError:  # the reader, such as `head`, has closed its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, SystemExit) as end:
        # inside the Trainer, Lightning turns Ctrl-C into SystemExit(1)
        if type(end).__name__ == "SIGTERMException":  # Lightning's, while it scores; its exit code is 0
            print("interrupted by SIGTERM", file=sys.stderr)
            sys.exit(TERMINATED)
        if isinstance(end, SystemExit) and not isinstance(end.__context__, KeyboardInterrupt):
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:  # before the task was reached
        if verb.full_error:
            traceback.print_exception(error)
        message, code = explain_start(error, arguments)
        print(shown(f"error: {message}"), file=sys.stderr)
        sys.exit(code)
    finally:
        release_folders()
    return verb.result


def run_task(task: str | Task, cfg: DictConfig) -> Any:
    """Check a composed configuration, which raises a ConfigError, and run a task, as `run_verb` names it, with it."""
    silence_libraries()
    with fast_imports():
        check_config(cfg)  # first, because a mistyped key should not wait for torch and Lightning
        for line in idle_settings(cfg) if is_first_process() else ():
            log.warning(line)
        function: Task = pkgutil.resolve_name(f"fer_lightning.{task}") if isinstance(task, str) else task
    return function(cfg)


class _Verb:
    """One start of a verb, and what it returned."""

    def __init__(self, name: str, task: str | Task) -> None:
        self.name, self.task, self.started = name, task, time.time()
        self.full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
        self.result: Any = None
        self.settings: dict[Path, bytes] = {}

    def remember_settings(self, arguments: Sequence[str]) -> None:
        """Keep the settings of an earlier run in the same folder: Hydra overwrites them before anything is checked."""
        folder = last_value(arguments, "hydra.run.dir")
        if folder is not None and is_first_process():
            self.settings = {path: path.read_bytes() for path in Path(folder, HYDRA).glob("*.yaml")}

    def job(self) -> Task:
        """Return the function that Hydra calls, for a run or for each job of a sweep."""

        def job(cfg: DictConfig) -> Any:
            with _changed(os.environ, HYDRA_FULL_ERROR="1" if self.full_error else None):
                if HydraConfig.get().mode != RunMode.MULTIRUN:
                    return self._run(cfg)
                from fer_lightning.sweeps.run_job import run_job

                return run_job(self.name, cfg, functools.partial(run_verb, self.name, self.task))

        job.__module__ = f"fer_lightning.{self.name}"  # Hydra names job and log after it
        return job

    def _run(self, cfg: DictConfig) -> Any:
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        # as they are typed: ${…} in one refers to the settings, not to Hydra's
        overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        keeps_status = self.name in RECORDED and is_first_process()
        try:
            recording = recorded(folder, identify(cfg), overrides) if keeps_status else nullcontext()
            with recording, _naming_output(cfg, folder), _naming_what_is_full(folder):
                self.result = run_task(self.task, cfg)
            return self.result
        except Pruned:
            return None
        except Exception as error:
            raise SystemExit(self._report(error, folder)) from error

    def _report(self, error: Exception, folder: Path) -> int:
        """Print why the task failed, and return the exit code."""
        if self.full_error:
            traceback.print_exception(error)
        user_error = _user_error(error)
        if user_error is None:
            file = _write_to_log_file("".join(traceback.format_exception(error)))
            where = f"the full traceback is in {file}; set" if file else "set"
            print(
                shown(f"error: {type(error).__name__}: {error}\n{where} HYDRA_FULL_ERROR=1 to see it here"),
                file=sys.stderr,
            )
            return FAILED
        if not is_job():  # its sweep prints the message beside the results of the others
            print(shown(f"error: {user_error}"), file=sys.stderr)
        for path, content in self.settings.items():
            path.write_bytes(content)
        if self.settings or is_job() or not is_first_process() or not self._remove_untouched(folder):
            _write_to_log_file(f"error: {user_error}")
        return user_error.exit_code

    def _remove_untouched(self, folder: Path) -> bool:
        """Remove an output folder that holds only what Hydra put there now, and the date above it if empty then."""
        older = any(path.stat().st_mtime < self.started for path in folder.rglob("*") if path.is_file())
        in_use = not folder.is_dir() or Path.cwd().is_relative_to(folder.resolve())
        if older or in_use or {path.name for path in folder.iterdir()} - {HYDRA, STATUS, RUN_LOCK, f"{self.name}.log"}:
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


def explain_start(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """Return the message and the exit code of an error that was raised before the task was reached."""
    if user_error := _user_error(error):
        return str(user_error), user_error.exit_code
    blocked = error if isinstance(error, OSError) else error.__cause__
    # Hydra raises ValueError for mistakes in overrides and flags, and names a launcher that is not installed a plugin
    by_hydra = isinstance(error, (HydraException, OmegaConfBaseException, YAMLError))
    if not by_hydra and isinstance(blocked, OSError):
        place = blocked.filename or last_value(arguments, "hydra.run.dir") or "outputs"
        return str(StorageError.writing(place, blocked)), FAILED
    if by_hydra or isinstance(error, ValueError) or "Unknown plugin class" in str(error):
        return explain(error, arguments), MISTYPED
    return f"{type(error).__name__}: {error}\nset HYDRA_FULL_ERROR=1 to see where", FAILED


def _user_error(error: BaseException | None) -> UserError | None:
    """Return the error with a message for the user, among an error and its causes."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__
    return error


@contextmanager
def _naming_output(cfg: DictConfig, folder: Path) -> Iterator[None]:
    """Advise another `output_dir` where the one that was typed cannot be written to: `hydra.run.dir` moves it not."""
    try:
        yield
    except StorageError as error:
        output = Path(cfg.get("output_dir", folder))
        if output == folder or not Path(error.filename or folder).is_relative_to(output):
            raise
        raise error.advising("output_dir=FOLDER") from error


@contextmanager
def _naming_what_is_full(folder: Path) -> Iterator[None]:
    """Say where a library could not write: its error on a full disk names no file."""
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError) or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
            raise
        raise StorageError.writing(error.filename or folder, error) from error


def _write_to_log_file(text: str) -> Path | None:
    """Write to the log file of the run but not to the screen; return the file."""
    for handler in _file_handlers():
        handler.handle(log.makeRecord(log.name, logging.ERROR, __file__, 0, text, (), None))
        return Path(handler.baseFilename)
    return None


@contextmanager
def _changed(namespace: MutableMapping[str, Any], **values: Any) -> Iterator[None]:
    """Set names of a module or variables of the environment for a while; None removes one."""
    before = {name: namespace.get(name) for name in values}
    try:
        _set(namespace, values)
        yield
    finally:
        _set(namespace, before)


def _set(namespace: MutableMapping[str, Any], values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is None:
            namespace.pop(name, None)
        else:
            namespace[name] = value


def _file_handlers() -> list[logging.FileHandler]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
