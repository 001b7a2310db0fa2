"""When a long run is expected to finish."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Timer

from fer_lightning.models.run_fraction import run_epochs
from fer_lightning.runs.status import update_status

log = logging.getLogger(__name__)
_WORTH_SAYING = 300  # seconds: of what is left, and from one line to the next
_RECENT = 3  # epochs whose pace counts: images may grow, and other programs come and go


class ExpectedFinish(pl.Callback):
    """Says after the first epoch of a long run, and every few minutes after one, when the run is expected to finish.

    Measured are the batches of this attempt, with what comes between them, so a resumed run says it as well. The
    `status.json` of the run gets the moment too. Early stopping may end the run before.
    """

    def __init__(self) -> None:
        self._batches = 0  # of this attempt
        self._marks: deque[tuple[float, int]] = deque(maxlen=_RECENT)  # moment, and batches until then
        self._said = -math.inf

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._marks.append((time.monotonic(), self._batches))

    def on_train_batch_end(self, *_: Any) -> None:
        self._batches += 1

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        now, (since, before) = time.monotonic(), self._marks[0]
        self._marks.append((now, self._batches))
        done, epochs, batches = trainer.current_epoch + 1, run_epochs(trainer), self._batches - before
        if not trainer.is_global_zero or math.isinf(epochs) or batches == 0:
            return
        epoch = (now - since) / batches * trainer.num_training_batches
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning's, unannotated
        limits = [callback.time_remaining() for callback in callbacks if isinstance(callback, Timer)]  # of max_time
        left = min([(epochs - done) * epoch, *(limit for limit in limits if limit is not None)])
        if left < _WORTH_SAYING or now - self._said < _WORTH_SAYING:
            return
        self._said, moment = now, datetime.now().astimezone()
        finish = moment + timedelta(seconds=left)
        clock = finish.strftime("%H:%M" if finish.date() == moment.date() else "%H:%M on %Y-%m-%d")
        last = math.ceil(epochs)
        says = f"{_duration(epoch)} an epoch, expected to finish at {clock} (in {_duration(left)})"
        log.info(f"epoch {done} of {last}: {says}")
        update_status(Path(trainer.default_root_dir), expected=finish.isoformat(timespec="seconds"))


def _duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> [_duration(seconds) for seconds in (42.4, 186, 6600, 100_000)]
    ['42 s', '3.1 min', '1 h 50 min', '27 h 47 min']
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"
