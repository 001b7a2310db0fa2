"""What a user's own LightningModule needs beside its code to be checkpointed, scored and evaluated like ours.

It takes batches `IndexedBatch(images uint8 (B, C, H, W), labels int64 (B,), index int64 (B,))`, logs the score that
chooses the best checkpoint, such as `val/acc`, and its `predict_step` returns the probabilities of the classes, float
`(B, K)` with rows that sum to 1, or a dict that holds them under `probabilities`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from fer_lightning import __version__
from fer_lightning.core.errors import CheckpointError, ConfigError, first_lines


def takes(kind: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the offered arguments that a class takes by name: it need not take all that ours do."""
    names = inspect.signature(kind).parameters
    return {name: value for name, value in offered.items() if name in names}


def adapt(model: pl.LightningModule, arguments: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Make a module describe itself in checkpoints, and check what it predicts.

    Args:
        model: of a class that is none of ours; its attributes are set.
        arguments: of its constructor; those that are plain are stored, so that it can be built again.
        facts: what a checkpoint of ours tells as well: `classes`, `channels`, `image_size`, `data_facts`.
    """
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    classes = list(facts["classes"])
    plain = {name: value for name, value in arguments.items() if _is_plain(value)}
    stored = {"backbone": kind, **facts, "classes": classes, "arguments": plain}
    about = {"version": __version__, "torch": str(torch.__version__), "class": kind}
    own_save, own_predict = model.on_save_checkpoint, model.predict_step

    def on_save_checkpoint(checkpoint: dict[str, Any]) -> None:
        own_save(checkpoint)
        checkpoint.update(fer_lightning=about, hyper_parameters=stored)

    def predict_step(batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return _checked(own_predict(batch, batch_idx), batch.index, len(classes), kind)

    wrapped: Any = model
    wrapped.on_save_checkpoint, wrapped.predict_step = on_save_checkpoint, predict_step
    wrapped.classes = classes


def rebuild(kind: Callable[..., pl.LightningModule], hyper_parameters: Mapping[str, Any], content: Any) -> Any:
    """Return a module as `adapt` has stored it, in evaluation mode.

    Raises:
        CheckpointError: the class takes other arguments today, or has other weights.
    """
    usual = {"loss": nn.CrossEntropyLoss(), "optimizer": torch.optim.AdamW, "scheduler": None}
    arguments = takes(kind, usual) | hyper_parameters["arguments"]
    try:
        model = kind(**arguments)
        model.load_state_dict(content["state_dict"])
    except (TypeError, ValueError, RuntimeError) as error:
        name = hyper_parameters["backbone"]
        raise CheckpointError(
            f"{name} is not what it was when the checkpoint was made ({first_lines(error)})"
        ) from error
    facts = {name: value for name, value in hyper_parameters.items() if name not in ("backbone", "arguments")}
    adapt(model, arguments, facts)
    return model.eval()


def _checked(output: Any, index: Tensor, classes: int, kind: str) -> dict[str, Tensor]:
    """Return index and probabilities, or raise ConfigError where `predict_step` returns something else."""
    found = output.get("probabilities") if isinstance(output, Mapping) else output
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    if not isinstance(found, Tensor) or shape != (len(index), classes):
        raise ConfigError(
            f"{kind}.predict_step returns {shape} for {len(index)} images: it must return the probabilities of the"
            f" {classes} classes, a tensor {(len(index), classes)}, or a dict with them under probabilities"
        )
    probabilities = found.detach().float()
    if not ((probabilities >= 0).all() and torch.allclose(probabilities.sum(1), probabilities.new_ones(()), atol=1e-2)):
        raise ConfigError(f"{kind}.predict_step must return probabilities, which sum to 1: end it with .softmax(dim=1)")
    return {"index": index, "probabilities": probabilities}


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, (str, int)) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str))
