"""Starts every verb: Hydra in front, one readable message and an exit code behind."""

from __future__ import annotations

import inspect
import logging
import os
import re
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from fer_lightning.cli.composition import explain
from fer_lightning.cli.resume import continue_run, unquoted
from fer_lightning.cli.usage import usage
from fer_lightning.config import conf_dir
from fer_lightning.errors import UserError

FAILED, MISTYPED, INTERRUPTED = 1, 2, 130
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
log = logging.getLogger(__name__)


def run_verb(name: str, task: Callable[[DictConfig], Any], argv: Sequence[str] | None = None) -> Any:
    """Compose `conf/<name>.yaml` with the command line and run `task`, once or once for every job of a sweep.

    Args:
        name: of the verb and of its primary configuration.
        task: gets the composed configuration.
        argv: overrides and flags; those of the process by default.

    Returns:
        what the task returned, the last one of a sweep.

    Raises:
        SystemExit: 1 failed, 2 mistyped, 3 bad data, 130 interrupted, each after one message on stderr.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    arguments.sort(key=lambda item: item not in ("-m", "--multirun"))  # Hydra 1.3 wants all overrides in one row
    verb = _Verb(name, task)
    try:
        if {"-h", "--help"} & set(arguments):
            print(usage(name))
            return None
        if name == "train":
            arguments = continue_run(arguments)
        verb.remember_settings(arguments)
        # Hydra prints errors in its own way unless it is told to raise them
        with _environment(HYDRA_FULL_ERROR="1"), _command_line(arguments):
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
        sys.exit(verb.end_sweep() if verb.codes else _report_start(error, arguments, verb.full_error))
    return verb.result


def hydra_options(start: Callable[..., Any]) -> dict[str, Any]:
    """Return what one of Hydra's starters must be told, beside the place of the configs, for the Hydra that is here.

    Hydra 1.3 warns unless it is told which version's habits to follow; 1.4 has only its own, warns where it is told and
    announces that 1.5 will not know the argument. From 1.4 on, `hydra.main` asks which targets may be called.

    Args:
        start: `hydra.main` or `hydra.initialize_config_dir`.
    """
    if "execution_whitelist" not in inspect.signature(hydra.main).parameters:
        return {"version_base": "1.3"}
    if "execution_whitelist" not in inspect.signature(start).parameters:
        return {}
    from hydra.utils import UNSAFE_DISABLE_EXECUTION_CHECKS  # the settings are the user's own, as is the machine

    return {"execution_whitelist": UNSAFE_DISABLE_EXECUTION_CHECKS}


class _Verb:
    """One start of a program: what its jobs returned or failed with."""

    def __init__(self, name: str, task: Callable[[DictConfig], Any]) -> None:
        self.name, self.task = name, task
        self.full_error = os.environ.get("HYDRA_FULL_ERROR") == "1"
        self.begun = time.time()
        self.started = 0
        self.codes: list[int] = []
        self.said: set[str] = set()
        self.result: Any = None
        self.settings: dict[Path, bytes] = {}
        self.sweep = Path()

    def remember_settings(self, arguments: Sequence[str]) -> None:
        """Keep what an earlier run in the same folder recorded, for Hydra writes over it before anything is checked."""
        folders = [unquoted(item.partition("=")[2]) for item in arguments if item.startswith("hydra.run.dir=")]
        for path in Path(folders[-1], ".hydra").glob("*.yaml") if folders and _is_first_process() else ():
            self.settings[path] = path.read_bytes()

    def job(self) -> Callable[[DictConfig], Any]:
        """Return the task as Hydra shall call it."""

        def job(cfg: DictConfig) -> Any:
            self.started += 1
            self.sweep = Path(HydraConfig.get().sweep.dir)
            try:
                with _environment(HYDRA_FULL_ERROR="1" if self.full_error else None):  # for ranks that Lightning starts
                    self.result = self.task(cfg)
                return self.result
            except Exception as error:
                self.codes.append(self._report(error))
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    raise  # the sweeper must know; the other jobs go on
                raise SystemExit(self.codes[-1]) from error

        job.__module__ = f"fer_lightning.{self.name}"  # Hydra names job and log after it
        return job

    def _report(self, error: Exception) -> int:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if self.full_error:
            traceback.print_exception(error)
        user_error = _user_error(error)
        if user_error is not None:
            if str(user_error) not in self.said:  # once, where it stops every job of a sweep
                print(f"error: {user_error}", file=sys.stderr)
            self.said.add(str(user_error))
            for path, content in self.settings.items():
                path.write_bytes(content)
            if self.settings or not _is_first_process() or not self._remove_untouched(folder):
                _to_log_file(f"error: {user_error}")
            return user_error.exit_code
        place = _to_log_file("".join(traceback.format_exception(error)))
        where = f"the full traceback is in {place}; " if place else ""
        message = f"error: {type(error).__name__}: {error}\n{where}set HYDRA_FULL_ERROR=1 to see it here"
        print(message, file=sys.stderr)
        return FAILED

    def end_sweep(self) -> int:
        """Return the exit code of a sweep in which jobs failed, each with its own message before."""
        self._remove_untouched(self.sweep)
        print(f"error: {len(self.codes)} of {self.started} jobs failed", file=sys.stderr)
        return self.codes[0]

    def _remove_untouched(self, folder: Path) -> bool:
        """Remove an output folder that holds only what Hydra put there now, and the date above it if empty then."""
        hydras = {".hydra", "multirun.yaml", f"{self.name}.log"}
        older = any(path.stat().st_mtime < self.begun for path in folder.rglob("*") if path.is_file())
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
    elif isinstance(error, ValueError):  # so are some mistakes in overrides and flags for Hydra
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


def _is_first_process() -> bool:
    return all(os.environ.get(name, "0") == "0" for name in RANK_VARIABLES)


@contextmanager
def _environment(**variables: str | None) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    _set_environment(variables)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(variables: dict[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Let the process have these arguments: Hydra reads them, and Lightning starts other ranks with them."""
    before = sys.argv
    sys.argv = [before[0], *arguments]
    try:
        yield
    finally:
        sys.argv = before
