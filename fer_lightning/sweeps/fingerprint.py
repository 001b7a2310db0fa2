"""The fingerprint of the images as they are now, for a sweep that is continued."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from omegaconf import DictConfig

from fer_lightning.sweeps.process import may_fork
from fer_lightning.sweeps.run_job import preload


def fingerprint(cfg: DictConfig) -> str | None:
    """Return the fingerprint of the images that a job would train on; None where they cannot be read.

    It is computed in a process of its own: reading images starts threads, after which forking is not safe.
    """
    if may_fork():
        preload(cfg.hydra.job.name)
    start = multiprocessing.get_context("fork" if may_fork() else "spawn")
    with ProcessPoolExecutor(1, mp_context=start) as process:
        return process.submit(_read, cfg).result()


def _read(cfg: DictConfig) -> str | None:
    from fer_lightning.core.errors import UserError
    from fer_lightning.training import build

    try:
        return build.build_data(cfg).source.fingerprint
    except UserError:
        return None
