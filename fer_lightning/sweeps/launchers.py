"""Facts about Hydra's launchers: how many jobs share a machine, and how to keep submitit waiting for all jobs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.system.resources import available_cores

BASIC, JOBLIB, LOCAL, SLURM, RAY = "BasicLauncher", "JoblibLauncher", "LocalLauncher", "SlurmLauncher", "RayLauncher"
FORKING = (BASIC, JOBLIB)  # launchers in whose processes forking is safe: no other threads
log = logging.getLogger(__name__)
LOGGERS = (
    "hydra._internal.core_plugins.basic_launcher",
    "hydra_plugins.hydra_joblib_launcher._core",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher",
    "hydra_plugins.hydra_ray_launcher._core",
)


def kind(settings: DictConfig) -> str:
    """Return the name of the class that `hydra.launcher` names."""
    return str(settings._target_).rpartition(".")[2]


def max_parallel_jobs(settings: DictConfig, count: int) -> int:
    """Return how many of `count` jobs will run at once on this machine; raise ConfigError for settings not numbers."""
    most = 1  # a SLURM job sees only the cores that it was granted
    if kind(settings) == JOBLIB:
        most = _whole(settings.n_jobs, "hydra.launcher.n_jobs")
        if most == 0:
            raise ConfigError("hydra.launcher.n_jobs=0 would run nothing: type 1 or more, or -1 for one a core")
        if most < 0:
            most += available_cores() + 1
    elif kind(settings) == LOCAL:  # submitit's: it starts all jobs at once
        most = count
    elif kind(settings) == RAY:
        most = available_cores() // granted_cores(settings)
    return max(1, min(count, most))


def granted_cores(settings: DictConfig) -> int:
    """Return the cores that Ray grants each job; raise ConfigError if they are no number."""
    asked = OmegaConf.select(settings, "ray.remote.num_cpus")
    return 1 if asked is None else max(1, _whole(asked, "hydra.launcher.ray.remote.num_cpus"))


def silence_launchers() -> None:
    """Silence the launchers, which print every job's command line, and the duplicates of submitit's messages."""
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("submitit").propagate = False


@contextmanager
def waiting_for_all_jobs(settings: DictConfig) -> Iterator[None]:
    """Make submitit's launchers wait for every job, also after one was cancelled, killed or ran out of time."""
    if kind(settings) not in (LOCAL, SLURM):
        yield
        return
    from submitit.core.core import Job

    results = Job.results

    def wait(job: Any) -> Any:
        try:
            return results(job)
        except Exception as error:
            log.debug(f"submitit's job {job.job_id}: {first_lines(error)}")
            return [None]

    Job.results = wait  # the launcher has no option for it
    try:
        yield
    finally:
        Job.results = results


def _whole(value: object, key: str) -> int:
    try:
        return int(str(value))
    except ValueError as error:
        raise ConfigError(f"{key}={value} is not a whole number") from error
