"""What every trained model offers for its use, whatever file it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from fer_lightning.core.errors import CheckpointError


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
    """Return the model in an ONNX file of `fer_lightning.export`, or in a checkpoint of `fer_lightning.train`.

    Only a checkpoint imports torch.

    Args:
        path: of the file; one that ends with `.onnx` is read by onnxruntime.
        threads: of the CPU for one call; None for as many as there are cores.
        allow: modules of your own that may be imported for a checkpoint of a LightningModule in one of them.

    Raises:
        CheckpointError: there is no such file, or it holds no model of fer_lightning.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CheckpointError(
            f"no model at {path}: type ckpt_path=<run folder>/checkpoints/best.ckpt, or model=FILE.onnx from "
            "python -m fer_lightning.export"
        )
    if path.suffix == ".onnx":
        from fer_lightning.inference.onnx_recognizer import OnnxRecognizer

        return OnnxRecognizer.load(path, threads=threads)
    from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer

    return CheckpointRecognizer.load(path, threads=threads, allow=allow)
