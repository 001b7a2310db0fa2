"""All teachers of a student, and their logits for what it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.classifier import Shown
from fer_lightning.models.distillation.logit_table import SUFFIX, LogitTable
from fer_lightning.models.distillation.plain_view import open_table
from fer_lightning.models.distillation.teachers import Teacher

View = Literal["augmented", "plain"]


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
        self.paths, self.classes, self.view, self.stored = list(paths), list(classes), view, stored
        self.networks = {path: Teacher.read(path, classes) for path in paths if path not in tables}
        self.tables = {path: LogitTable.read(path, classes) for path in tables}
        self._plain: Tensor | None = None  # float16 (rows of the manifest, M, K)

    def __bool__(self) -> bool:
        return bool(self.paths)

    def __deepcopy__(self, memo: Any) -> Panel:
        return self  # averaging of weights copies the student; nothing changes the teachers

    def facts(self) -> list[dict[str, str]]:
        """Return what a checkpoint of the student stores of them."""
        members: dict[str, Any] = {**self.networks, **self.tables}
        return [{"path": path, "fingerprint": members[path].fingerprint} for path in self.paths]

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
            return
        if data is None:
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

    def logits(self, shown: Shown) -> Tensor:
        """Return logits float `(B, M, K)` for what the student is shown; in the plain view of the images as they were
        before mixing.
        """
        if self._plain is not None and shown.index is not None:
            return self._plain[shown.index]
        return torch.stack([teacher(shown.images) for teacher in self.networks.values()], dim=1)
