"""A checkpoint without what only continuing needs, in one safetensors file: weights, and what they are loaded with.

The tensors are those of the state dict, by its names; what else a checkpoint has as tensors, the identities of the
images it has seen, has names that begin with `fer_lightning.`. The metadata hold texts: facts for people and other
programs, as an ONNX file has them, and `checkpoint`, a JSON object of all that `Checkpoint` reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from fer_lightning.models.weights.file_kinds import is_safetensors

OURS = "fer_lightning."  # before the names of tensors that are no weights
KEYS: dict[str, type] = {
    "epoch": int,
    "global_step": int,
    **dict.fromkeys(("fer_lightning", "hyper_parameters", "selection", "facts"), dict),
}


def write_safetensors(
    path: Path,
    checkpoint: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    seen: Mapping[str, Tensor],
    *,
    half: bool = False,
) -> None:
    """Write a file that `read_safetensors` reads.

    Args:
        path: of the file.
        checkpoint: plain values under `KEYS`.
        weights: the state dict.
        seen: other tensors, see above.
        half: store what `halved` may, in half the bytes.

    Raises:
        ValueError: a value under `KEYS` would not come back from JSON as it is.
    """
    plain = _listed({key: checkpoint[key] for key in KEYS})
    told = json.dumps(plain, allow_nan=False)
    if json.loads(told) != plain:
        raise ValueError("its hyper-parameters hold what JSON cannot, such as mappings by number")
    facts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in checkpoint["facts"].items()}
    tensors = {name: halved(value) if half else value for name, value in weights.items()}
    tensors |= {OURS + name: value for name, value in seen.items()}
    whole = {name: value.contiguous().clone() for name, value in tensors.items()}  # safetensors shares no memory
    path.write_bytes(save(whole, {"format": "pt", **facts, "checkpoint": told}))  # save_file hides it from others


def _listed(value: Any) -> Any:
    """Return a nested value with lists for tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def halved(tensor: Tensor) -> Tensor:
    """Return filters and matrices as float16, and all else, which is small and counts for more, as it is."""
    if tensor.dtype != torch.float32 or tensor.ndim < 2:
        return tensor
    half = tensor.half()
    return half if half.isfinite().all() else tensor


def recorded_settings(path: Path) -> dict[str, Any]:
    """Return the hyper-parameters that a file is loaded with; empty for one of another kind, or of other programs."""
    content = read_safetensors(path) if is_safetensors(path) else {}
    settings: dict[str, Any] = content.get("hyper_parameters", {})
    return settings


def read_safetensors(path: Path) -> dict[str, Any]:
    """Return what a file holds as Lightning's dictionary, weights in float32; empty for files of other programs.

    Raises:
        ValueError: its metadata are not what `write_safetensors` writes.
        Exception: those of the library, for a damaged file.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        if "checkpoint" not in metadata:
            return {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
    content = json.loads(metadata["checkpoint"])
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in KEYS.items()):
        raise ValueError("its metadata are damaged")
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(OURS)}
    return {
        **content,
        "state_dict": {name: part.float() if part.dtype == torch.float16 else part for name, part in weights.items()},
        "seen": {name.removeprefix(OURS): tensor for name, tensor in tensors.items() if name.startswith(OURS)},
    }
