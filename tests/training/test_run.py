"""Between two logging steps a run does nothing that would make the program wait for a GPU."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from omegaconf import DictConfig
from torch.utils._python_dispatch import TorchDispatchMode

from fer_lightning.training.run import TrainingRun

TINY = (
    "data.synthetic={train: 70, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=7",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=1",
    "trainer.log_every_n_steps=5",
)


class Waits(TorchDispatchMode):
    """Notes where the value of a tensor is read, or a shape made that depends on values."""

    READS = ("_local_scalar_dense", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2")
    HARMLESS = (  # on a GPU
        "one_hot(",  # looks at the labels on a CPU alone
        "torch.multinomial(torch.tensor(self.p)",  # torchvision draws on the CPU which way to mix, and how much
        "self._dist.sample(())",
        "(torch.clamp(r_",
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.READS:
            self.note(str(func))
        return func(*args, **({} if kwargs is None else kwargs))

    def note(self, name: str) -> None:
        places = [f"{frame.filename}:{frame.lineno} {frame.line}" for frame in traceback.extract_stack()[-9:-2]]
        if not any(text in place for place in places for text in self.HARMLESS):
            self.found.append("\n".join([name, *places]))


class Watch(pl.Callback):
    """Watches some steps, and how the batches after the first of them come about."""

    def __init__(self, waits: Waits, first: int, last: int) -> None:
        self.waits, self.first, self.last = waits, first, last
        self.watching, self.steps = False, 0

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.first:
            self.waits.__enter__()
            self.watching = True
        self.steps += self.watching

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if rest[-1] == self.last:
            self.waits.__exit__(None, None, None)
            self.watching = False


def waits_of(cfg: DictConfig, monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> list[str]:
    waits = Waits()
    watch = Watch(waits, first, last)
    for name in ("tolist", "numpy", "cpu"):  # of a tensor on the CPU, they pass by the dispatcher
        plain = getattr(torch.Tensor, name)

        def noted(self: torch.Tensor, *args: Any, plain: Any = plain, name: str = name, **options: Any) -> Any:
            if watch.watching:
                waits.note(name)
            return plain(self, *args, **options)

        monkeypatch.setattr(torch.Tensor, name, noted)
    run = TrainingRun(cfg)
    run.trainer.callbacks.append(watch)
    run.fit()
    assert watch.steps == last - first + 1
    return waits.found


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("optimizer=sgd", "scheduler=plateau"),
        ("optimizer=adam", "scheduler=none", "trainer.gradient_clip_val=1", "data.resident=false"),
        ("model.mixup=0.2", "model.cutmix=1.0", "data.sampler=balanced"),
        ("loss=focal", "model=keras_cnn"),
    ],
    ids=" ".join,
)
def test_no_step_between_two_logging_steps_waits(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    cfg = compose("train", *TINY, *options, f"output_dir={tmp_path}")
    assert waits_of(cfg, monkeypatch, first=5, last=8) == []


def test_a_logging_step_does_read_values(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = compose("train", *TINY, f"output_dir={tmp_path}")
    assert waits_of(cfg, monkeypatch, first=3, last=6)
