"""An Optuna study kept in a storage, from which a sweep can be resumed; errors of the storage in one message."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from fer_lightning.core.errors import ConfigError, StorageError, first_lines

# attributes of a trial; the dot keeps them apart from names of settings
OWNER, JOB, REASON, MESSAGE, REPEATS = ".sweep", ".job", ".reason", ".message", ".repeats"
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)


def study_url(folder: Path) -> str:
    """Return the default storage of a sweep's study."""
    return f"sqlite:///{(folder / 'study.db').absolute()}"


def open_storage(url: str, *, new: bool = False) -> BaseStorage:
    """Open a storage of Optuna: a data base, by SQLAlchemy's URL, or the file of `journal:///PATH`.

    Its tables are created only where it is said to be `new`.

    Raises:
        ConfigError: the URL is invalid, or needs a package that is not installed.
        StorageError: it cannot be reached.
    """
    with storage_errors(url):
        if url.startswith("journal://"):
            return JournalStorage(JournalFileBackend(url.removeprefix("journal://")))
        options: dict[str, Any] = {}
        try:
            if make_url(url).get_backend_name() == "sqlite":
                # no pool: forks would inherit its open connections; 60 s for another process that writes
                options = {"poolclass": NullPool, "connect_args": {"timeout": 60}}
            known = {"skip_compatibility_check": not new, "skip_table_creation": not new}
            return get_storage(RDBStorage(url, engine_kwargs=options, **known))  # caches finished trials
        except (ArgumentError, ImportError) as error:
            raise ConfigError(
                f"sweep.storage={_without_password(url)} cannot be used ({first_lines(error)}): type a URL such as "
                "sqlite:////PATH/study.db, and install the driver that it names"
            ) from error


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turn errors of a storage into one message, of a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        raise StorageError(
            f"the study in {_without_password(url)} cannot be read or written ({_cause(error)}): repair "
            "that place and go on with sweep.resume=FOLDER, or choose another with sweep.storage=URL"
        ) from error


class Study:
    """The trials of a study, some of which may belong to sweeps on other machines.

    A trial belongs to the sweep that asked for it, so that a resumed sweep continues its own trials only.

    `directions` say `maximize` or `minimize` for each objective; `owner` is the unique name of the sweep. All methods
    raise StorageError where the storage cannot be read or written.

    Raises:
        ConfigError: there is a study of this name with other objectives, or the storage is invalid.
    """

    def __init__(self, url: str, name: str, directions: Sequence[str], owner: str) -> None:
        self.url, self.owner = url, owner
        self.storage = open_storage(url, new=True)
        with storage_errors(url):
            self.optuna = optuna.create_study(
                study_name=name, storage=self.storage, directions=[*directions], load_if_exists=True
            )
            self._id = self.storage.get_study_id_from_name(name)
            found = [direction.name.lower() for direction in self.optuna.directions]
        if found != [*directions]:
            raise ConfigError(
                f"study {name} in {_without_password(url)} has to {' and '.join(found)}, and sweep.objectives mean"
                f" {' and '.join(directions)}: type another sweep.study=NAME"
            )

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials of all sweeps in these states, or in any state where none is given."""
        with storage_errors(self.url):
            return [*self.optuna.get_trials(deepcopy=False, states=states or None)]

    def count_finished(self) -> int:
        """Return how many trials have ended; a failed one that was repeated counts once."""
        ended = self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return len({trial.number for trial in ended} - self._repeated())

    def unfinished_trials(self) -> list[Trial]:
        """Return the unfinished trials of this sweep, whose process ended before it could report them."""
        numbers = [trial.number for trial in self._own(TrialState.RUNNING)]
        find = self.storage.get_trial_id_from_study_id_trial_number
        with storage_errors(self.url):
            return [Trial(self.optuna, find(self._id, number)) for number in numbers]

    def repeat_failed(self) -> int:
        """Queue copies of the failed trials of this sweep, as Optuna cannot reopen a trial; return how many."""
        repeated = self._repeated()
        again = [trial for trial in self._own(TrialState.FAIL) if trial.number not in repeated]
        for trial in again:
            kept = {key: value for key, value in trial.user_attrs.items() if key not in (JOB, REASON, MESSAGE)}
            copy = create_trial(
                state=TrialState.WAITING,
                params=trial.params,
                distributions=trial.distributions,
                user_attrs={**kept, REPEATS: trial.number},
                system_attrs=trial.system_attrs,  # its position in a grid
            )
            with storage_errors(self.url):
                self.optuna.add_trial(copy)
        return len(again)

    def ask(self) -> Trial:
        """Return the next trial: a queued one, or a new one that is created with its owner."""
        queued = self.trials(TrialState.WAITING)
        with storage_errors(self.url):
            if not queued:
                owned = create_trial(state=TrialState.RUNNING, user_attrs={OWNER: self.owner})
                return Trial(self.optuna, self.storage.create_new_trial(self._id, owned))
            trial = self.optuna.ask()
            trial.set_user_attr(OWNER, self.owner)
            return trial

    def tell(
        self, trial: Trial, state: TrialState, values: Sequence[float] | None = None, facts: Mapping[str, Any] = {}
    ) -> None:
        """End a trial as COMPLETE with values of the objectives, PRUNED or FAIL; `facts` become its attributes."""
        with storage_errors(self.url):
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            try:
                self.optuna.tell(trial, values, state)
            except RuntimeError as error:  # of a finished grid sampler, which stops Optuna's own loop
                if "Study.stop" not in str(error):
                    raise

    def best_trials(self) -> list[FrozenTrial]:
        """Return the best trial, or the Pareto front of several objectives; empty while no trial is complete."""
        if not self.trials(TrialState.COMPLETE):
            return []
        with storage_errors(self.url):
            return self.optuna.best_trials if len(self.optuna.directions) > 1 else [self.optuna.best_trial]

    def _own(self, state: TrialState) -> list[FrozenTrial]:
        return [trial for trial in self.trials(state) if trial.user_attrs.get(OWNER) == self.owner]

    def _repeated(self) -> set[int]:
        return {trial.user_attrs[REPEATS] for trial in self.trials() if REPEATS in trial.user_attrs}


def _without_password(url: str) -> str:
    try:
        return str(make_url(url).render_as_string(hide_password=True))
    except ArgumentError:
        return url


def _cause(error: BaseException) -> str:
    """Return the message of the data base itself."""
    found: Any = error
    while found is not None and getattr(found, "orig", None) is None:  # an attribute of SQLAlchemy's errors
        found = found.__cause__
    return first_lines(error) if found is None else str(found.orig)
