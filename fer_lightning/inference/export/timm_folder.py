"""`format=timm`: a folder with weights and a config that timm loads, for its own backbones."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.export.quiet_exporters import quiet
from fer_lightning.inference.export.trained import Classify, Trained
from fer_lightning.models.backbones import NETWORKS
from fer_lightning.models.normalize import statistics

SUFFIX = ""  # a folder
CONFIG, WEIGHTS = "config.json", "model.safetensors"  # names that timm looks for
ONNX_INSTEAD = "type format=onnx or format=torch_export"


def check(trained: Trained, output: Path) -> None:
    """Raise a ConfigError for what is no network of timm's, or not as timm builds it, and for a folder of another."""
    name, values = trained.backbone, trained.checkpoint.hyper_parameters
    if trained.checkpoint.own_class is not None or name in NETWORKS:
        raise ConfigError(f"format=timm is for backbones of timm, and {name} is none: {ONNX_INSTEAD}")
    from fer_lightning.models.timm_backbones import PooledVGG

    if isinstance(trained.original.model.backbone, PooledVGG):
        raise ConfigError(f"format=timm: {name} has a pooled head in place of timm's dense part: {ONNX_INSTEAD}")
    if values.get("stem", "imagenet") != "imagenet":
        raise ConfigError(f"format=timm: timm builds no {name} with stem={values['stem']}: {ONNX_INSTEAD}")
    if (output / CONFIG).is_file() and b'"fer_lightning"' not in (output / CONFIG).read_bytes():
        raise ConfigError(f"{output} holds another model: type another output=FOLDER")


def write(trained: Trained, path: Path) -> None:
    """Write both files into a new folder."""
    from safetensors.torch import save_file

    state = trained.original.model.backbone.state_dict()
    weights = {name: value.contiguous().clone() for name, value in state.items()}  # safetensors shares no memory
    path.mkdir()
    save_file(weights, path / WEIGHTS, metadata={"format": "pt"})
    (path / CONFIG).write_text(json.dumps(_config(trained), indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> Classify:
    """Return what classifies by timm's model and timm's transform.

    The transform gets values, since it would round the bytes of a picture that it resizes.
    """
    import timm.data

    with quiet():
        model: Any = timm.create_model(f"local-dir:{path}", pretrained=True).eval()
    data: Any = timm.data
    transform = data.create_transform(**data.resolve_data_config({}, model=model))

    def classify(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            pixels = torch.stack([transform(face) for face in torch.from_numpy(faces).float() / 255])
            return np.asarray(model(pixels).softmax(dim=1))

    return classify


def usage(path: Path) -> str:
    """Return a command that uses the folder."""
    program = f"import timm; print(timm.create_model({json.dumps(f'local-dir:{path}')}, pretrained=True))"
    return f"python -c {shlex.quote(program)}"


def _config(trained: Trained) -> dict[str, Any]:
    """Return what timm builds the network and its transform from."""
    values, classes = trained.checkpoint.hyper_parameters, trained.original.classes
    backbone: Any = trained.original.model.backbone
    known = backbone.pretrained_cfg
    size = values.get("input_size") or trained.original.image_size
    mean, std = statistics(values.get("normalize", "standard"), values["mean"], values["std"])
    arguments = {"in_chans": trained.original.channels, **(values.get("backbone_kwargs") or {})}
    if known.get("fixed_input_size"):
        arguments.setdefault("img_size", size)
    return {
        "architecture": trained.backbone.partition(".")[0],
        "num_classes": len(classes),
        "num_features": backbone.num_features,
        "label_names": classes,
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [trained.original.channels, size, size],
            "fixed_input_size": bool(known.get("fixed_input_size")),
            "mean": list(mean),
            "std": list(std),
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "num_classes": len(classes),
            "first_conv": known.get("first_conv"),
            "classifier": known.get("classifier"),
        },
        "fer_lightning": trained.facts,
    }
