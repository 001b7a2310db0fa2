"""All teachers of a student, and their logits for what it is shown."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError, StorageError
from fer_lightning.models.classifier import Shown
from fer_lightning.models.distillation.logit_table import SUFFIX, LogitTable
from fer_lightning.models.distillation.plain_view import open_table
from fer_lightning.models.distillation.stored_logits import StoredLogits, file_of
from fer_lightning.models.distillation.teachers import Teacher

View = Literal["augmented", "plain"]
log = logging.getLogger(__name__)


class Panel:
    """The teachers that `paths` name: checkpoints of networks, and tables of logits in place of networks.

    Args:
        paths, view, stored: `teachers`, `teacher_view` and `stored_logits` of `DistilledClassifier`.
        classes: of the student, in its order.

    Raises:
        CheckpointError: a file cannot be used.
        ConfigError: a table holds no logits for this view.
    """

    def __init__(self, paths: Sequence[str], classes: Sequence[str], view: View, stored: str | None) -> None:
        tables = [path for path in paths if path.endswith(SUFFIX)]
        if tables and view != "plain":
            raise ConfigError(
                f"model.teachers: {tables[0]} holds logits of images without augmentation: type "
                "model.teacher_view=plain, or name the checkpoints of the teachers"
            )
        if stored is not None and stored.endswith(SUFFIX) and view != "plain":
            raise ConfigError(
                f"model.stored_logits={stored} is a file for images without augmentation: type "
                "model.teacher_view=plain, or the path of a folder"
            )
        self.paths, self.classes, self.view, self.stored = list(paths), list(classes), view, stored
        self.networks = {path: Teacher.read(path, classes) for path in paths if path not in tables}
        self.tables = {path: LogitTable.read(path, classes) for path in tables}
        self._plain: Tensor | None = None  # float16 (rows of the manifest, M, K)
        self._kept: StoredLogits | None = None

    def __bool__(self) -> bool:
        return bool(self.paths)

    def __deepcopy__(self, memo: Any) -> Panel:
        return self  # averaging of weights copies the student; nothing changes the teachers

    def members(self) -> list[Teacher | LogitTable]:
        """Return networks and tables."""
        return [*self.networks.values(), *self.tables.values()]

    def facts(self) -> list[dict[str, str]]:
        """Return what a checkpoint of the student stores of them."""
        members = zip((*self.networks, *self.tables), self.members(), strict=True)
        return [{"path": path, "fingerprint": member.fingerprint} for path, member in members]

    def prepare(self, trainer: Any) -> None:
        """Move the networks to the device of the student; in the plain view, collect the logits of all training images.

        Raises:
            ConfigError: the trainer has no data that know their images, or `stored` is of other teachers.
            DataError: a table lacks training images.
            StorageError: the logits cannot be kept where `stored` says.
        """
        device, data = trainer.strategy.root_device, trainer.datamodule
        for teacher in self.networks.values():
            teacher.to(device)
        if self.view == "augmented":
            self._kept = self._open_store(trainer)
            return
        if not hasattr(data, "identities"):
            raise ConfigError("model.teacher_view=plain needs trainer.fit(model, datamodule=ExpressionDataModule(…))")
        with trainer.precision_plugin.forward_context():
            # the first rank asks the teachers and writes, before the others read
            table = open_table(self, data, trainer.precision) if trainer.is_global_zero else None
            trainer.strategy.barrier("logits of teachers")
            table = open_table(self, data, trainer.precision) if table is None else table
        rows = data.rows("train")
        logits, _ = table.of_images(data.identities(rows))
        plain = np.zeros((len(data.table), *logits.shape[1:]), dtype=np.float16)
        plain[rows] = logits
        self._plain = torch.from_numpy(plain).to(device)

    def _open_store(self, trainer: Any) -> StoredLogits | None:
        """Return what keeps the logits of augmented images, if they are to be kept."""
        data = trainer.datamodule
        if not hasattr(data, "shown_as") or self.stored is None:
            return None  # images without a name, of a loader or a datamodule of the user's own
        if self.stored == "auto" and trainer.strategy.root_device.type != "cpu":
            return None  # reading makes a GPU wait for every batch
        names = [teacher.fingerprint for teacher in self.networks.values()]
        mixing = trainer.lightning_module.mix is not None
        # of the rest, mixing depends on who else is in the batch
        key = (names, data.shown_as(), trainer.precision, mixing and (data.batch_size, trainer.world_size))
        path = file_of(self.stored, data, "augmented", key, ".bin")
        try:
            kept = StoredLogits(path, len(data.table), len(names), len(self.classes))
        except OSError as error:
            if self.stored != "auto":
                raise StorageError.writing(path, error).advising("model.stored_logits=PATH") from error
            log.warning(f"{StorageError.writing(path, error)}; logits of teachers are not kept")
            return None
        log.info(f"logits of teachers are kept for other runs in {path}, {kept.size / 1e6:.1f} MB an epoch")
        return kept

    def logits(self, shown: Shown, epoch: int) -> Tensor:
        """Return logits float `(B, M, K)` for what the student is shown; in the plain view of the images as they were
        before mixing.
        """
        if self._plain is not None and shown.rows is not None:
            return self._plain[shown.rows]
        if self._kept is not None and shown.rows is not None:
            return self._kept.logits(epoch, shown.rows, shown.images, self._ask)
        return self._ask(shown.images)

    def _ask(self, images: Tensor) -> Tensor:
        return torch.stack([teacher(images) for teacher in self.networks.values()], dim=1)

    def flush(self) -> None:
        """Write the logits of this epoch that are kept and new."""
        if self._kept is not None:
            self._kept.flush()
