"""What every trained model offers for its use, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.core.fast_imports import fast_imports
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.models.weights.file_kinds import is_safetensors


class Recognizer(Protocol):
    """Maps faces that have been cut out to probabilities of expressions.

    Attributes:
        path: of its file.
        classes: names of the outputs, in order.
        image_size: pixels a side of the faces that it takes.
        channels: 1 for grey, 3 for RGB.
        fingerprint: of the images it was trained on; None if its file does not say.
    """

    @property
    def path(self) -> Path: ...
    @property
    def classes(self) -> Sequence[str]: ...
    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def fingerprint(self) -> str | None: ...

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        """Return probabilities float32 `(B, K)` of faces uint8 `(B, C, S, S)`; B may be 0."""
        ...


def load_recognizer(path: str | Path, *, threads: int | None = None, allow: Sequence[str] = ()) -> Recognizer:
    """Return the model in an ONNX or safetensors file of `export`, or in a checkpoint of `fer_lightning.train`.

    Only an ONNX file does without torch.

    Args:
        path: of the file; its content says which of them it is.
        threads: of the CPU for one call; None for as many as there are cores. For a checkpoint, it is torch's setting,
            which holds for the whole process.
        allow: modules of your own that may be imported for a checkpoint of a LightningModule in one of them.

    Raises:
        CheckpointError: there is no such file, or it holds no model of fer_lightning.
        ConfigError: onnxruntime is not installed, or `threads` is not positive.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(f"no model at {path}: {_hint(path)}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads={threads} must be 1 or more")
    if _is_onnx(path):
        from fer_lightning.inference.onnx_recognizer import OnnxRecognizer

        return OnnxRecognizer.load(path, threads=threads)
    with fast_imports():
        from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer

    return CheckpointRecognizer.load(path, threads=threads, allow=allow)


def _is_onnx(path: Path) -> bool:
    """Return whether a file is for onnxruntime: by its first bytes, then by its name."""
    with path.open("rb") as file:
        begin = file.read(4)
    if begin == b"PK\3\4" or is_safetensors(path):  # the archive that torch writes, or weights
        return False
    return path.suffix == ".onnx" or begin[:1] == b"\x08"  # the version of the format, the first field of ONNX


def _hint(path: Path) -> str:
    """Return what to type instead of a path where there is no file."""
    inside = whole_checkpoints(path / "checkpoints") + whole_checkpoints(path)
    for checkpoint in sorted(inside, key=lambda file: file.name != "best.ckpt"):
        return f"it is a folder; type {path_setting('ckpt_path', checkpoint)}"
    return "type ckpt_path=<run folder>/checkpoints/best.ckpt, or model=FILE.onnx from python -m fer_lightning.export"
