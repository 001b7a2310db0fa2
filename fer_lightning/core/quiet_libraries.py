"""What the libraries say to everybody at every start, left out."""

from __future__ import annotations

import logging
import warnings

NOTICES = (
    "does not have many workers",  # on a CPU loaders in the training process are the faster choice
    "number of training batches",  # fewer than `log_every_n_steps` on small data
    "exists and is not empty",  # a resumed run writes into its own folder
    "`srun` command is available",  # on a login node, which is where sweeps are submitted from
    "LeafSpec",  # Lightning's business with a newer torch
)


def silence_libraries() -> None:
    """Silence tips and notices that do not concern this run; warnings that do are still shown."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in NOTICES:
        warnings.filterwarnings("ignore", f".*{text}.*")
