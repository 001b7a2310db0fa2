"""Pretrained weights: from timm's hub, its local cache or a file."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import safetensors.torch
import timm
import torch
from huggingface_hub import get_session
from timm.models import adapt_input_conv, clean_state_dict
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.models.heads import last_layers
from fer_lightning.models.network import Network

PROBE_SECONDS = 5.0  # the hub's own client retries for three quarters of a minute before it gives up


def pretrained_source(name: str) -> dict[str, Any]:
    """Return timm's `pretrained_cfg_overlay`: where the weights of `name` lie here; empty if timm is to download.

    It is a ConfigError if there are none, or if they are not here and their server does not answer.
    """
    cfg: Any = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        hint = "type model.pretrained=false or model.weights=FILE"
        raise ConfigError(f"timm has no pretrained weights for model.backbone={name}; {hint}")
    if cfg.hf_hub_id:
        server, cached = huggingface_hub.constants.ENDPOINT, _cached_hub_file(cfg.hf_hub_id, cfg.hf_hub_filename)
    else:
        server = cfg.url
        cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(server).path).name)
    if cached is not None and cached.is_file():
        return {"file": str(cached), "custom_load": cfg.custom_load}
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise unreachable(name, "HF_HUB_OFFLINE is set")
    if not answers(server, PROBE_SECONDS):
        raise unreachable(name, f"{urlsplit(server).hostname} does not answer")
    return {}


def _cached_hub_file(repository: str, filename: str | None) -> Path | None:
    """Return a weights file that an earlier download left on this machine, safetensors if there is a choice."""
    repository, _, revision = repository.partition("@")
    filename = filename or "pytorch_model.bin"
    renamed = {"pytorch_model.bin": "model.bin", "open_clip_pytorch_model.bin": "open_clip_model.bin"}
    safe = str(Path(renamed.get(filename, filename)).with_suffix(".safetensors"))
    look = functools.partial(huggingface_hub.try_to_load_from_cache, repository, revision=revision or None)
    return next((Path(found) for found in map(look, (safe, filename)) if isinstance(found, str)), None)


def answers(url: str, seconds: float) -> bool:
    """Return whether the server of `url` answers the hub's own client within `seconds`.

    That client has the proxies, certificates and offline switch of a real download. It asks in a thread, since looking
    up a name has no time limit.
    """
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # of whichever HTTP library the client is made; all of them mean no
            if get_session().head(url, timeout=seconds).status_code < 500:
                answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def unreachable(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"the pretrained weights of model.backbone={name} are not on this machine and cannot be downloaded ({reason}); "
        "type model.pretrained=false to start from scratch, or model.weights=FILE to read them from a file"
    )


def load_weights(backbone: Network, file: str | Path, in_channels: int) -> None:
    """Load a state dict in timm's own layout, in place; a ConfigError if it cannot be read, or does not fit.

    The file is `.safetensors`, or what `torch.save` wrote: a state dict, or a checkpoint that holds one. The first
    convolution is folded to `in_channels` as timm does; the classifier is left as it is where the file has other
    classes. All the rest must be there and fit, but for `backbone.unused_weights`, prefixes of names in the file.
    """
    state = _read_state_dict(file)
    inner = {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}
    if inner and not state.keys() & backbone.state_dict().keys():  # a checkpoint of ours
        state = inner
    last = last_layers(backbone)
    heads = tuple(f"{name}." for name, module in backbone.named_modules() if module in last)
    try:
        # timm's own conversions, e.g. of position embeddings to another image size
        convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", lambda state, _: state)
        state = dict(convert(state, backbone))
        unused = getattr(backbone, "unused_weights", ())
        state = {key: value for key, value in state.items() if not key.startswith(unused)}
        _fold_first_convolution(state, backbone, in_channels)
        own = backbone.state_dict()
        if any(state[key].shape != own[key].shape for key in own.keys() & state.keys() if key.startswith(heads)):
            state = {key: value for key, value in state.items() if not key.startswith(heads)}
        outcome = backbone.load_state_dict(state, strict=False)
    except Exception as error:  # timm's conversions expect one layout and fail in many ways on others
        raise ConfigError(f"model.weights={file} does not fit this backbone: {first_lines(error)}") from error
    names = outcome.missing_keys, outcome.unexpected_keys
    missing, unexpected = ([key for key in keys if not key.startswith(heads)] for keys in names)
    if missing or unexpected:
        raise ConfigError(
            f"model.weights={file} is of another network: of the {len(own)} tensors of this one it lacks "
            f"{_few(missing)}, and it has {_few(unexpected)} besides; type the model.backbone=… that it was saved from"
        )


def _read_state_dict(file: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a file, without running any code in it."""
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigError(f"no file at model.weights={file}; type the path of a .pth, .pt or .safetensors file")
    try:
        safe = path.suffix == ".safetensors"
        content: Any = safetensors.torch.load_file(path) if safe else torch.load(path, "cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen types here
        reason = f"{type(error).__name__}: {first_lines(error)}"
        raise ConfigError(f"model.weights={file} cannot be read as .pth, .pt or .safetensors ({reason})") from error
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    items = content.items() if isinstance(content, dict) else ()
    tensors: Any = {key: value for key, value in items if isinstance(value, Tensor)}
    if not tensors:
        raise ConfigError(f"model.weights={file} holds no state dict, that is tensors by name")
    return dict(clean_state_dict(tensors))  # without the prefixes of torch.compile and DDP


def _fold_first_convolution(state: dict[str, Tensor], backbone: Network, in_channels: int) -> None:
    """Make first convolutions for other channels fit, in place: summed for grey, repeated and scaled for more."""
    convolutions = {name: module for name, module in backbone.named_modules() if isinstance(module, nn.Conv2d)}
    first = getattr(backbone, "pretrained_cfg", {}).get("first_conv")
    names = [*convolutions][:1] if first is None else [first] if isinstance(first, str) else first
    for name in names:
        key = f"{name}.weight"
        weight = state.get(key)
        if weight is None or weight.ndim != 4:
            continue
        wanted = convolutions[name].in_channels
        if weight.shape[1] == 1:
            state[key] = weight.expand(-1, wanted, -1, -1) / wanted  # a grey picture in RGB gives the same map
        elif weight.shape[1] != wanted:
            state[key] = adapt_input_conv(in_channels, weight)


def _few(names: list[str]) -> str:
    return f"{len(names)} ({names[0]}…)" if names else "none"
