"""A long run says when it is expected to finish; a short one does not."""

from __future__ import annotations

import logging
import re
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.callbacks import Timer

from fer_lightning.runs.status import read_status, recorded
from fer_lightning.training import expected_finish
from fer_lightning.training.expected_finish import ExpectedFinish

BATCHES = 10


class Clock:
    """Stands still until it is put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.started = datetime.now().astimezone()
        monkeypatch.setattr(expected_finish, "time", SimpleNamespace(monotonic=lambda: self.now))


def trained(folder: Path, clock: Clock, pace: list[float], first: int = 0, **options: Any) -> list[str]:
    """Return what is said where the batches of each epoch, counted from `first`, take so many seconds each."""
    settings = {"max_epochs": 120, "max_steps": -1, "num_training_batches": BATCHES, "callbacks": []}
    settings |= {"default_root_dir": str(folder)}
    trainer: Any = SimpleNamespace(**settings | {"accumulate_grad_batches": 1, "is_global_zero": True} | options)
    callback, records = ExpectedFinish(), []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    expected_finish.log.addHandler(handler)
    expected_finish.log.setLevel(logging.INFO)
    callback.on_train_start(trainer, None)  # type: ignore[arg-type]
    for epoch, seconds in enumerate(pace, first):
        trainer.current_epoch = epoch
        for _ in range(3 if epoch == first and first else BATCHES):  # resumed within an epoch
            clock.now += seconds
            callback.on_train_batch_end(trainer, None, None, None, 0)
        callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    expected_finish.log.removeHandler(handler)
    return records


def test_a_long_run_says_it_after_the_first_epoch_and_every_few_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    with recorded(tmp_path, "identity", []):
        said = trained(tmp_path, clock, [12.0] * 6)  # two minutes an epoch
        status = read_status(tmp_path)
        assert status is not None
        assert status.expected is not None
        left = (datetime.fromisoformat(status.expected) - clock.started).total_seconds()
        assert left == pytest.approx(116 * 120, abs=60)  # after epoch 4
    assert [re.split(" expected", line)[0] for line in said] == [
        "epoch 1 of 120: 2.0 min an epoch,",
        "epoch 4 of 120: 2.0 min an epoch,",
    ]
    assert re.search(r"expected to finish at \d\d:\d\d( on \d{4}-\d\d-\d\d)? \(in 3 h 58 min\)$", said[0])
    assert said[1].endswith("(in 3 h 52 min)")
    status = read_status(tmp_path)
    assert status is not None
    assert (status.status, status.expected) == ("finished", None)


def test_the_pace_is_that_of_the_last_epochs_and_of_this_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = trained(tmp_path, Clock(monkeypatch), [1.0] * 5 + [60.0] * 3)
    ends = [re.sub(r"expected.* \(", "(", line) for line in said]
    assert ends[0] == "epoch 1 of 120: 10 s an epoch, (in 19.8 min)"
    assert ends[-1] == "epoch 8 of 120: 10.0 min an epoch, (in 18 h 40 min)"
    (resumed,) = trained(tmp_path, Clock(monkeypatch), [6.0], first=59)
    assert re.fullmatch(r"epoch 60 of 120: 1\.0 min an epoch, .* \(in 1 h 0 min\)", resumed)


@pytest.mark.parametrize(
    ("options", "ends"),
    [
        ({"max_epochs": 25}, None),  # four minutes are left after the first epoch
        ({"max_epochs": -1}, None),
        ({"max_steps": 400}, "epoch 1 of 40: 10 s an epoch, (in 6.5 min)"),
        (
            {"max_epochs": 10**6, "callbacks": [Timer("00:02:00:00")]},
            "epoch 1 of 1000000: 10 s an epoch, (in 2 h 0 min)",
        ),
    ],
)
def test_limits_of_a_run_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], ends: str | None
) -> None:
    said = trained(tmp_path, Clock(monkeypatch), [1.0], **options)
    assert [re.sub(r"expected.* \(", "(", line) for line in said] == ([] if ends is None else [ends])
