"""Which parameters an optimizer treats alike."""

from __future__ import annotations

from typing import Any, cast

from torch import nn

from fer_lightning.models.heads import head_parameters
from fer_lightning.models.network import Network


def parameter_groups(
    network: Network,
    *,
    backbone_lr: float | None = None,
    layer_decay: float = 1.0,
    weight_decay_exclude_1d: bool = False,
    splits_hidden: bool = False,
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: all trained parameters of a network, those with equal options together.

    Args:
        network: frozen parameters are left out.
        backbone_lr: learning rate of everything but the last layer; None for the optimizer's.
        layer_decay: groups say `lr_scale`, a power of this for each layer to the last one, if it is not 1: layer-wise
            decay of the learning rate (Clark et al., 2020).
        weight_decay_exclude_1d: no weight decay for vectors, which are norms and biases, nor what timm calls
            `no_weight_decay`. Named as in timm.
        splits_hidden: groups say `use_muon`: true for the weights of hidden layers, which come first.
    """
    head = {id(parameter) for parameter in head_parameters(network)}
    hidden, tables = hidden_weights(network) if splits_hidden else set(), _tables(network)
    layers = layer_numbers(network) if layer_decay != 1 else dict.fromkeys(dict(network.named_parameters()), 0)
    last = max(layers.values())
    # the last layer first, as in every checkpoint so far
    named = sorted(
        network.named_parameters(),
        key=lambda item: (item[0] not in hidden, id(item[1]) not in head, -layers[item[0]]),
    )
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        options: dict[str, Any] = {}
        if backbone_lr is not None and id(parameter) not in head:
            options["lr"] = backbone_lr
        if layer_decay != 1:
            options["lr_scale"] = layer_decay ** (last - layers[name])
        if weight_decay_exclude_1d and (parameter.ndim <= 1 or name in tables):
            options["weight_decay"] = 0.0
        if splits_hidden:
            options["use_muon"] = name in hidden
        groups.setdefault(tuple(options.items()), {"params": [], **options})["params"].append(parameter)
    return list(groups.values())


def layer_numbers(network: Network, *, coarse: bool = False) -> dict[str, int]:
    """Return the number of the layer, or if `coarse` of the stage, of each parameter by name, in order of depth."""
    matcher = network.group_matcher(coarse=coarse)
    if isinstance(cast(nn.Module, network), Network):
        return {name: matcher(name) for name, _ in network.named_parameters()}
    from timm.models import group_parameters  # a network of ours does not wait for timm

    numbers: dict[str, int] = group_parameters(network, matcher, reverse=True)
    return numbers


def hidden_weights(network: Network) -> set[str]:
    """Return the names of the weight matrices and filters between the first layer, which sees pixels, and the last.

    Left out are vectors in any shape, such as a class token `(1, 1, D)`, and tables of positions.
    """
    last, tables = {id(parameter) for parameter in head_parameters(network)}, _tables(network)
    weights = [name for name, parameter in network.named_parameters() if _is_matrix(parameter) and name not in tables]
    sees_pixels = network.get_parameter(weights[0]).shape[1] in (1, 3)  # not so behind a fixed stem
    return {name for name in weights[sees_pixels:] if id(network.get_parameter(name)) not in last}


def _tables(network: Network) -> set[str]:
    """Return the names of what timm calls `no_weight_decay`: tables of positions, tokens."""
    find: Any = getattr(network, "no_weight_decay", set)
    return set(find())


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) > 1
