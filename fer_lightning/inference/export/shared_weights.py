"""Weights of an ONNX graph that lie in a safetensors file beside it, so that both files hold them once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.inference.export.half_storage import STORED, cast_to_float

SMALLEST = 256  # numbers: smaller tensors stay in the graph
KINDS = {"F16": np.float16, "F32": np.float32}


def share_weights(model: Any, file: Path) -> None:
    """Point each weight of a graph to the tensor of its name in a safetensors file, whose folder is the graph's.

    A weight that has other values there than the graph has, rounded to float16 where the file is, stays in the graph.
    """
    from onnx import TensorProto, numpy_helper

    content = file.read_bytes()
    begin = 8 + int.from_bytes(content[:8], "little")
    tensors, halves = json.loads(content[8:begin]), []
    for weight in model.graph.initializer:
        about = tensors.get(weight.name, {})
        if about.get("dtype") not in KINDS or weight.data_type != TensorProto.FLOAT:
            continue
        (start, end), kind = about["data_offsets"], KINDS[about["dtype"]]
        stored = np.frombuffer(content[begin + start : begin + end], kind)
        values = numpy_helper.to_array(weight)
        if values.size < SMALLEST or not np.array_equal(values.ravel().astype(kind), stored):
            continue
        if kind is np.float16:
            halves.append(weight.name)
            weight.name, weight.data_type = f"{weight.name}{STORED}", TensorProto.FLOAT16
        weight.ClearField("raw_data")
        weight.ClearField("float_data")
        weight.data_location = TensorProto.EXTERNAL
        del weight.external_data[:]
        for key, value in {"location": file.name, "offset": begin + start, "length": end - start}.items():
            weight.external_data.add(key=key, value=str(value))
    cast_to_float(model.graph, halves)
