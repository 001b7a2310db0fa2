"""`format=release`: a folder to publish, with the ONNX and the safetensors file, a model card and checksums.

The models that ship with the package are such folders: output=fer_lightning/models/shipped/NAME makes one.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from fer_lightning.core.errors import UserError
from fer_lightning.inference.export import onnx_file, safetensors_file
from fer_lightning.inference.export.compare import ROUNDED
from fer_lightning.inference.export.latency import milliseconds
from fer_lightning.inference.export.model_card import render_card
from fer_lightning.inference.export.run_record import RunRecord
from fer_lightning.inference.export.trained import Classify, Trained
from fer_lightning.models.shipped.find import CARD, GRAPH, MANIFEST, WEIGHTS
from fer_lightning.system.precision import device_name

SUFFIX = ""  # a folder
LARGEST = 5_000_000  # bytes of both files; where they would be more, the graph reads the weights of the other file


def check(trained: Trained, output: Path) -> None:
    """Raise a ConfigError where a part of it cannot be written, or the run has no results for the card."""
    safetensors_file.check(trained, output)
    onnx_file.check(trained, output)
    RunRecord.read(trained.checkpoint)


def write(trained: Trained, path: Path) -> None:
    """Write all files into a new folder."""
    path.mkdir()
    onnx_file.write(trained, path / GRAPH)
    safetensors_file.write(trained, path / WEIGHTS)
    shared = sum(file.stat().st_size for file in path.iterdir()) > LARGEST and _is_plain(trained)
    if shared:
        onnx_file.write(trained, path / GRAPH, beside=path / WEIGHTS)
    run = RunRecord.read(trained.checkpoint)
    (speed,) = milliseconds(trained.example.numpy()[:1], path / GRAPH)
    manifest = {
        "name": trained.name,
        "version": trained.facts["trained_with"],
        "date": run.date,
        "backbone": trained.backbone,
        "parameters": trained.parameters,
        **{key: trained.facts[key] for key in ("classes", "image_size", "channels")},
        "storage": trained.storage,
        "shared": shared,
        "command": run.command,
        "machine": run.machine,
        "versions": run.versions,
        "commit": run.commit,
        "epoch": trained.checkpoint.epoch,
        **trained.checkpoint.selection,
        "fingerprint": trained.facts.get("fingerprint"),
        "scores": trained.facts["scores"],
        "milliseconds": {"face": round(speed, 3), "threads": 1, "machine": device_name("cpu")},
        "files": {file.name: _describe(file) for file in (path / GRAPH, path / WEIGHTS)},
    }
    (path / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (path / CARD).write_text(render_card(manifest, run, trained.dataset), encoding="utf-8")


def _is_plain(trained: Trained) -> bool:
    """Return whether a network has no branches that exports merge, which would be slower where they are not."""
    backbones: tuple[Any, ...] = (trained.original.model.backbone, trained.network.backbone)
    before, fused = (sum(part.numel() for part in each.parameters() if part.ndim > 1) for each in backbones)
    return bool(before == fused)


def load(path: Path) -> Classify:
    """Return what classifies by the graph, and a UserError where the weights give something else."""
    graph, weights = onnx_file.load(path / GRAPH), safetensors_file.load(path / WEIGHTS)

    def classify(faces: np.ndarray) -> np.ndarray:
        found, other = graph(faces), weights(faces)
        if not np.abs(found - other).max(initial=0) <= ROUNDED:
            raise UserError(f"{GRAPH} and {WEIGHTS} differ")
        return found

    return classify


def usage(path: Path) -> str:
    """Return a command that uses the folder."""
    return onnx_file.usage(path / GRAPH)


def _describe(file: Path) -> dict[str, str | int]:
    content = file.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
