from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.detection.yunet import YunetDetector

onnx = pytest.importorskip("onnx", reason="the graph is written by onnx")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a graph with YuNet's outputs: the score is how red a field of 8 x 8 pixels is, the box has 4 x 5 fields."""
    from onnx import helper
    from onnx.numpy_helper import from_array

    weights = np.zeros((1, 3, 8, 8), dtype=np.float32)
    weights[:, 2] = 1 / (64 * 255)  # OpenCV feeds blue, green, red
    nodes, values = [helper.make_node("Conv", ["input", "weights"], ["red"], strides=[8, 8])], {"weights": weights}
    outputs = []
    constant = {"cls": [1.0], "obj": [1.0], "bbox": [0, 0, math.log(4), math.log(5)], "kps": [0.0] * 10}
    values["flat"] = np.array([1, -1, 1])
    for stride in (8, 16, 32):
        shrink = {"kernel_shape": [stride // 8] * 2, "strides": [stride // 8] * 2}
        nodes.append(helper.make_node("AveragePool", ["red"], [f"red_{stride}"], **shrink))
        nodes.append(helper.make_node("Reshape", [f"red_{stride}", "flat"], [f"score_{stride}"]))
        for kind, factors in constant.items():
            name = f"{kind}_{stride}"
            score = np.array(factors if stride == 8 else [0.0] * len(factors), dtype=np.float32)
            if kind in ("cls", "obj"):
                values[f"{name}_factor"] = score
                nodes.append(helper.make_node("Mul", [f"score_{stride}", f"{name}_factor"], [name]))
            else:  # the same in every field
                values[f"{name}_none"], values[f"{name}_value"] = np.zeros(1, dtype=np.float32), score
                nodes.append(helper.make_node("Mul", [f"score_{stride}", f"{name}_none"], [f"{name}_zero"]))
                nodes.append(helper.make_node("Add", [f"{name}_zero", f"{name}_value"], [name]))
            outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, "fields", len(factors)]))
    inputs = [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, "height", "width"])]
    graph = helper.make_graph(nodes, "yunet", inputs, outputs, [from_array(v, k) for k, v in values.items()])
    path = tmp_path_factory.mktemp("yunet") / "yunet.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("scale", [1, 3])
def test_a_box_is_where_the_network_says(network: Path, scale: int) -> None:
    picture = np.zeros((160 * scale, 240 * scale, 3), dtype=np.uint8)
    picture[40 * scale : 48 * scale, 80 * scale : 88 * scale, 0] = 255  # row 5, column 10
    ((box, score),) = YunetDetector(network, sides=(196,))(picture)
    assert box == (64 * scale, 20 * scale, 32 * scale, 40 * scale)
    assert score == pytest.approx(1, abs=0.02)
    assert YunetDetector(network)(picture[..., ::-1]) == []  # blue


def test_pictures_of_any_size(network: Path) -> None:
    detector = YunetDetector(network)
    for shape in ((1, 1), (5000, 3, 3), (33, 31), (0, 4)):
        assert detector(np.zeros(shape, dtype=np.uint8)) == []


def test_another_file_is_refused(tmp_path: Path) -> None:
    from onnx import helper

    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 64, 64]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "other", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "b.onnx")
    (tmp_path / "a.onnx").write_text("no network")
    for name in ("a.onnx", "b.onnx"):
        with pytest.raises(ConfigError, match=rf"detector_file=.*{name} is no YuNet network .*leave detector_file out"):
            YunetDetector(tmp_path / name)
