"""A step that runs out of memory is taken again in parts, and the run is the one that it would have been."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.callbacks.micro_batches import MicroBatches
from fer_lightning.core.errors import OutOfMemoryError
from fer_lightning.runs.status import reason_of
from fer_lightning.training.run import TrainingRun

Compose = Callable[..., DictConfig]
HOST = RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried …")
DEVICE = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of …")
TINY = (  # three steps an epoch
    "model=timm",
    "model.backbone=resnet10t",
    "++model.backbone_kwargs={channels: [4, 4, 4, 8], stem_width: 4}",
    "data.synthetic={train: 48, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "trainer.log_every_n_steps=1",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
    "~callbacks.early_stopping",
)


class Memory(pl.Callback):
    """Has room for so many images from a step on, as the forward pass finds out, or the backward pass."""

    def __init__(self, room: int, error: Exception, *, step: int = 0, backward: bool = False) -> None:
        self.room, self.error, self.step, self.backward = room, error, step, backward
        self.seen: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        network = pl_module.backbone
        last = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)][-1]

        def check(module: torch.nn.Module, *args: Any) -> None:
            count = len(args[-1][0])
            if network.training and trainer.global_step >= self.step:
                self.seen.append(count)
                if count > self.room:
                    raise self.error

        last.register_full_backward_hook(check) if self.backward else last.register_forward_hook(
            lambda module, inputs, output: check(module, inputs)
        )


class Parts(pl.Callback):
    """Tells the callback beside it how many parts there are from a step on."""

    def __init__(self, parts: int, step: int) -> None:
        self.parts, self.step = parts, step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step:
            beside(trainer).parts = self.parts


def beside(trainer: pl.Trainer) -> MicroBatches:
    return next(callback for callback in trainer.callbacks if isinstance(callback, MicroBatches))


def trained(cfg: DictConfig, *watching: pl.Callback) -> TrainingRun:
    run = TrainingRun(cfg)
    run.trainer.callbacks.extend(watching)
    run.fit()
    return run


def differing(one: TrainingRun, other: TrainingRun) -> list[str]:
    states = one.model.state_dict(), other.model.state_dict()
    return [name for name, value in states[0].items() if not torch.equal(value, states[1][name])]


@pytest.mark.parametrize(
    ("error", "backward", "options"),
    [
        (HOST, False, ["model.mixup=0.2", "model.drop_rate=0.3"]),
        pytest.param(DEVICE, True, [], marks=pytest.mark.slow),
        pytest.param(HOST, False, ["trainer.accumulate_grad_batches=3"], marks=pytest.mark.slow),
        pytest.param(DEVICE, True, ["trainer.accumulate_grad_batches=3"], marks=pytest.mark.slow),
        pytest.param(DEVICE, True, ["optimizer=sam", "model.drop_rate=0.3"], marks=pytest.mark.slow),
    ],
    ids=["forward", "backward", "accumulating", "accumulating backward", "SAM"],
)
def test_from_the_failed_step_on_the_run_is_one_in_parts(
    compose: Compose,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    backward: bool,
    options: list[str],
) -> None:
    cfg = [compose("train", *TINY, *options, f"output_dir={tmp_path / name}") for name in ("short", "told")]
    first = 1 if "accumulate" in str(options) else 4
    with caplog.at_level(logging.WARNING):
        short = trained(cfg[0], Memory(6, error, step=first, backward=backward))
    assert short.parts == 4
    said = [record.message for record in caplog.records if "out of memory" in record.message]
    assert said[-1].startswith(f"out of memory in step {first + 1}: from here on, each batch of 16 goes")
    assert "in 4 parts of 4;" in said[-1]
    told = trained(cfg[1], Parts(4, first))
    assert differing(short, told) == []
    rows = [pd.read_csv(tmp_path / name / "history.csv") for name in ("short", "told")]
    pd.testing.assert_frame_equal(*rows)


@pytest.mark.slow
def test_the_gradient_is_that_of_the_batch(compose: Compose, tmp_path: Path) -> None:
    exact = ("optimizer=sgd", "trainer.max_epochs=1")
    runs = []
    for name in ("whole", "parts"):
        run = TrainingRun(compose("train", *TINY, *exact, f"output_dir={tmp_path / name}"))
        for module in run.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # the one thing that sees the parts
                module.train = lambda mode=True, module=module: module  # type: ignore[method-assign]
                module.training = False
        if name == "parts":
            run.trainer.callbacks.append(Memory(5, HOST))
        run.fit()
        runs.append(run)
    assert [run.parts for run in runs] == [1, 4]
    for name, value in runs[0].model.state_dict().items():
        torch.testing.assert_close(runs[1].model.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)
    rates = [pd.read_csv(tmp_path / name / "history.csv")[["epoch", "step", "lr"]] for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(*rates)


@pytest.mark.slow
def test_a_continued_run_keeps_the_parts(compose: Compose, tmp_path: Path) -> None:
    constant = (*TINY, "scheduler=none", "model.drop_rate=0.3")
    straight = trained(compose("train", *constant, f"output_dir={tmp_path / 'straight'}"), Memory(8, HOST))
    cut = (*constant, f"output_dir={tmp_path / 'cut'}")
    trained(compose("train", *cut, "trainer.max_epochs=1"), Memory(8, HOST))
    watch = Memory(8, HOST)
    last = tmp_path / "cut/checkpoints/last.ckpt"
    again = trained(compose("train", *cut, f"ckpt_path={last}"), watch)
    assert set(watch.seen) == {8}, "it must not fail again"
    assert differing(straight, again) == []


def test_what_is_too_much_for_one_image_ends_the_run(compose: Compose, tmp_path: Path) -> None:
    said = r"step 1 needs more memory than there is, even in parts of 1 of its 16 images .*: type a smaller"
    run = TrainingRun(compose("train", *TINY, f"output_dir={tmp_path}"))
    run.trainer.callbacks.append(Memory(0, DEVICE))
    with pytest.raises(OutOfMemoryError, match=said) as caught:
        run.fit()
    assert reason_of(caught.value) == "out of memory"


@pytest.mark.slow
def test_other_errors_and_switched_off_are_as_ever(compose: Compose, tmp_path: Path) -> None:
    for error, options in ((RuntimeError("shapes differ"), []), (DEVICE, ["~callbacks.micro_batches"])):
        run = TrainingRun(compose("train", *TINY, *options, f"output_dir={tmp_path / str(len(options))}"))
        run.trainer.callbacks.append(Memory(8, error))
        with pytest.raises(type(error), match=str(error)[:12]):
            run.fit()
