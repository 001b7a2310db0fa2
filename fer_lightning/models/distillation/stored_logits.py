"""What teachers said of augmented images, by epoch and row, so that another run need not ask them.

Augmentation is a function of seed, epoch and row, so a second student sees what the first one saw. A slot of the file
holds a checksum of the picture beside its logits: whatever changes the picture (another augmentation, mixing, an image
that is drawn twice in an epoch) makes the teachers be asked again, and no list of settings has to be complete.
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.atomic_write import make_folder
from fer_lightning.core.home import expand_user

log = logging.getLogger(__name__)


class StoredLogits:
    """A file of slots, one for each epoch and row; those that nobody has written are holes in it.

    Several runs and ranks may use it at once: each writes whole slots, and knows a torn one by its checksum. Reading
    and writing happens once an epoch.

    Args:
        path: of the file; created where it is missing.
        rows: images of the manifest.
        teachers, classes: M and K.
    """

    def __init__(self, path: Path, rows: int, teachers: int, classes: int) -> None:
        self.path, self.rows = path, rows
        self.slot = np.dtype([("check", "<i8"), ("logits", "<f2", (teachers, classes))])
        self._epoch = -1
        self._slots, self._new = np.zeros(0, self.slot), np.zeros(0, bool)
        make_folder(path.parent)
        path.touch()

    def logits(self, epoch: int, index: Tensor, images: Tensor, ask: Callable[[Tensor], Tensor]) -> Tensor:
        """Return logits float `(B, M, K)` of images `(B, C, H, W)`: stored ones, or those that `ask` returns.

        The whole batch is asked for where one image is missing: logits may depend on the batch in the last digit.
        """
        if epoch != self._epoch:
            self.flush()
            self._epoch, self._slots, self._new = epoch, self._read(epoch), np.zeros(self.rows, bool)
        at, sums = index.cpu().numpy(), checksums(images).cpu().numpy()
        found = self._slots[at]
        if not np.array_equal(found["check"], _checks(sums, found["logits"])):
            found["logits"] = ask(images).cpu().numpy()
            found["check"] = _checks(sums, found["logits"])
            self._slots[at], self._new[at] = found, True
        return torch.from_numpy(np.ascontiguousarray(found["logits"])).to(images.device)

    def flush(self) -> None:
        """Write what is new of the epoch; where the disk does not take it, this run goes on, and another asks again."""
        rows = np.flatnonzero(self._new)
        if len(rows) == 0:
            return
        self._new[:] = False
        try:
            with self.path.open("r+b", buffering=0) as file:
                for row in rows.tolist():
                    file.seek(self._place(self._epoch, row))
                    file.write(self._slots[row].tobytes())
        except OSError as error:
            log.warning(f"cannot keep logits of teachers in {self.path} ({error.strerror}): they will be asked again")

    @property
    def size(self) -> int:
        """Bytes of an epoch."""
        return self.rows * self.slot.itemsize

    def _place(self, epoch: int, row: int) -> int:
        return epoch * self.size + row * self.slot.itemsize

    def _read(self, epoch: int) -> np.ndarray:
        """Return the slots of an epoch, zeros where the file has ended."""
        slots, content = np.zeros(self.rows, self.slot), b""
        try:
            with self.path.open("rb") as file:
                file.seek(self._place(epoch, 0))
                content = file.read(slots.nbytes)
        except OSError as error:
            log.warning(f"cannot read logits of teachers from {self.path} ({error.strerror}): they are asked again")
        slots.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
        return slots


def file_of(stored: str, data: Any, view: str, key: object, suffix: str) -> Path:
    """Return the file for what `key` tells apart, in the folder `stored`; `auto` is that of a datamodule's cache."""
    folder = Path(data.cache_dir) / "logits" if stored == "auto" else expand_user(stored)
    return folder / f"{view}-{hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()}{suffix}"


def checksums(images: Tensor) -> Tensor:
    """Return int64 `(B,)` that tell pictures apart, of uint8 or float32 `(B, C, H, W)`.

    This is multilinear hashing: two different pictures agree with a chance of less than 1 in 4 billion.
    """
    flat = images.reshape(len(images), -1)
    whole = flat.dtype != torch.uint8 or flat.shape[1] % 4 == 0
    words = (flat.view(torch.int32) if whole else flat).to(torch.int64)
    return (words * _multipliers(words.shape[1], words.device)).sum(dim=1)


def _checks(sums: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return checksums int64 `(B,)` of pictures, given theirs, with their logits; never that of an empty slot."""
    words = logits.reshape(len(logits), -1).view(np.int16).astype(np.int64)
    multipliers: np.ndarray = _multipliers(words.shape[1] + 1, torch.device("cpu")).numpy()[1:]
    with np.errstate(over="ignore"):
        return np.asarray(sums + (words * multipliers).sum(axis=1) + 1)


@functools.lru_cache(maxsize=8)
def _multipliers(count: int, device: torch.device) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(-(2**63), 2**63, count) | 1).to(device)
