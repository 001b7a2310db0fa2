"""From a checkpoint to its model, of whatever class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fer_lightning.config.allowed import resolve_target
from fer_lightning.core.errors import CheckpointError
from fer_lightning.models.checkpoint import Checkpoint


def load_model(checkpoint: Checkpoint, allowed: Sequence[str] = ()) -> Any:
    """Return the model of a checkpoint, in evaluation mode on the CPU.

    Args:
        checkpoint: what was read; nothing in it is run.
        allowed: modules of the user's own, as `security.allow` names them; a LightningModule that is none of ours is
            imported only if one of them holds it.

    Raises:
        CheckpointError: another version made it, or a class of a module that is not allowed.
    """
    own = checkpoint.own_class
    if own is None:
        return checkpoint.build()
    try:
        return checkpoint.build(resolve_target(own, "model", allowed))
    except ImportError as error:
        raise CheckpointError(f"{checkpoint.path} holds a LightningModule of another package: {error}") from error
