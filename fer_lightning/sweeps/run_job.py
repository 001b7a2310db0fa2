"""One job, wherever Hydra's launcher put it: a single run in its own folder, started, continued or found done."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_lightning.config.overrides import quoted
from fer_lightning.core.fast_imports import fast_imports
from fer_lightning.runs.config_hash import identify
from fer_lightning.runs.files import LOCK, STATUS
from fer_lightning.runs.lock import locked
from fer_lightning.runs.status import FAILED, INTERRUPTED, RUNNING, Status, now, read_status, write_status
from fer_lightning.sweeps.launchers import BASIC, FORKING, RAY, granted_cores, kind
from fer_lightning.sweeps.oom_kills import memory_kills
from fer_lightning.sweeps.process import PID, may_fork, run_anew, run_forked, serve_sweep
from fer_lightning.sweeps.slurm_tasks import follow_first_task, task, tell_tasks
from fer_lightning.sweeps.watch import STOPPING
from fer_lightning.system.resources import available_cores

LOG = "output.log"
ASKED_TO_END = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes
_KEPT = (".hydra", STATUS, LOCK, LOG)
log = logging.getLogger(__name__)


def run_job(verb: str, cfg: DictConfig, start: Callable[[Sequence[str]], object]) -> dict[str, float]:
    """Run the job that Hydra's launcher composed.

    Args:
        verb: to run.
        cfg: as composed for the job.
        start: runs the verb with a command line, in this process.

    Returns:
        the values of a finished or pruned job by name, otherwise none: an exception would end others with it.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    serve_sweep()
    if (folder.parent / STOPPING).exists():
        if read_status(folder) is None:  # Hydra has made it for nothing
            shutil.rmtree(folder, ignore_errors=True)
        return {}
    if task() not in (None, 0):  # the first one keeps the account
        follow_first_task(verb, folder, folder / LOG)
        return {}
    with locked(folder):
        status = read_status(folder)
        if status is None or not status.over:
            arguments, kills = command_line(verb, folder, cfg), memory_kills()
            tell_tasks(folder, arguments)
            code = _run(verb, start, arguments, folder)
            status = settle(folder, cfg, code, short_of_memory=memory_kills() > kills)
        else:
            tell_tasks(folder, None)
    return status.values if status.over else {}


def _run(verb: str, start: Callable[[Sequence[str]], object], arguments: Sequence[str], folder: Path) -> int:
    """Run a job the way that its launcher's processes allow, and return the exit code."""
    hydra = HydraConfig.get()
    launcher, variables = kind(hydra.launcher), dict[str, str]()
    log = None if launcher == BASIC else folder / LOG
    if "SLURM_JOB_ID" in os.environ and task() is None:
        variables["SLURM_JOB_NAME"] = "interactive"  # for Lightning: it starts the ranks, if there are to be several
    if launcher in FORKING and may_fork():
        import_ahead(verb)
        return run_forked(verb, start, arguments, log, pid=folder / PID, **variables)
    try:
        return run_anew(verb, arguments, log, pid=folder / PID, folder=Path(hydra.runtime.cwd), **variables)
    except CalledProcessError as error:
        # submitit's: told that time is over, it queues the job again, and SLURM ends the command along with the job
        raise SystemExit(1) from error


def command_line(verb: str, folder: Path, cfg: DictConfig) -> list[str]:
    """Return the arguments of a job's single run, and empty its folder where there is nothing to continue from."""
    hydra = HydraConfig.get()
    flags = []
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", source.path]
    if hydra.job.config_name != verb:
        flags += ["--config-name", hydra.job.config_name]
    last = folder / "checkpoints" / "last.ckpt"
    # a node of a cluster has other cores than the machine of the sweep
    jobs = available_cores() // granted_cores(hydra.launcher) if kind(hydra.launcher) == RAY else cfg.sweep.at_once
    own = [f"hydra.run.dir={quoted(folder)}", f"machine.jobs={max(1, jobs)}"]
    if verb == "train" and zipfile.is_zipfile(last):  # what a dying disk left of one is not
        own.append(f"ckpt_path={quoted(last)}")
    else:
        _clear(folder)
    return [*flags, *hydra.overrides.task, *own]


def settle(folder: Path, cfg: DictConfig, code: int, *, short_of_memory: bool) -> Status:
    """Complete the account of a run that has ended, by its exit code where it could not speak itself.

    Args:
        folder: of the run.
        cfg: of the job.
        code: exit code; minus a signal's number where one ended the run.
        short_of_memory: whether the system ended a process meanwhile to gain memory.
    """
    status = read_status(folder)
    if status is None:
        status = Status(identity=identify(cfg), overrides=[*HydraConfig.get().overrides.task], started=now())
    if status.status == RUNNING and code in ASKED_TO_END:
        status = replace(status, status=INTERRUPTED, message=_death(code, short_of_memory), ended=now())
        write_status(folder, status)
    elif status.status == RUNNING:
        reason = "out of memory" if short_of_memory and code == -signal.SIGKILL else "killed"
        if code > 0:  # it came to its end, but could not write it down
            reason = "storage"
        status = replace(status, status=FAILED, reason=reason, message=_death(code, short_of_memory), ended=now())
        write_status(folder, status)
    return status


def _death(code: int, short_of_memory: bool) -> str:
    if code >= 0:
        return f"the process ended with exit code {code} and could not say why in its folder; see its log"
    name = signal.Signals(-code).name
    memory = ": the system ended it to gain memory" if name == "SIGKILL" and short_of_memory else ""
    return f"the process was ended by {name}{memory}"


def _clear(folder: Path) -> None:
    """Remove what an attempt left that had not come to its first checkpoint."""
    for path in folder.iterdir():
        if path.name in _KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def import_ahead(verb: str) -> None:
    """Import once, before the first fork, what every run of a verb needs."""
    with fast_imports():
        if verb == "train":
            from fer_lightning.runs import results  # noqa: F401
            from fer_lightning.training import run  # noqa: F401
        else:
            from fer_lightning.training import evaluate_checkpoint  # noqa: F401
