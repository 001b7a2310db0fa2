"""One checkpoint of the mean weights of several."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fer_lightning.core.errors import CheckpointError
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.seen_images import SeenImages
from fer_lightning.models.batch_norm import recompute_statistics
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.checkpoint_files import AtomicCheckpointIO

_KEPT = ("fer_lightning", "hyper_parameters", "epoch", "global_step", "pytorch-lightning_version")
_ALIKE = ("backbone", "classes", "channels", "image_size", "input_size", "normalize")


def check_alike(checkpoints: Sequence[Checkpoint]) -> None:
    """Check that the weights of checkpoints can be averaged; a CheckpointError says why not."""
    first = checkpoints[0]
    for other in checkpoints:
        if other.own_class is not None:
            raise CheckpointError(f"{other.path} holds a LightningModule of your own: type average=predictions")
        pairs = {key: [one.hyper_parameters.get(key) for one in (first, other)] for key in _ALIKE}
        pairs |= {f"data {key}": [one.data_facts[key] for one in (first, other)] for key in ("fingerprint", "splits")}
        differing = [f"{key} is {there} and {here}" for key, (here, there) in pairs.items() if here != there]
        shapes = [{name: value.shape for name, value in one.content["state_dict"].items()} for one in (first, other)]
        if not differing and shapes[0] != shapes[1]:
            differing = ["their networks have other weights"]
        if differing:
            raise CheckpointError(
                f"the weights of {other.path} and {first.path} cannot be averaged: {differing[0]}; name checkpoints of "
                "one network and one data set, or type average=predictions"
            )


def average_checkpoints(
    checkpoints: Sequence[Checkpoint], data: ExpressionDataModule, selected_on: str | None
) -> Checkpoint:
    """Return a checkpoint, without a file, of the mean weights of others (model soups; Wortsman et al., 2022).

    Statistics of batch normalisation are recomputed on training images. Optimizer and progress are left out.

    Args:
        checkpoints: one or more that `check_alike` accepts.
        data: what they were trained on, set up.
        selected_on: the split that chose them.
    """
    first = checkpoints[0]
    states = [one.content["state_dict"] for one in checkpoints]
    mean = {name: _mean([state[name] for state in states]) for name in states[0]}
    content: dict[str, Any] = {key: first.content[key] for key in _KEPT if key in first.content}
    content |= {"state_dict": mean, "selection": {"selected_on": selected_on}}
    content["averaged"] = [str(one.path) for one in checkpoints]
    seen = [SeenImages.from_checkpoint(one.content) for one in checkpoints]
    if known := [one for one in seen if one is not None]:
        content[type(data).__name__] = functools.reduce(operator.or_, known).state()
    averaged = Checkpoint(Path(f"the mean of {len(checkpoints)} checkpoints"), content)
    model = averaged.build()
    recompute_statistics(model, data.training_sample())
    content["state_dict"] = model.state_dict()
    return averaged


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint to a file; a StorageError if it cannot be written."""
    AtomicCheckpointIO().save_checkpoint(checkpoint.content, path)


def _mean(values: Sequence[torch.Tensor]) -> torch.Tensor:
    first = values[0]
    if not first.is_floating_point():
        return first  # counts
    return torch.stack([value.double() for value in values]).mean(0).to(first.dtype)
