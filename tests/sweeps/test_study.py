"""A study in its storage: trials that are left, failed or owned by others, and storages that cannot be used."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from fer_lightning.core.errors import ConfigError, StorageError

optuna = pytest.importorskip("optuna", reason="needs the extra sweep")
study_module = pytest.importorskip("fer_lightning.sweeps.study", reason="needs the extra sweep")

from optuna.distributions import FloatDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from fer_lightning.sweeps.study import OWNER, REPEATS, Study, open_storage, study_url  # noqa: E402

RATE = FloatDistribution(1e-4, 1e-1, log=True)


def opened(folder: Path, owner: str = "me", directions: Sequence[str] = ("maximize",)) -> Study:
    return Study(study_url(folder), "train", directions, owner)


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials()]


def ask_and_die(folder: Path) -> None:
    trial = opened(folder).ask()
    trial._suggest("lr", RATE)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_that_nobody_told_goes_on_as_itself(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=ask_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    study = opened(tmp_path)
    (before,) = study.trials()
    (trial,) = study.unfinished_trials()
    assert (trial.number, trial._suggest("lr", RATE)) == (before.number, before.params["lr"])
    study.tell(trial, TrialState.COMPLETE, [0.5])
    assert (states(study), study.unfinished_trials(), study.count_finished()) == (["COMPLETE"], [], 1)


def test_a_trial_belongs_to_the_sweep_that_asked_for_it(tmp_path: Path) -> None:
    mine, other = opened(tmp_path), opened(tmp_path, owner="other")
    trial = mine.ask()
    assert trial.user_attrs == {OWNER: "me"}
    assert other.unfinished_trials() == []
    assert [found.number for found in mine.unfinished_trials()] == [trial.number]
    mine.tell(trial, TrialState.FAIL)
    assert (other.repeat_failed(), mine.repeat_failed()) == (0, 1)


def test_a_failed_trial_is_repeated_once_and_counts_once(tmp_path: Path) -> None:
    study = opened(tmp_path)
    rates = []
    for number in range(3):
        trial = study.ask()
        rates.append(trial._suggest("lr", RATE))
        if number == 1:
            study.tell(trial, TrialState.FAIL, facts={".reason": "out of memory"})
        else:
            study.tell(trial, TrialState.COMPLETE, [number])
    assert study.count_finished() == 3
    assert (study.repeat_failed(), study.repeat_failed()) == (1, 0)
    assert study.count_finished() == 2
    again = study.ask()
    assert (again.number, again._suggest("lr", RATE)) == (3, rates[1])
    assert again.user_attrs == {OWNER: "me", REPEATS: 1}
    study.tell(again, TrialState.FAIL)
    assert study.count_finished() == 3
    assert study.repeat_failed() == 1, "a second time, where it failed again"


def test_solutions_are_the_best_or_the_front(tmp_path: Path) -> None:
    for name, directions, values, expected in (
        ("one", ["minimize"], [[2.0], [1.0], [3.0]], [1]),
        ("two", ["maximize", "minimize"], [[0.5, 3.0], [0.6, 4.0], [0.4, 5.0]], [0, 1]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        study = opened(folder, directions=directions)
        assert study.best_trials() == []
        for value in values:
            study.tell(study.ask(), TrialState.COMPLETE, value)
        assert sorted(trial.number for trial in study.best_trials()) == expected


def test_a_study_of_other_objectives_is_not_continued(tmp_path: Path) -> None:
    opened(tmp_path)
    with pytest.raises(ConfigError, match=r"has to maximize, and .*sweep\.study=NAME"):
        opened(tmp_path, directions=["minimize"])


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("sqlite:////nowhere/at/all/study.db", StorageError, "unable to open database file"),
        ("postgresql+nothing://me:secret@host/x", ConfigError, "type a URL such as"),
        ("no url", ConfigError, "type a URL such as"),
        ("journal:///nowhere/at/all/study.log", StorageError, "No such file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_told(url: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said) as raised:
        Study(url, "train", ["maximize"], "me")
    assert "secret" not in str(raised.value)


def test_a_journal_is_a_storage_too(tmp_path: Path) -> None:
    url = f"journal://{tmp_path / 'study.log'}"
    study = Study(url, "train", ["maximize"], "me")
    study.ask()
    again = Study(url, "train", ["maximize"], "me")
    (trial,) = again.unfinished_trials()
    again.tell(trial, TrialState.PRUNED)
    assert [found.state for found in study.trials()] == [TrialState.PRUNED]


def write_for_a_while(url: str, started: multiprocessing.synchronize.Event) -> None:
    import sqlite3

    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute("BEGIN EXCLUSIVE")
    started.set()
    time.sleep(7)  # longer than SQLite's own patience
    connection.rollback()


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    study = opened(tmp_path)
    start = multiprocessing.get_context("spawn")
    started = start.Event()
    process = start.Process(target=write_for_a_while, args=(study.url, started))
    process.start()
    assert started.wait(60)
    assert study.ask().number == 0
    process.join()


def test_an_existing_study_opens_without_looking_at_its_tables(tmp_path: Path) -> None:
    study = opened(tmp_path)
    study.tell(study.ask(), TrialState.COMPLETE, [math.pi])
    loaded = optuna.load_study(study_name="train", storage=open_storage(study.url))
    assert loaded.best_value == math.pi
