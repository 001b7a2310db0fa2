"""FSDP on two ranks of a CPU: each has a part of the weights, and together they do what one process does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.core.errors import ConfigError
from fer_lightning.training.evaluate_checkpoint import evaluate
from fer_lightning.training.fsdp import ShardedStrategy
from fer_lightning.training.run import TrainingRun

Compose = Callable[..., DictConfig]
SCORING = ("trainer.precision=32-true", "trainer.enable_progress_bar=false", "machine.threads=1")
TINY = (
    *("data.synthetic={train: 132, validation: 33, test: 33}", "data.image_size=32", *SCORING),
    *("model=timm", "model.backbone=test_convnext", "optimizer.lr=3e-3", "scheduler=none", "logger=csv"),
    *("trainer.gradient_clip_val=0.5", "seed=1"),  # which is felt in each step: the norm is 1 to 3
)
ALONE = ("trainer=cpu", "data.batch_size=64")
SHARDED = ("trainer=fsdp", "trainer.accelerator=cpu", "trainer.strategy.unit=20000", "data.batch_size=32")
# what each rank has is not to be seen from outside
PROGRAM = """
import sys, torch
from fer_lightning.cli.command import run_verb
from fer_lightning.training.run import TrainingRun

def train(cfg):
    run = TrainingRun(cfg)
    run.fit()
    held = sum(parameter.numel() for parameter in run.model.parameters())
    print(f"rank {run.trainer.global_rank} holds {held} of {run.parameters}", flush=True)
    run.score()

run_verb("train", train, sys.argv[1:])
"""


def run_ranks(*command: str, place: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment, cwd=place, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run of two epochs, the second in another session, and what the first session's ranks printed."""
    place = tmp_path_factory.mktemp("sharded")
    (place / "program.py").write_text(PROGRAM)
    first = (*TINY, *SHARDED, "trainer.max_epochs=1", "hydra.run.dir=run")
    output = run_ranks("program.py", *first, place=place)
    last = "ckpt_path=run/checkpoints/last.ckpt"
    run_ranks("-m", "fer_lightning.train", last, "trainer.max_epochs=2", place=place)
    return place / "run", output


@pytest.mark.slow
def test_each_rank_holds_a_part(sharded: tuple[Path, str]) -> None:
    lines = [line.split() for line in sharded[1].splitlines() if " holds " in line]
    held, whole = [int(words[3]) for words in lines], int(lines[0][5])
    assert sum(held) == whole
    assert max(held) < 0.6 * whole


@pytest.mark.slow
def test_parts_are_trained_clipped_and_resumed_as_the_whole_is(
    sharded: tuple[Path, str], compose: Compose, tmp_path: Path
) -> None:
    TrainingRun(compose("train", *TINY, *ALONE, "trainer.max_epochs=2", f"output_dir={tmp_path}")).fit()
    alone, parts = (pd.read_csv(folder / "history.csv") for folder in (tmp_path, sharded[0]))
    assert len(alone) == 2
    np.testing.assert_allclose(parts[alone.columns], alone, rtol=1e-4)
    states = [
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for folder in (tmp_path, sharded[0])
    ]
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, msg=name, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_checkpoint_is_one_like_any_other(sharded: tuple[Path, str], compose: Compose, tmp_path: Path) -> None:
    best = f"ckpt_path={sharded[0] / 'checkpoints/best.ckpt'}"
    evaluate(compose("evaluate", best, *SCORING, *ALONE, f"output_dir={tmp_path}"))
    tables = [pd.read_csv(folder / "predictions.csv") for folder in (tmp_path, sharded[0])]
    assert len(tables[0]) == 33
    pd.testing.assert_frame_equal(*tables, check_exact=False, rtol=1e-5)


def test_a_unit_has_parameters() -> None:
    with pytest.raises(ValueError, match="unit=0 must be 1 or more"):
        ShardedStrategy(unit=0)


@pytest.mark.parametrize(
    ("override", "text"),
    [("callbacks=none", "type callbacks=default"), ("trainer.precision=bf16-mixed", "type trainer.precision=32-true")],
)
def test_what_sharding_cannot_do_is_said_before_training(
    compose: Compose, tmp_path: Path, override: str, text: str
) -> None:
    run = TrainingRun(compose("train", *TINY, *SHARDED, "trainer.devices=1", override, f"output_dir={tmp_path}"))
    with mock.patch.dict(os.environ), pytest.raises(ConfigError, match=text):  # where Lightning says who is which rank
        run.fit()
