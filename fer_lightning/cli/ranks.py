"""Ranks that torchrun or srun started, each with the same command line: the first alone has a run folder."""

from __future__ import annotations

from collections.abc import Sequence

from fer_lightning.config.overrides import override_key
from fer_lightning.system.resources import launched_rank

NOWHERE = "outputs"  # holds the folders of runs, and is none


def follow_first_rank(argv: Sequence[str]) -> list[str]:
    """Complete the command line of a rank so that the first alone has a run folder, named by its clock.

    Nothing needs to be agreed on: only the first rank writes files and, where Lightning needs its folder on all of them
    (for checkpoints), it sends the name to the others. Ranks that Lightning starts itself are told the folder by it.

    Args:
        argv: what was typed, without the program's name.

    Returns:
        the command line to use: `argv` itself on the first rank, and where no launcher started several.
    """
    if launched_rank() in (None, 0):
        return list(argv)
    folder = [] if "hydra.run.dir" in map(override_key, argv) else [f"hydra.run.dir={NOWHERE}"]
    return [*argv, *folder, "hydra.output_subdir=null", "hydra.job_logging.root.handlers=[console]"]
