"""Which parameters an optimizer treats alike."""

from __future__ import annotations

from typing import Any

from torch import nn

from fer_lightning.models.heads import head_parameters
from fer_lightning.models.network import Network


def parameter_groups(
    network: Network, *, backbone_lr: float | None = None, splits_hidden: bool = False
) -> list[dict[str, Any]]:
    """Return groups for an optimizer: all trained parameters of a network, those with equal options together.

    Args:
        network: frozen parameters are left out.
        backbone_lr: learning rate of everything but the last layer; None for the optimizer's.
        splits_hidden: say `use_muon` in each group: true for the weights of hidden layers, which come first.
    """
    head = {id(parameter) for parameter in head_parameters(network)}
    hidden = hidden_weights(network) if splits_hidden else set()
    # the last layer first, as in every checkpoint so far
    named = sorted(network.named_parameters(), key=lambda item: (item[0] not in hidden, id(item[1]) not in head))
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        options: dict[str, Any] = {}
        if backbone_lr is not None and id(parameter) not in head:
            options["lr"] = backbone_lr
        if splits_hidden:
            options["use_muon"] = name in hidden
        groups.setdefault(tuple(options.items()), {"params": [], **options})["params"].append(parameter)
    return list(groups.values())


def hidden_weights(network: Network) -> set[str]:
    """Return the names of the weight matrices and filters between the first layer and the last.

    Left out are vectors in any shape, such as a class token `(1, 1, D)`, and what timm calls `no_weight_decay`: tables
    of positions.
    """
    last = {id(parameter) for parameter in head_parameters(network)}
    tables = network.no_weight_decay() if hasattr(network, "no_weight_decay") else set()
    weights = [name for name, parameter in network.named_parameters() if _is_matrix(parameter) and name not in tables]
    return {name for name in weights[1:] if id(network.get_parameter(name)) not in last}


def _is_matrix(parameter: nn.Parameter) -> bool:
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) > 1
