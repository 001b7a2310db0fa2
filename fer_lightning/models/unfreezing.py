"""Gradual unfreezing: one stage more is trained every few epochs, from the last to the first (Howard & Ruder, 2018)."""

from __future__ import annotations

from fer_lightning.models.network import Network
from fer_lightning.models.parameter_groups import layer_numbers


def frozen_parameters(network: Network, epochs: int, per_stage: int) -> set[str]:
    """Return the names of the parameters that are still frozen.

    Args:
        network: its `group_matcher(coarse=True)` says what a stage is; the last one is its last layer.
        epochs: since the stage before the last layer is trained, 0 or more.
        per_stage: epochs until the next stage, 1 or more.
    """
    stages = layer_numbers(network, coarse=True)
    first = max(stages.values()) - 1 - epochs // per_stage
    return {name for name, stage in stages.items() if stage < first}


def set_evaluation_mode(network: Network, frozen: set[str]) -> None:
    """Put the modules whose parameters are all frozen in evaluation mode: statistics of their norms must not move."""
    for prefix, module in network.named_modules():
        names = {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters()}
        if names and names <= frozen:
            module.eval()
