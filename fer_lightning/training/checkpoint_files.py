"""Checkpoints that are whole or not there, whatever ends the process while one is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from fer_lightning.core.atomic_write import atomic_write, make_folder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the one that it replaces.

    Lightning's own goes through the folder for temporary files. On another file system, that is a copy, which a killed
    process or a full disk leaves half done under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write a checkpoint to a local path, others as Lightning does; StorageError: it cannot be written."""
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        make_folder(Path(path).parent)
        with atomic_write(Path(path)) as new, new.open("wb") as file:
            torch.save(checkpoint, file)
