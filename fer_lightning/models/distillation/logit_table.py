"""Teachers' logits of unaugmented images in a file, which is small enough to be shipped in place of the teachers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.atomic_write import atomic_write, make_folder
from fer_lightning.core.errors import CheckpointError
from fer_lightning.core.home import expand_user
from fer_lightning.models.distillation.teachers import OTHERS, SEEN, class_order

SUFFIX = ".npz"
_PARTS = ("classes", "identities", "logits", "teachers")


@dataclass(frozen=True, eq=False)
class LogitTable:
    """Logits of n images by M teachers, each the mean over the image and its mirror image.

    Images are known by their content (`ExpressionDataModule.identities`), so that neither the names of files nor their
    order matter.
    """

    classes: tuple[str, ...]
    identities: np.ndarray  # (n,) uint64, sorted, each once
    logits: np.ndarray  # (n, M, K) float16
    teachers: tuple[str, ...]  # fingerprints, (M,)
    seen: dict[str, np.ndarray]  # identities of the images that a teacher was trained on or chosen by, see `SEEN`

    @classmethod
    def of(
        cls,
        classes: Sequence[str],
        identities: np.ndarray,
        logits: np.ndarray,
        teachers: Sequence[str],
        seen: Sequence[dict[str, np.ndarray]],
    ) -> LogitTable:
        """Return the table of images (n,) in any order, some perhaps twice; `seen` is what each teacher has seen."""
        unique, first = np.unique(identities, return_index=True)
        together = {name: np.unique(np.concatenate([one[name] for one in seen])) for name in SEEN}
        return cls(tuple(classes), unique, logits[first].astype(np.float16), tuple(teachers), together)

    @classmethod
    def read(cls, path: str | Path, classes: Sequence[str], setting: str = "model.teachers") -> LogitTable:
        """Read a file that `write` wrote, with its classes in this order; `setting` is the one that names it.

        Raises:
            CheckpointError: there is no such file, it is none of these, or it has other classes.
        """
        file = expand_user(path)
        if not file.is_file():
            raise CheckpointError(f"{setting}: there is no file {path}; {OTHERS}")
        try:
            with np.load(file, allow_pickle=False) as content:
                parts = {name: content[name] for name in (*_PARTS, *SEEN)}
        except Exception as error:  # numpy raises half a dozen types here, none of which says more to the user
            why = f"{path} holds no logits of teachers ({type(error).__name__})"
            raise CheckpointError(f"{setting}: {why}; {OTHERS}") from error
        known, names = [str(name) for name in parts["classes"]], [str(name) for name in parts["teachers"]]
        shape = (len(parts["identities"]), len(names), len(known))
        if shape[0] == 0 or parts["logits"].shape != shape or parts["logits"].dtype != np.float16:
            raise CheckpointError(f"{setting}: {path} is damaged: its logits are not float16 {shape}; {OTHERS}")
        order = class_order(str(path), known, classes)
        seen = {name: parts[name] for name in SEEN}
        return cls(tuple(classes), parts["identities"], parts["logits"][:, :, order], tuple(names), seen)

    def write(self, path: Path) -> None:
        """Write the table, or raise StorageError."""
        make_folder(path.parent)
        with atomic_write(path) as new, new.open("wb") as file:
            content: Any = {name: np.asarray(getattr(self, name)) for name in _PARTS} | self.seen
            np.savez_compressed(file, **content)

    def of_images(self, identities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits float16 `(m, M, K)` of images uint64 `(m,)`, and which of them are known, bool `(m,)`."""
        place = np.searchsorted(self.identities, identities).clip(max=len(self.identities) - 1)
        return self.logits[place], self.identities[place] == identities

    def knows(self, identities: np.ndarray) -> np.ndarray:
        """Return which of the images uint64 `(m,)` are in the table, bool `(m,)`."""
        return self.of_images(identities)[1]

    @property
    def fingerprint(self) -> str:
        """What tells the table from others; independent of the order of its classes."""
        digest = hashlib.blake2b(digest_size=12)
        order = np.argsort(self.classes)
        for part in (np.sort(self.classes), self.identities, self.logits[:, :, order], np.asarray(self.teachers)):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
