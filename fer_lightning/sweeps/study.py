"""An Optuna study that outlives its sweep: opened, continued, asked and told, and its storage's complaints."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
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

# attributes of a trial, with a dot in front of settings' names, beside which they stand
OWNER, JOB, REASON, MESSAGE, REPEATS = ".sweep", ".job", ".reason", ".message", ".repeats"
JOURNAL = "journal://"
_PATIENCE = 60  # seconds to wait for another process that writes to a SQLite file
optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=ExperimentalWarning)
log = logging.getLogger(__name__)


def study_url(folder: Path) -> str:
    """Return where the study of a sweep is kept, unless another place was asked for."""
    return f"sqlite:///{(folder / 'study.db').absolute()}"


def open_storage(url: str, *, new: bool = False) -> BaseStorage:
    """Return a storage of Optuna's.

    Args:
        url: a data base, as SQLAlchemy writes it, or `journal:///PATH` of a file.
        new: whether its tables may have to be made.

    Raises:
        ConfigError: it is no such URL, or needs a package that is not installed.
        StorageError: it cannot be reached.
    """
    with storage_errors(url):
        if url.startswith(JOURNAL):
            return JournalStorage(JournalFileBackend(url.removeprefix(JOURNAL)))
        options: dict[str, Any] = {}
        try:
            if make_url(url).get_backend_name() == "sqlite":
                # a connection that nobody uses would be open in the forks, too
                options = {"poolclass": NullPool, "connect_args": {"timeout": _PATIENCE}}
            known = {"skip_compatibility_check": not new, "skip_table_creation": not new}
            return get_storage(RDBStorage(url, engine_kwargs=options, **known))  # remembers finished trials
        except (ArgumentError, ImportError) as error:
            raise ConfigError(
                f"sweep.storage={_shown(url)} cannot be used ({first_lines(error)}): type a URL such as "
                "sqlite:////PATH/study.db, and install the driver that it names"
            ) from error


@contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Say in one message what a storage has against being read or written.

    Raises:
        StorageError: it failed.
    """
    try:
        yield
    except (StorageInternalError, SQLAlchemyError, OSError) as error:
        raise StorageError(
            f"the study in {_shown(url)} cannot be read or written ({_cause(error)}): see to that place and go on with "
            "sweep.resume=FOLDER, or choose another with sweep.storage=URL"
        ) from error


class Study:
    """The trials of a sweep, some of which may be other machines'.

    A trial belongs to the sweep that asked for it, so that a sweep which is continued takes up its own, and no other's.

    Args:
        url: of the storage.
        name: of the study in it.
        directions: `maximize` or `minimize`, of each objective.
        owner: name of the sweep, which no other has.

    Raises:
        ConfigError: there is a study of this name with other objectives, or the storage cannot be meant.
        StorageError: the storage cannot be read or written.
    """

    def __init__(self, url: str, name: str, directions: Sequence[str], owner: str) -> None:
        self.url, self.owner = url, owner
        self.storage = open_storage(url, new=True)
        with storage_errors(url):
            self.optuna = optuna.create_study(
                study_name=name, storage=self.storage, directions=[*directions], load_if_exists=True
            )
            found = [direction.name.lower() for direction in self.optuna.directions]
        if found != [*directions]:
            raise ConfigError(
                f"study {name} in {_shown(url)} has to {' and '.join(found)}, and sweep.objectives mean"
                f" {' and '.join(directions)}: type another sweep.study=NAME"
            )

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, of all sweeps; all of them where none is given."""
        with storage_errors(self.url):
            return self.optuna.get_trials(deepcopy=False, states=states or None)

    def count_finished(self) -> int:
        """Return how many trials have an end, a failed one that was tried again counting once."""
        ended = self.trials(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return len(ended) - len(self._repeated() & {trial.number for trial in ended})

    def left_over(self) -> list[Trial]:
        """Return the trials of this sweep that have no end: what asked for them did not live to tell it."""
        mine = [trial for trial in self.trials(TrialState.RUNNING) if trial.user_attrs.get(OWNER) == self.owner]
        return [self._trial(trial.number) for trial in mine]

    def repeat_failed(self) -> int:
        """Queue the failed trials of this sweep again, and return how many; a told trial cannot be told anew."""
        repeated = self._repeated()
        mine = [trial for trial in self.trials(TrialState.FAIL) if trial.user_attrs.get(OWNER) == self.owner]
        again = [trial for trial in mine if trial.number not in repeated]
        for trial in again:
            kept = {key: value for key, value in trial.user_attrs.items() if key not in (JOB, REASON, MESSAGE)}
            with storage_errors(self.url):
                self.optuna.add_trial(
                    create_trial(
                        state=TrialState.WAITING,
                        params=trial.params,
                        distributions=trial.distributions,
                        user_attrs={**kept, REPEATS: trial.number},
                        system_attrs=trial.system_attrs,  # where it stands in a grid
                    )
                )
        return len(again)

    def ask(self) -> Trial:
        """Return the next trial: a queued one, or a new one, which belongs to this sweep from its first moment."""
        if self.trials(TrialState.WAITING):
            with storage_errors(self.url):
                trial = self.optuna.ask()
                trial.set_user_attr(OWNER, self.owner)
            return trial
        with storage_errors(self.url):
            owned = create_trial(state=TrialState.RUNNING, user_attrs={OWNER: self.owner})
            study_id = self.storage.get_study_id_from_name(self.optuna.study_name)
            return Trial(self.optuna, self.storage.create_new_trial(study_id, owned))

    def tell(self, trial: Trial, state: TrialState, values: Sequence[float] | None = None, **facts: Any) -> None:
        """Give a trial its end.

        Args:
            trial: to end.
            state: COMPLETE, PRUNED or FAIL.
            values: of the objectives, if it is complete.
            facts: attributes of the trial.
        """
        with storage_errors(self.url):
            for name, fact in facts.items():
                trial.set_user_attr(name, fact)
            try:
                self.optuna.tell(trial, values, state)
            except RuntimeError as error:  # a grid sampler has told the trial, and would stop a loop of Optuna's own
                if "Study.stop" not in str(error):
                    raise

    def solutions(self) -> list[FrozenTrial]:
        """Return the best trial, or with several objectives those that no other beats in all; at first none."""
        if not self.trials(TrialState.COMPLETE):
            return []
        with storage_errors(self.url):
            return self.optuna.best_trials if len(self.optuna.directions) > 1 else [self.optuna.best_trial]

    def rest(self) -> None:
        """Leave no connection open, which a fork would have, too."""
        self.storage.remove_session()

    def _trial(self, number: int) -> Trial:
        with storage_errors(self.url):
            study_id = self.storage.get_study_id_from_name(self.optuna.study_name)
            return Trial(self.optuna, self.storage.get_trial_id_from_study_id_trial_number(study_id, number))

    def _repeated(self) -> set[int]:
        return {trial.user_attrs[REPEATS] for trial in self.trials() if REPEATS in trial.user_attrs}


def _shown(url: str) -> str:
    """Return a URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url


def _cause(error: BaseException) -> str:
    """Return what the data base itself said."""
    found: BaseException | None = error
    while found is not None:
        if getattr(found, "orig", None) is not None:
            return str(found.orig)  # type: ignore[attr-defined]
        found = found.__cause__
    return first_lines(error)
