"""From a file of weights to its tensors by name."""

from __future__ import annotations

import warnings
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.models.shipped.find import shipped_models, weights_file
from fer_lightning.models.weights.file_kinds import SAFETENSORS, TORCH_ZIP, file_kind
from fer_lightning.models.weights.inert_pickle import named_tensors, read_inert


def read_tensors(file: str | Path) -> dict[str, Tensor]:
    """Return all tensors of a file by dotted name, those in nested dictionaries too, without running any code in it.

    `{"state_dict": {"model.fc.bias": …}, "epoch": 3}` gives `{"state_dict.model.fc.bias": …}`. The file is safetensors,
    or what `torch.save` wrote: a state dict, a checkpoint of any project, or a whole model. A model that ships with the
    package is named.

    Raises:
        ConfigError: there is no such file, or it holds no PyTorch weights; the message says what it is.
    """
    path = weights_file(file)
    if not path.exists():
        near = did_you_mean(str(file), shipped_models(), prefix="model.weights=")
        raise ConfigError(f"no file at model.weights={file}; type the path of a .pth, .pt or .safetensors file{near}")
    try:
        kind = file_kind(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.weights={file} cannot be read: {error}") from error
    try:
        tensors = safetensors.torch.load_file(path) if kind == SAFETENSORS else _read_torch(path, kind)
    except ConfigError:
        raise
    except Exception as error:  # torch, pickle and safetensors raise a dozen types here
        reason = f"{type(error).__name__}: {first_lines(error)}"
        raise ConfigError(f"model.weights={file} cannot be read as .pth, .pt or .safetensors ({reason})") from error
    if not tensors:
        raise ConfigError(f"model.weights={file} holds no state dict, that is tensors by name")
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in tensors.items()}  # torch.compile's


def _read_torch(path: Path, kind: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on pickles of other protocols, which it cannot read or can
            return dict(named_tensors(torch.load(path, "cpu", weights_only=True)))
    except Exception as error:  # of many types; most often a class that torch does not know
        if kind == TORCH_ZIP:
            return read_inert(path)
        raise ConfigError(
            f"model.weights={path} cannot be read: it is a pickle, whose objects only its own code could make; where "
            "that is, save a state dict anew, torch.save(model.state_dict(), 'weights.pth'), and type "
            "model.weights=weights.pth"
        ) from error
