"""From tensors by name into a network: which of them are its own, what is converted, what is left out and said."""

from __future__ import annotations

import logging
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import timm
import yaml
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.models.heads import last_layers
from fer_lightning.models.network import Network
from fer_lightning.models.safetensors_file import recorded_settings
from fer_lightning.models.shipped.find import weights_file
from fer_lightning.models.weights.read import read_tensors
from fer_lightning.models.weights.torchvision_names import modern_name, reshaped, torchvision_keys

log = logging.getLogger(__name__)

MAIN = ("state_dict", "model_state_dict", "model", "net", "network", "module")  # parts of a checkpoint that hold it


def load_weights(backbone: Network, file: str | Path, in_channels: int, name: str = "") -> None:
    """Load the weights of a file into a network called `name`, in place; a ConfigError if they do not fit.

    `read_tensors` says which files can be read. Names are timm's or torchvision's, behind any prefix (`model.`,
    `state_dict.net.module.`); of two sets the moving average is taken, and the log says so. The first convolution is
    folded to `in_channels` as timm does; the classifier is left as it is where the file has other classes. All the rest
    must be there and fit, but for `backbone.unused_weights`, prefixes of names in the file.
    """
    tensors = {modern_name(key): tensor for key, tensor in read_tensors(file).items()}
    own = backbone.state_dict()
    last = last_layers(backbone)
    heads = tuple(f"{key}." for key, module in backbone.named_modules() if module in last)
    prefix, state = _own_part(tensors, own, name, file)
    try:
        # timm's own conversions, e.g. of position embeddings to another image size
        convert = getattr(sys.modules[type(backbone).__module__], "checkpoint_filter_fn", lambda state, _: state)
        state = dict(convert(state, backbone))
    except Exception as error:  # they expect one layout and fail in many ways on others
        raise ConfigError(f"model.weights={file} does not fit this backbone: {first_lines(error)}") from error
    unused = tuple(getattr(backbone, "unused_weights", ()))
    dropped = [key for key in state if key.startswith(unused)] if unused else []
    state = {key: value for key, value in state.items() if key not in dropped}
    _fold_first_convolution(state, backbone, in_channels)
    if any(_differ(key, state, own) for key in own if key.startswith(heads)):
        state = {key: value for key, value in state.items() if not key.startswith(heads)}
    _check_names(state, own, heads, name, file, tensors)
    taken = own.keys() & state.keys()
    try:
        backbone.load_state_dict({key: state[key] for key in taken}, strict=False)
    except RuntimeError as error:
        sizes = [f"{key} is {_size(state[key])} for {_size(own[key])}" for key in own if _differ(key, state, own)]
        raise ConfigError(
            f"model.weights={file} does not fit this backbone: {_few(sizes)} differ in size; {_advice(file, name)}"
        ) from error
    origin = f", under {prefix}" if prefix else ""
    fresh = "" if any(key.startswith(heads) for key in taken) else "; the last layer starts anew"
    spare = f"; not used: {_few(dropped)}" if dropped else ""
    log.info(f"weights: {len(taken)} of {len(own)} tensors from {file}{origin}{fresh}{spare}")


def _own_part(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str, file: str | Path
) -> tuple[str, dict[str, Tensor]]:
    """Return the prefix under which a file has the network's tensors, and these by the network's own names."""
    prefix, count = _best_prefix(tensors, own, file)
    others = torchvision_keys(name.partition(".")[0]) if count < len(own) / 2 else {}
    theirs, found = _best_prefix(tensors, others, file) if others else ("", 0)
    if found > count:
        state = {others.get(key, key): value for key, value in _without(tensors, theirs).items()}
        return theirs, {key: reshaped(value, own[key]) if key in own else value for key, value in state.items()}
    if count == 0:  # of another layout, which timm may know to convert
        while len({key.partition(".")[0] for key in tensors}) == 1:
            tensors = _without(tensors, f"{next(iter(tensors)).partition('.')[0]}.")
    return prefix, _without(tensors, prefix)


def _best_prefix(tensors: Iterable[str], wanted: Iterable[str], file: str | Path) -> tuple[str, int]:
    """Return the prefix that stands before most of the wanted names, and before how many."""
    wanted, counts = {*wanted}, Counter[str]()
    for key in tensors:
        parts = key.split(".")
        for at in range(len(parts)):
            if ".".join(parts[at:]) in wanted:
                counts[".".join((*parts[:at], ""))] += 1
    if not counts:
        return "", 0
    most = max(counts.values())
    best = sorted((prefix for prefix in counts if counts[prefix] == most), key=_rank)
    if len(best) > 1 and _rank(best[0]) == _rank(best[1]):
        raise ConfigError(
            f"model.weights={file} holds this network {len(best)} times, under {' and '.join(best)}: save the one that "
            "you mean in a file of its own"
        )
    return best[0], most


def _rank(prefix: str) -> int:
    """Order of equal parts of a checkpoint: a moving average, the model itself, others."""
    if re.search(r"(?i)(?<![a-z])ema(?![a-z])|average", prefix):
        return 0
    return 1 if prefix.partition(".")[0] in (*MAIN, "") else 2


def _without(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _check_names(
    state: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    heads: tuple[str, ...],
    name: str,
    file: str | Path,
    tensors: Mapping[str, Tensor],
) -> None:
    """Raise a ConfigError unless all names but those of the head are there, and no others."""
    wanted = [key for key in own if not key.startswith(heads) and not key.endswith("num_batches_tracked")]
    missing = [key for key in wanted if key not in state]
    besides = [key for key in state if key not in own and not key.startswith(heads)]
    if len(missing) == len(wanted):
        raise ConfigError(
            f"model.weights={file} is of another network, or of this one under other names: none of its {len(tensors)} "
            f"tensors ({next(iter(tensors))}…) is called as those of {name or 'this one'} ({wanted[0]}…); "
            f"{_advice(file, name)}"
        )
    if missing or besides:
        raise ConfigError(
            f"model.weights={file} is of another network: of the {len(own)} tensors of this one it lacks "
            f"{_few(missing)}, and it has {_few(besides)} besides; {_advice(file, name)}"
        )


def _differ(key: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> bool:
    return key in state and state[key].shape != own[key].shape


def _advice(file: str | Path, name: str) -> str:
    if known := recorded_settings(weights_file(file)):
        kwargs = yaml.safe_dump(known.get("backbone_kwargs") or {}, default_flow_style=True, width=10**6).strip()
        settings = {"backbone": known["backbone"], "stem": known.get("stem", "imagenet")}
        words = [f"model.{key}={value}" for key, value in settings.items() if value != "imagenet"]
        words += [f"model.backbone_kwargs={kwargs}"] * (kwargs != "{}")
        return "type " + shlex.join(["model=timm", *words])
    guess = _guess(file, name)
    if guess is not None:
        return f"type model=timm model.backbone={guess}"
    return "type the model.backbone=… that it was saved from, or model.weights=null"


def _guess(file: str | Path, name: str) -> str | None:
    """Return the network that a file is named after, as downloads are (resnet18-f37072fd.pth), if it is another."""
    stem = re.split(r"[-.]", Path(file).name)[0].lower()
    return stem if stem != name.partition(".")[0] and timm.is_model(stem) else None


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


def _size(tensor: Any) -> str:
    return "×".join(map(str, tensor.shape))


def _few(names: list[str]) -> str:
    return f"{len(names)} ({names[0]}…)" if names else "none"
