"""An ONNX file of `fer_lightning.export` as a recognizer, on onnxruntime; torch is not imported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.errors import CheckpointError, ConfigError, first_lines

# names in the graph and in the metadata of the file; `fer_lightning.export` writes them
INPUT, OUTPUT = "images", "probabilities"


@dataclass(frozen=True)
class OnnxRecognizer:
    """See `Recognizer`."""

    path: Path
    classes: list[str]
    image_size: int
    channels: int
    fingerprint: str | None
    session: Any

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> OnnxRecognizer:
        """Read a file that `fer_lightning.export` wrote.

        Raises:
            ConfigError: onnxruntime is not installed.
            CheckpointError: the file holds no ONNX graph, or that of another program.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(f'{path} needs onnxruntime: pip install "fer_lightning[onnx]"') from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong with a file is said below
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own types, one a reason
            raise CheckpointError(f"{path} cannot be read as an ONNX model ({first_lines(error)})") from error
        facts = session.get_modelmeta().custom_metadata_map
        if "fer_lightning" not in facts:
            raise CheckpointError(
                f"{path} was written by another program and does not say its classes and size of faces: "
                "export a checkpoint with python -m fer_lightning.export ckpt_path=… format=onnx"
            )
        classes = json.loads(facts["classes"])
        size, channels = int(facts["image_size"]), int(facts["channels"])
        return cls(Path(path), classes, size, channels, facts.get("fingerprint"), session)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        (probabilities,) = self.session.run([OUTPUT], {INPUT: faces})
        return np.asarray(probabilities)
