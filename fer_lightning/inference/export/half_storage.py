"""Weights of an ONNX graph in two bytes each, which the runtime turns into float32 when it loads the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

STORED = ".float16"  # behind the name of a weight that is stored so
SMALLEST = 2  # dimensions: biases and scales are few and count for more


def store_half(model: Any) -> None:
    """Store filters and matrices as float16, each behind a Cast that runtimes fold away; the graph computes as before.

    Those that float16 cannot hold stay as they are.
    """
    from onnx import TensorProto, numpy_helper

    graph, names = model.graph, []
    for tensor in graph.initializer:
        elsewhere = tensor.data_location == TensorProto.EXTERNAL  # in the file that `share_weights` points to
        if elsewhere or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < SMALLEST:
            continue
        with np.errstate(over="ignore"):
            values = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(values).all():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values, f"{name}{STORED}"))
        names.append(name)
    cast_to_float(graph, names)


def cast_to_float(graph: Any, names: Sequence[str]) -> None:
    """Compute the weights of these names from the float16 ones with `STORED` behind their names."""
    from onnx import TensorProto, helper

    kind = TensorProto.FLOAT
    casts = [helper.make_node("Cast", [f"{name}{STORED}"], [name], name=f"{name}.cast", to=kind) for name in names]
    nodes = [*casts, *graph.node]  # in the order of their use
    del graph.node[:]
    graph.node.extend(nodes)
