"""`quantize=int8`: weights and maps of an ONNX file in one byte each, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.quiet_libraries import import_onnxruntime
from fer_lightning.inference.export.images import Labelled
from fer_lightning.inference.export.latency import milliseconds
from fer_lightning.inference.export.onnx_file import describe
from fer_lightning.inference.export.quiet_exporters import quiet
from fer_lightning.inference.onnx_recognizer import INPUT, OnnxRecognizer

BATCH = 32
CALIBRATED = 256  # images that the ranges are taken from
LAYERS = ["Conv", "MatMul", "Gemm"]  # the rest costs accuracy in bytes, and time to go from bytes to floats and back


@dataclass(frozen=True)
class Cost:
    """What quantization costs and gains, on the same images."""

    split: str
    count: int
    calibrated_on: str
    accuracy_fp32: float
    accuracy_int8: float
    same_label: float  # fraction of the images
    milliseconds_fp32: float  # one face, one thread of this machine
    milliseconds_int8: float

    def __str__(self) -> str:
        points = f"{100 * (self.accuracy_int8 - self.accuracy_fp32):+.2f}".replace("-", "−")
        return (
            f"int8, calibrated on {self.calibrated_on}:\n"
            f"  accuracy {_percent(self.accuracy_int8)}, in fp32 {_percent(self.accuracy_fp32)}: {points} points on "
            f"{self.count:,} {self.split} images, of which {_percent(self.same_label)} get the same label\n"
            f"  {self.milliseconds_int8:.2f} ms a face in one thread of this machine, in fp32 "
            f"{self.milliseconds_fp32:.2f} ms"
        )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f} %"


def quantize(fp32: Path, int8: Path, calibration: Labelled, scored: Labelled) -> Cost:
    """Write the graph of one file, quantized, to another, and return what that costs.

    Static, of `LAYERS` alone, in pairs of QuantizeLinear and DequantizeLinear, with a scale for each channel of the
    weights, which use 7 of their 8 bits: processors without VNNI add two products in 16 bits.

    Args:
        fp32: file of `onnx_file.write`.
        int8: file to be written.
        calibration: give the range of each map.
        scored: the accuracies are measured on these.
    """
    ort = import_onnxruntime("onnxruntime.quantization")

    with quiet():
        ort.quantize_static(
            str(fp32),
            str(int8),
            _Batches(calibration),
            op_types_to_quantize=LAYERS,
            nodes_to_exclude=_preprocessing(fp32),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=ort.QuantType.QInt8,
            weight_type=ort.QuantType.QInt8,
        )
    before, after = OnnxRecognizer.load(fp32), OnnxRecognizer.load(int8)
    labels, first, second = (np.concatenate(parts) for parts in zip(*_predicted(scored, before, after), strict=True))
    times = milliseconds(next(iter(scored.batches(1)))[0], fp32, int8)
    cost = Cost(
        scored.split,
        len(labels),
        str(calibration),
        float((first == labels).mean()),
        float((second == labels).mean()),
        float((first == second).mean()),
        *times,
    )
    _note(int8, cost)
    return cost


def _preprocessing(path: Path) -> list[str]:
    """Return the nodes before the network, which scale and resize pixels: they cost little and need their precision."""
    import onnx

    nodes = onnx.load(path).graph.node
    inputs = [any(name.startswith("backbone.") for name in node.input) for node in nodes]
    return [node.name for node in nodes[: inputs.index(True)]] if True in inputs else []


class _Batches:
    """Images as onnxruntime's calibration takes them: a dict a call, and None at the end."""

    def __init__(self, images: Labelled) -> None:
        self._batches = images.batches(BATCH)

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch[0]}


def _predicted(images: Labelled, *models: OnnxRecognizer) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the labels of each batch, and the classes that each model gives."""
    for faces, labels in images.batches(BATCH):
        yield labels, *(model(faces).argmax(axis=1) for model in models)


def _note(path: Path, cost: Cost) -> None:
    """Write the cost into the metadata of the file."""
    import onnx

    model: Any = onnx.load(path)
    describe(model, {"quantized": "int8", "quantization": asdict(cost)})
    path.write_bytes(model.SerializeToString())
