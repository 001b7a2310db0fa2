"""The ONNX file: its graph, and what it says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from omegaconf import DictConfig, OmegaConf
from torch.nn import BatchNorm2d

from fer_lightning.config.compose import conf_dir
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.models.checkpoint import Checkpoint

SaveModel = Callable[..., Path]
SHIPPED = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))
# timm's own tiny versions of families with unusual operations
FAMILIES = (
    *("test_efficientnet", "test_convnext", "test_vit", "test_byobnet", "test_nfnet", "test_mambaout"),
    "mobilenetv3_small_050",
)


def agree(checkpoint: Path, exported: Path) -> None:
    """Assert that both give the same for batches of several sizes."""
    original, graph = CheckpointRecognizer.of(Checkpoint.read(checkpoint)), OnnxRecognizer.load(exported)
    for count in (1, 2, 7):
        shape = (count, original.channels, original.image_size, original.image_size)
        faces = np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)
        np.testing.assert_allclose(graph(faces), original(faces), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_network_is_exported(
    name: str, save_model: SaveModel, tmp_path: Path, compose: Callable[..., DictConfig]
) -> None:
    settings: Any = OmegaConf.to_container(compose("train", f"model={name}").model)
    checkpoint = save_model(**{key: settings[key] for key in ("backbone", "stem", "drop_rate", "backbone_kwargs")})
    done = export_checkpoint(checkpoint, tmp_path / "model.onnx")
    agree(checkpoint, done.path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_families_of_timm_are_exported(name: str, save_model: SaveModel, tmp_path: Path) -> None:
    checkpoint = save_model(name, image_size=40, input_size=64, channels=3, mean=[0.4] * 3, std=[0.2] * 3)
    agree(checkpoint, export_checkpoint(checkpoint, tmp_path / "model.onnx").path)


def test_the_graph_of_the_small_network_has_no_node_too_many(checkpoint: Path, tmp_path: Path) -> None:
    path = export_checkpoint(checkpoint, tmp_path / "model.onnx").path
    onnx.checker.check_model(path, full_check=True)
    graph = onnx.load(path).graph
    layers = {"Conv": 8, "Relu": 8, "MaxPool": 4, "ReduceMean": 1, "Gemm": 1, "Softmax": 1}  # BN is in the convolutions
    assert Counter(node.op_type for node in graph.node) == {"Cast": 1, "Mul": 1, "Add": 1, **layers}
    (images,), (probabilities,) = graph.input, graph.output
    assert (images.name, probabilities.name) == ("images", "probabilities")
    assert [axis.dim_param or axis.dim_value for axis in images.type.tensor_type.shape.dim] == ["N", 1, 24, 24]


def test_branches_and_batch_norms_are_merged_into_the_convolutions(save_model: SaveModel, tmp_path: Path) -> None:
    options = {"widths": [4, 4], "depths": [2, 2], "branches": True, "squeeze_excite": 0.5, "stem": "whitened"}
    checkpoint = save_model("compact_cnn", backbone_kwargs=options)
    done = export_checkpoint(checkpoint, tmp_path / "model.onnx")
    agree(checkpoint, done.path)
    kinds = Counter(node.op_type for node in onnx.load(done.path).graph.node)
    stem, blocks, gates = 1, 4, 2
    assert (kinds["Conv"], kinds["MaxPool"], kinds["BatchNormalization"]) == (stem + blocks + 2 * gates, 2, 0)
    assert (kinds["Relu"], kinds["Add"]) == (stem + blocks + gates, 1)  # of the normalisation


def test_predictions_use_the_merged_network(save_model: SaveModel) -> None:
    checkpoint = save_model("compact_cnn", backbone_kwargs={"widths": [4, 6], "depths": [2, 2], "branches": True})
    merged, original = CheckpointRecognizer.load(checkpoint), CheckpointRecognizer.of(Checkpoint.read(checkpoint))
    faces = np.random.default_rng(0).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)
    np.testing.assert_allclose(merged(faces), original(faces), atol=1e-6)
    norms = [sum(isinstance(m, BatchNorm2d) for m in used.model.modules()) for used in (merged, original)]
    assert norms == [0, 4 + 3 + 2]  # of 3×3 convolutions, of 1×1 and of identities
