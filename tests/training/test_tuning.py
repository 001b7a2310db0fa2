"""What a run finds before its first step: used, recorded, repeated; and nothing else of the run is changed by it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from omegaconf import DictConfig

from fer_lightning.cli.arguments import complete
from fer_lightning.comparison.rerun_command import rerun_command
from fer_lightning.config.check import check_config
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.found_settings import as_typed, found_in
from fer_lightning.runs.read import read_run
from fer_lightning.training import batch_size_search, tuning
from fer_lightning.training.batch_size_search import choose, search
from fer_lightning.training.lr_range_test import HIGHEST, LOWEST, STEPS, RangeTest, suggest
from fer_lightning.training.run import TrainingRun
from fer_lightning.training.trial import Trial

Compose = Callable[..., DictConfig]
TINY = (  # five steps an epoch
    "model=timm",
    "model.backbone=resnet10t",
    "++model.backbone_kwargs={channels: [4, 4, 4, 8], stem_width: 4}",
    "model.drop_rate=0.3",
    "model.backbone_lr=1e-4",
    "augmentation=none",
    "data.synthetic={train: 80, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)


def fitted(cfg: DictConfig) -> TrainingRun:
    run = TrainingRun(cfg)
    run.fit()
    return run


def test_the_rate_of_the_lowest_loss_is_found_through_noise() -> None:
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    noise = np.random.default_rng(0).normal(0, 0.05, STEPS)
    valley = 2 - 0.4 * np.exp(-((np.log10(rates) + 2.5) ** 2)) + 40 * (rates > 1)
    found = suggest(rates, valley + noise).lr
    assert found is not None
    assert abs(np.log10(found) + 2.5) < 0.3
    assert suggest(rates, 2 + noise).lr is None, "noise alone is no valley"
    assert suggest(rates, np.where(rates > 0.1, np.nan, valley)).lr == pytest.approx(found, rel=1)
    assert suggest(rates[:1], valley[:1]).lr is None


def test_all_groups_keep_their_proportions_and_losses_are_of_optimizer_steps(compose: Compose, tmp_path: Path) -> None:
    cfg = compose("train", *TINY, "scheduler=onecycle", "trainer.accumulate_grad_batches=2", f"output_dir={tmp_path}")
    seen: list[tuple[float, float]] = []

    class Watch(RangeTest):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            super().on_train_batch_start(trainer, *args)
            head, body = trainer.optimizers[0].param_groups
            seen.append((head["lr"], body["lr"]))

    watch = Watch(cfg.optimizer.lr)
    trainer = Trial(cfg).train(watch, max_steps=6)
    assert (trainer.global_step, len(watch.losses)) == (6, 6)
    assert all(body == pytest.approx(head / 10) for head, body in seen)
    heads = list(dict.fromkeys(head for head, _ in seen))
    assert heads == pytest.approx(np.geomspace(LOWEST, HIGHEST, STEPS)[:6])
    # means over the batches of a step, of which the third, the last of an epoch, has one
    assert watch.losses == pytest.approx([np.log(7)] * 6, rel=0.3)
    assert not list(tmp_path.iterdir())


def test_a_run_that_tunes_is_the_one_with_what_it_found(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = RangeTest.evaluate
    monkeypatch.setattr(tuning, "STEPS", 12)
    monkeypatch.setattr(RangeTest, "evaluate", lambda self: evaluate(self)._replace(lr=0.0042))
    searched, folder = tmp_path / "searched", tmp_path / "searched/.hydra"
    folder.mkdir(parents=True)
    cfg = compose("train", *TINY, "optimizer=muon", "optimizer.lr=0.01", "tune.lr=true", f"output_dir={searched}")
    (folder / "config.yaml").write_text(yaml.safe_dump({"optimizer": {"lr": 1e-3}, "model": {"backbone_lr": 1e-4}}))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([*TINY, "optimizer=muon", "tune.lr=true"]))
    run = fitted(cfg)
    assert run.found == {"optimizer.lr": 0.0042, "model.backbone_lr": 4.2e-5, "optimizer.adamw_lr": 0.00042}
    assert (searched / "lr_range.png").read_bytes().startswith(b"\x89PNG")

    typed = as_typed([*TINY, "optimizer=muon", "tune.lr=true"], run.found)
    assert "tune.lr=true" not in typed
    plain = fitted(compose("train", *typed, f"output_dir={tmp_path / 'typed'}"))
    state = plain.model.state_dict()
    assert [name for name, value in run.model.state_dict().items() if not torch.equal(value, state[name])] == []
    rows = [pd.read_csv(tmp_path / name / "history.csv") for name in ("searched", "typed")]
    pd.testing.assert_frame_equal(*rows)

    # recorded
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["optimizer"]["lr"] == run.found["optimizer.lr"]
    record = json.loads((searched / "environment.json").read_text())
    assert found_in(record) == run.found
    record["command"] = f"python -m fer_lightning.train tune.lr=true seed=1 hydra.run.dir={searched}"
    (searched / "environment.json").write_text(json.dumps(record))
    command = rerun_command(read_run(searched, "searched"))
    assert command is not None
    assert command.split()[3:] == ["seed=1", *(f"{key}={value:g}" for key, value in run.found.items())]

    # continued: with what was found, unless another is typed
    last = f"ckpt_path={searched / 'checkpoints/last.ckpt'}"
    words = complete("train", [last], None, swept=True)
    assert f"optimizer.lr={run.found['optimizer.lr']:g}" in words
    assert not [word for word in words if word.startswith("tune.")]
    words = complete("train", [last, "optimizer.lr=0.5"], None, swept=True)
    assert [word for word in words if "optimizer.lr" in word] == ["optimizer.lr=0.5"]
    words = complete("train", [last, "optimizer=sgd"], None, swept=True)
    assert [word for word in words if word.startswith(("optimizer", "tune"))] == ["optimizer=sgd"]
    # as a sweep does it, which types all again
    again = TrainingRun(compose("train", *TINY, "optimizer=muon", "tune.lr=true", last, f"output_dir={searched}"))
    assert again.found == run.found
    assert again.cfg.optimizer.lr == run.found["optimizer.lr"]


def test_what_is_recorded_as_found_is_a_few_numbers() -> None:
    hostile = {"found": {"optimizer.lr": "${oc.env:HOME}", "model._target_": "os.system", "data.batch_size": -1}}
    assert found_in(hostile) == found_in({"found": [1]}) == found_in({}) == {}


@pytest.mark.slow
def test_the_batch_size_is_the_smallest_that_is_as_fast_as_any(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose({16: 100.0}) == 16
    monkeypatch.setattr(batch_size_search, "STEPS_OF_EPOCH", 2)
    monkeypatch.setattr(batch_size_search, "_SECONDS", 0.0)
    trial = Trial(compose("train", *TINY, f"output_dir={tmp_path}"))
    before = {name: value.clone() for name, value in trial.model.named_parameters()}
    network = trial.model.backbone
    network.register_forward_hook(lambda module, inputs, output: no_room(len(output), 32))
    speeds = search(trial)
    assert 16 in speeds
    assert {*speeds} <= {16, 32}
    assert all(torch.equal(value, before[name]) for name, value in trial.model.named_parameters())
    network.register_forward_hook(lambda module, inputs, output: no_room(len(output), 8))
    assert search(trial) == {}


def no_room(images: int, room: int) -> None:
    if images > room:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


@pytest.mark.slow
def test_a_searched_batch_size_trains(compose: Compose, tmp_path: Path) -> None:
    options = ("data.synthetic={train: 1120, validation: 14, test: 14}", "tune.batch_size=true")
    run = fitted(compose("train", *TINY, *options, f"output_dir={tmp_path}"))
    assert run.found["data.batch_size"] in (16, 32)
    assert run.trainer.num_training_batches == 1120 // run.found["data.batch_size"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "tune.lr=true"],
            "tune.lr=true searches on one device: type trainer=default trainer.devices=1 tune.lr=true first",
        ),
        (
            ["tune.lr=true", "optimizer.lr=0"],
            "tune.lr=true sets optimizer.lr, which is 0.0 now: type optimizer.lr=1e-3",
        ),
        (["tune.lr=yep"], "tune.lr=yep is not true or false"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[-1],
)
def test_what_cannot_be_searched_is_told(compose: Compose, typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        check_config(compose("train", *typed, "output_dir=x"))
    check_config(compose("train", "trainer=default", "trainer.devices=1", "tune.lr=true", "output_dir=x"))


def test_a_trial_refuses_less_than_a_batch_as_the_run_does(compose: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"type trainer\.limit_train_batches=1 for one batch"):
        Trial(compose("train", *TINY, "trainer.limit_train_batches=0.01", f"output_dir={tmp_path}"))


@pytest.mark.slow
def test_a_rate_that_helps_nothing_is_not_taken(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tuning, "STEPS", 3)
    monkeypatch.setattr(RangeTest, "evaluate", lambda self: suggest(np.array(self.rates), np.ones(len(self.rates))))
    run = TrainingRun(compose("train", *TINY, "tune.lr=true", f"output_dir={tmp_path}"))
    assert (run.found, run.cfg.optimizer.lr) == ({}, 1e-3)
    assert "no learning rate lowers the loss clearly (lr_range.png): optimizer.lr=0.001 stays" in caplog.text
