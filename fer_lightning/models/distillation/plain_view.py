"""Teachers are shown each training image once, without augmentation, and its mirror image."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import CheckpointError, ConfigError, DataError, StorageError
from fer_lightning.core.home import expand_user
from fer_lightning.models.distillation.logit_table import SUFFIX, LogitTable
from fer_lightning.models.distillation.stored_logits import file_of
from fer_lightning.models.distillation.teachers import Teacher

log = logging.getLogger(__name__)
_CHUNK = 256  # images that the teachers see at a time


class Members(Protocol):
    """The teachers of a student; see `Panel`."""

    classes: list[str]
    networks: dict[str, Teacher]
    tables: dict[str, LogitTable]
    stored: str | None

    def members(self) -> list[Teacher | LogitTable]: ...


def open_table(teachers: Members, data: Any, precision: str) -> LogitTable:
    """Return the logits of all training images of a datamodule: those that are kept, or else new ones, which are kept.

    `precision` is Lightning's, on which logits depend a little. See `Panel.prepare` for what is raised.
    """
    names = [network.fingerprint for network in teachers.networks.values()]
    names += [name for table in teachers.tables.values() for name in table.teachers]
    identities = data.identities(data.rows("train"))
    path = _file(teachers, data, precision)
    kept = None if path is None or not path.is_file() else _kept(path, teachers)
    if kept is not None and list(kept.teachers) != names:
        raise ConfigError(
            f"model.stored_logits={path} holds logits of other teachers: type the path of a new file, or "
            f"model.teachers=[{path}] to learn from those"
        )
    if kept is not None and kept.knows(identities).all():
        log.info(f"logits of teachers for {count_images(len(identities), 'training')}: from {path}")
        return kept
    started = time.monotonic()
    asked = _ask(list(teachers.networks.values()), data, len(teachers.classes))
    looked_up = [_look_up(path, table, identities) for path, table in teachers.tables.items()]
    logits = np.concatenate([asked, *looked_up], axis=1)
    seen = [member.seen for member in teachers.members()]
    found = LogitTable.of(teachers.classes, identities, logits, names, seen)
    took = f"{time.monotonic() - started:.0f} s"
    if path is None:
        log.info(f"asked the teachers for {count_images(len(identities), 'training')} once: {took}")
        return found
    try:
        found.write(path)
        log.info(f"asked the teachers for {count_images(len(identities), 'training')} once: {took}; kept in {path}")
    except StorageError as error:
        if teachers.stored != "auto":
            raise error.advising("model.stored_logits=PATH") from error
        log.warning(f"{error}; the next run will ask the teachers again")
    return found


def _file(teachers: Members, data: Any, precision: str) -> Path | None:
    """Return where the logits are kept; None for nowhere."""
    if teachers.stored is not None and teachers.stored.endswith(SUFFIX):
        return expand_user(teachers.stored)
    if teachers.stored is None or not teachers.networks:
        return None
    facts = data.facts()
    names = [member.fingerprint for member in teachers.members()]
    key = (names, facts["fingerprint"], facts["splits"], data.limit, precision)
    return file_of(teachers.stored, data, "plain", key, SUFFIX)


def _kept(path: Path, teachers: Members) -> LogitTable | None:
    """Read a table that was kept; None for a damaged one in the cache."""
    try:
        return LogitTable.read(path, teachers.classes, "model.stored_logits")
    except CheckpointError:
        if str(path) == str(teachers.stored):
            raise
        return None


def _look_up(path: str, table: LogitTable, identities: np.ndarray) -> np.ndarray:
    """Return logits `(n, M, K)` of these images; a DataError if some are not in the table."""
    logits, known = table.of_images(identities)
    if not known.all():
        raise DataError(
            f"model.teachers: {path} knows {int(known.sum()):,} of the {len(known):,} training images: it was made "
            "from other images or splits; name the checkpoints of the teachers, or the data that they were asked for"
        )
    return logits


def _ask(networks: list[Teacher], data: Any, classes: int) -> np.ndarray:
    """Return the logits float16 `(n, M, K)` of all training images in order, by the networks."""
    rows = data.rows("train")
    found = np.zeros((len(rows), len(networks), classes), dtype=np.float16)
    for begin in range(0, len(rows) if networks else 0, _CHUNK):
        part = slice(begin, begin + _CHUNK)
        images = torch.from_numpy(data.images(rows[part]))
        for number, network in enumerate(networks):
            both = [network(view.to(network.device)) for view in (images, images.flip(-1))]
            found[part, number] = torch.stack(both).mean(dim=0).cpu().numpy()
    return found
