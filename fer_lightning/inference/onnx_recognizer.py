"""An ONNX file of `fer_lightning.export` as a recognizer, on onnxruntime; torch is not imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.errors import CheckpointError, ConfigError, first_lines
from fer_lightning.core.quiet_libraries import import_onnxruntime
from fer_lightning.system.resources import available_cores

# names in the graph and in the metadata of the file; `fer_lightning.export` writes them
INPUT, OUTPUT = "images", "probabilities"
REASONS = {  # words of onnxruntime's errors, and what they mean to somebody who only has the file
    "INVALID_PROTOBUF": "it is no ONNX file, or was cut short",
    "No graph was found": "it is no ONNX file, or was cut short",
    "not have a graph": "it is no ONNX file, or was cut short",  # onnxruntime 1.20
    "opset": "it needs a newer onnxruntime: pip install --upgrade onnxruntime",
    "IR version": "it needs a newer onnxruntime: pip install --upgrade onnxruntime",
    "xternal": "the file with its weights is missing beside it",
    "cannot get file size": "the file with its weights is missing beside it",  # onnxruntime 1.20
}


@dataclass(frozen=True)
class OnnxRecognizer:
    """See `Recognizer`."""

    path: Path
    classes: list[str]
    image_size: int
    channels: int
    fingerprint: str | None
    session: Any = field(repr=False)

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> OnnxRecognizer:
        """Read a file that `fer_lightning.export` wrote; see `load_recognizer`.

        Raises:
            ConfigError: onnxruntime is not installed.
            CheckpointError: the file holds no ONNX graph, that of another program, or one that is not as it says.
        """
        try:
            onnxruntime = import_onnxruntime()
        except ImportError as error:
            raise ConfigError(f'{path} needs onnxruntime: pip install "fer_lightning[onnx]"') from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is wrong with a file is said below
        options.intra_op_num_threads = available_cores() if threads is None else threads
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own types, one a reason
            reason = next((reason for word, reason in REASONS.items() if word in str(error)), first_lines(error))
            raise CheckpointError(f"{path} cannot be read as an ONNX model: {reason}") from error
        facts = session.get_modelmeta().custom_metadata_map
        if "fer_lightning" not in facts:
            raise CheckpointError(
                f"{path} was written by another program and does not say its classes and size of faces: "
                "export a checkpoint with python -m fer_lightning.export ckpt_path=… format=onnx"
            )
        if missing := {"classes", "image_size", "channels"} - {*facts}:
            raise CheckpointError(f"{path}: its metadata lack {', '.join(sorted(missing))}")
        try:
            classes, size, channels = json.loads(facts["classes"]), int(facts["image_size"]), int(facts["channels"])
        except ValueError as error:
            raise CheckpointError(f"{path}: its metadata are damaged ({first_lines(error)})") from error
        _check_classes(path, classes)
        _check_graph(path, session, (channels, size, size), len(classes))
        return cls(Path(path), classes, size, channels, facts.get("fingerprint"), session)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        (probabilities,) = self.session.run([OUTPUT], {INPUT: faces})
        return np.asarray(probabilities)


def _check_classes(path: str | Path, classes: Any) -> None:
    """Refuse names that would not tell outputs apart."""
    if not isinstance(classes, list) or not all(isinstance(name, str) and name for name in classes):
        raise CheckpointError(f"{path}: its metadata hold no list of names under classes")
    if len({*classes}) < len(classes):
        raise CheckpointError(f"{path}: a class stands twice in its metadata: {', '.join(classes)}")


def _check_graph(path: str | Path, session: Any, image: tuple[int, int, int], classes: int) -> None:
    """Refuse a graph that does not take and give what the metadata say."""
    for said, found in (
        (_describe(INPUT, "tensor(uint8)", ("N", *image)), session.get_inputs()),
        (_describe(OUTPUT, "tensor(float)", ("N", classes)), session.get_outputs()),
    ):
        has = " and ".join(_describe(node.name, node.type, node.shape) for node in found)
        if has != said:
            raise CheckpointError(f"{path}: its graph has {has}, but its metadata say {said}")


def _describe(name: str, kind: str, shape: Sequence[int | str]) -> str:
    sides = ("N" if isinstance(side, str) else str(side) for side in shape)  # a string stands for any number
    return f"{name} {kind} ({', '.join(sides)})"
