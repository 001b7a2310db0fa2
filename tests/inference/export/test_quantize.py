"""Weights of one byte, and what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from fer_lightning import export as verb
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer


def test_it_is_calibrated_scored_and_smaller(legacy: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    checkpoint = legacy / "checkpoints" / "best.ckpt"
    output = tmp_path / "resnet10t_int8.onnx"
    verb.main([f"ckpt_path={checkpoint}", f"output={tmp_path}", "quantize=int8", f"hydra.run.dir={tmp_path}/out"])
    out, err = capfd.readouterr()
    assert err == ""
    assert "int8, calibrated on 14 train images" in out
    graph = OnnxRecognizer.load(output)
    facts = graph.session.get_modelmeta().custom_metadata_map
    cost = json.loads(facts["quantization"])
    assert (facts["quantized"], cost["count"], cost["split"]) == ("int8", 7, "validation")
    operations = {node.op_type for node in onnx.load(output).graph.node}
    last = next(node for node in onnx.load(output).graph.node if "probabilities" in node.output)
    assert last.op_type == "Softmax", "probabilities are not rounded to steps"
    assert {"QuantizeLinear", "DequantizeLinear"} <= operations
    kernels = {tensor.data_type for tensor in onnx.load(output).graph.initializer if tensor.dims[2:] == [3, 3]}
    assert kernels == {onnx.TensorProto.INT8}
    scale = next(tensor for tensor in onnx.load(output).graph.initializer if tensor.name == "pixels.scale")
    assert scale.data_type == onnx.TensorProto.FLOAT, "pixels are scaled in full precision"
    faces = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16), dtype=np.uint8)
    difference = np.abs(graph(faces) - CheckpointRecognizer.load(checkpoint)(faces)).max()
    assert 0 < difference < 0.1
