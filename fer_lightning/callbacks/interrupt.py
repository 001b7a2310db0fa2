"""Ctrl-C, and signals that ask to end, lose nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from lightning.pytorch.utilities import rank_zero_only

BATCHES_BETWEEN = 20
# a cluster or `kill` that wants the run to end, a terminal that closes, a cluster that warns; Windows lacks two of them
ENDING = ("SIGTERM", "SIGHUP", "SIGUSR1")


class Interrupted(Exception):
    """A signal asked the run to end; raised between two batches, so that the model can still be scored."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Let signals of `ENDING` end a prediction as Ctrl-C does; Lightning would note them, and predict on."""

    def leave(number: int, *_: Any) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    ours = threading.current_thread() is threading.main_thread()
    default = [number for number in numbers if ours and signal.getsignal(number) == signal.SIG_DFL]
    for number in default:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)


class StopOnInterrupt(pl.Callback):
    """Turns the first Ctrl-C, or signal of `ENDING`, into `Interrupted` after a batch; a second one ends at once.

    `last.ckpt` is written then, where checkpoints are kept, and a resumed run goes on from there. Signals that somebody
    handles already (SLURM's requeueing, submitit), or that are ignored (nohup), are left alone.

    A single process leaves after the current batch. Ranks of a distributed run get the signal at different batches and
    must agree, which makes them wait: so only every `BATCHES_BETWEEN` batches and at the end of an epoch of training.
    """

    def __init__(self) -> None:
        self._asked = 0  # number of the signal
        self._before: dict[int, Any] = {}

    # not on_fit_start: Lightning notes the handlers after that, and puts ours back when an error ends the run
    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._ask)
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            return
        before = trainer._signal_connector._original_handlers  # Lightning has its own handler of SIGTERM by now
        for number in (getattr(signal, name) for name in ENDING if hasattr(signal, name)):
            if before.get(number) == signal.SIG_DFL:
                signal.signal(number, self._ask)
                self._before[number] = signal.SIG_DFL

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.fit_loop._should_accumulate():  # gradients of half a step are not in a checkpoint
            self._leave_if_asked(trainer, (batch_idx + 1) % BATCHES_BETWEEN == 0 or trainer.is_last_batch)

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
        if not any(isinstance(callback, WeightAveraging) for callback in callbacks):  # which has exchanged the weights
            self._leave_if_asked(trainer, (batch_idx + 1) % BATCHES_BETWEEN == 0)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._leave_if_asked(trainer, due=True)

    def _leave_if_asked(self, trainer: pl.Trainer, due: bool) -> None:
        stop = self._asked
        if trainer.world_size > 1 and due:
            # Ctrl-C reaches all ranks, other signals perhaps one: the number of any of them
            asked = trainer.strategy.reduce_boolean_decision(bool(stop), all=False)
            stop = (stop or signal.SIGTERM) if asked else 0
        elif trainer.world_size > 1:
            stop = 0
        if stop and not trainer.sanity_checking:
            kept = (callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint))
            folder = next((callback.dirpath for callback in kept), None)
            if folder is not None:
                trainer.save_checkpoint(Path(folder) / "last.ckpt")
            raise Interrupted(stop)

    def _ask(self, number: int, *_: Any) -> None:
        if self._asked:
            self._restore()
            raise KeyboardInterrupt
        self._asked = number
        again = "; Ctrl-C again to leave at once" if number == signal.SIGINT else ""
        rank_zero_only(print)(f"\nstopping after a batch{again}", flush=True)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
