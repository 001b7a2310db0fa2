"""The folder of a run is its own: it is claimed before Hydra writes anything to it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.overrides import override_key
from fer_lightning.core.atomic_write import make_folder, remove_unfinished
from fer_lightning.core.errors import ConfigError, StorageError, UserError
from fer_lightning.core.file_names import shown
from fer_lightning.runs.run_lock import RunLock
from fer_lightning.system.resources import is_first_process

_locks: list[RunLock] = []  # of the runs of this process that go on
_made: list[Path] = []  # folders of runs and sweeps that this process made


class ClaimFolder(Callback):
    """Gives each run, and each sweep, a folder that no other has, and locks it.

    A second one that is started within the same second gets another name; where the name was typed, it is refused while
    the other runs.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        if is_first_process():
            with _refusing():
                folder = _claim(config, "run")
                if config.get("logger") and not _is_utf8(folder.absolute()):
                    raise ConfigError(
                        f"the name of {folder.absolute()} is not UTF-8, and loggers write to no such folder: type"
                        " another hydra.run.dir=FOLDER"
                    )
                _locks.append(RunLock(folder))
                for place in (folder, folder / "checkpoints"):
                    remove_unfinished(place)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        if is_first_process() and config.get("sweep", {}).get("resume") is None:
            with _refusing():
                _claim(config, "sweep")


def _is_utf8(path: Path) -> bool:
    return str(path).encode("utf-8", "replace") == os.fsencode(path)


def release_folders() -> None:
    """Give back what the runs of this process have claimed; folders that stayed empty are removed."""
    while _locks:
        _locks.pop().release()
    while _made:
        with suppress(OSError):
            _made.pop().rmdir()


@contextmanager
def _refusing() -> Iterator[None]:
    """End the program with the message of an error, of which Hydra would make a warning."""
    try:
        yield
    except UserError as error:
        print(shown(f"error: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except OmegaConfBaseException:  # the name cannot be resolved: Hydra says so itself
        pass


def _claim(config: DictConfig, kind: str) -> Path:
    """Make the folder of `hydra.run.dir` or `hydra.sweep.dir` and return it: a new one unless its name was typed."""
    key = f"hydra.{kind}.dir"
    folder = Path(str(config.hydra[kind].dir))
    if any(override_key(word) == key for word in config.hydra.overrides.hydra):
        if not folder.exists():
            _made.append(folder)
        return make_folder(folder)
    make_folder(folder.parent)
    names = itertools.chain([folder.name], (f"{folder.name}_{number}" for number in itertools.count(2)))
    for name in names:
        try:
            (folder.parent / name).mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError.writing(folder.parent / name, error) from error
        folder = folder.parent / name
        _made.append(folder)
        break
    with read_write(config), open_dict(config):
        config.hydra[kind].dir = str(folder)
    return folder
