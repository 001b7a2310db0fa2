"""The command that repeats a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_lightning.comparison.rerun_command import rerun_command
from fer_lightning.runs.read import RecordedRun


def run(command: str | None, *overrides: str) -> RecordedRun:
    return RecordedRun(Path("x"), "x", environment={} if command is None else {"command": command}, overrides=overrides)


TRAIN = "python -m fer_lightning.train"


@pytest.mark.parametrize(
    ("command", "repeated"),
    [
        (f"{TRAIN} model=vgg16 seed=2", f"{TRAIN} model=vgg16 seed=2"),
        (
            f"{TRAIN} seed=2 split=validation \"hydra.run.dir='a/3_model=x'\" ckpt_path=a/last.ckpt machine.jobs=2",
            f"{TRAIN} seed=2 split=validation",
        ),
        (f"{TRAIN} sweep=optuna sweep.resume=x +sweep.y=1 hydra/launcher=joblib hydra.sweep.dir=z a=1", f"{TRAIN} a=1"),
        (f"{TRAIN} sweepless=1 machine.jobs_not=2", f"{TRAIN} sweepless=1 machine.jobs_not=2"),
        (
            f"{TRAIN} --config-dir mine 'data.synthetic={{train: 7}}'",
            f"{TRAIN} --config-dir mine 'data.synthetic={{train: 7}}'",
        ),
        ("python bin/fer train seed=1 hydra.run.dir=x", "python bin/fer train seed=1"),
    ],
)
def test_what_belongs_to_sweep_or_folder_is_left_out(command: str, repeated: str) -> None:
    assert rerun_command(run(command)) == repeated


def test_the_command_of_a_whole_sweep_becomes_that_of_the_run() -> None:
    sweep = f"{TRAIN} -m --config-dir mine model=vgg16,small_cnn seed=1,2 hydra.sweep.dir=x"
    assert rerun_command(run(sweep, "model=vgg16", "seed=2")) == f"{TRAIN} --config-dir mine model=vgg16 seed=2"


def test_a_run_that_does_not_say_how_it_was_started_has_none() -> None:
    assert rerun_command(run(None)) is None
