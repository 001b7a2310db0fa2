"""Runs one job of a sweep, in the process where Hydra's launcher put it: started, continued, or skipped if done."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fer_lightning.config.allowed import allowed_modules
from fer_lightning.config.overrides import quoted
from fer_lightning.core.fast_imports import fast_imports
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.runs.config_hash import identify
from fer_lightning.runs.files import HYDRA, LAST_CHECKPOINT, LOCK, RUN_LOCK, STATUS
from fer_lightning.runs.lock import locked
from fer_lightning.runs.status import FAILED, INTERRUPTED, RUNNING, Status, now, read_status, write_status
from fer_lightning.sweeps.launchers import BASIC, FORKING, RAY, granted_cores, kind
from fer_lightning.sweeps.process import PID, Start, end_with_sweep, may_fork, run_forked, run_spawned
from fer_lightning.sweeps.slurm_tasks import announce_run, follow_first_task, task
from fer_lightning.sweeps.watch import STOPPING
from fer_lightning.system.resources import available_cores

LOG = "output.log"
# files that count the processes killed to free memory: of the machine, and of this container (cgroups v2 and v1)
COUNTERS = ("/proc/vmstat", "/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
STOP_CODES = (-signal.SIGINT, -signal.SIGTERM, 128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit codes


def run_job(verb: str, cfg: DictConfig, start: Start) -> dict[str, float]:
    """Run the job that Hydra's launcher composed; `start` runs the verb with a command line, in this process.

    Return the values of a finished or pruned job by name, otherwise none: an exception would end other jobs, too.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    end_with_sweep()
    if (folder.parent / STOPPING).exists():
        if read_status(folder) is None:  # Hydra has just made it
            shutil.rmtree(folder, ignore_errors=True)
        return {}
    if task() not in (None, 0):  # the first task records the status
        follow_first_task(verb, folder, folder / LOG)
        return {}
    with locked(folder):
        status = read_status(folder)
        if status is None or not status.over:
            arguments, kills = command_line(verb, folder, cfg), oom_kills()
            announce_run(folder, arguments)
            code = _run(verb, start, arguments, folder)
            status = finalize_status(folder, cfg, code, short_of_memory=oom_kills() > kills)
        else:
            announce_run(folder, None)
    return status.values if status.over else {}


def _run(verb: str, start: Start, arguments: Sequence[str], folder: Path) -> int:
    """Run a job in a fork or in a new process, as its launcher allows, and return the exit code."""
    hydra = HydraConfig.get()
    launcher = kind(hydra.launcher)
    log = None if launcher == BASIC else folder / LOG
    if launcher in FORKING and may_fork():
        preload(verb)
        return run_forked(verb, start, arguments, log, folder / PID)
    try:
        return run_spawned(verb, arguments, log, folder / PID, Path(hydra.runtime.cwd))
    except CalledProcessError as error:
        # raised by submitit at the time limit: it has queued the job again, and SLURM ends the scontrol command, too
        raise SystemExit(1) from error


def command_line(verb: str, folder: Path, cfg: DictConfig) -> list[str]:
    """Return the command line of a job's run, and empty its folder where there is no checkpoint to continue from."""
    hydra = HydraConfig.get()
    sources = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    flags = [word for path in sources for word in ("--config-dir", path)]
    if hydra.job.config_name != verb:
        flags += ["--config-name", str(hydra.job.config_name)]
    # a node of a cluster has other cores than the machine of the sweep
    jobs = available_cores() // granted_cores(hydra.launcher) if kind(hydra.launcher) == RAY else cfg.sweep.at_once
    own = [f"hydra.run.dir={quoted(folder)}", f"machine.jobs={max(1, jobs)}"]
    kept = whole_checkpoints((folder / LAST_CHECKPOINT).parent)
    if verb == "train" and kept:
        # who continues a run names modules again; the sweep has been told by its user
        own += [f"ckpt_path={quoted(kept[0])}", f"++security.allow=[{','.join(map(quoted, allowed_modules(cfg)))}]"]
    else:
        for path in folder.iterdir():  # left by an attempt without a checkpoint
            if path.name in (HYDRA, STATUS, LOCK, RUN_LOCK, LOG):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    return [*flags, *hydra.overrides.task, *own]


def finalize_status(folder: Path, cfg: DictConfig, code: int, *, short_of_memory: bool) -> Status:
    """Complete the status of an ended run that could not write it, from its exit code, or minus the signal."""
    status = read_status(folder)
    if status is None:
        status = Status(identity=identify(cfg), overrides=[*HydraConfig.get().overrides.task], started=now())
    if status.status != RUNNING:
        return status
    for_memory = short_of_memory and code == -signal.SIGKILL
    if code < 0:
        why = ": the system ended it to free memory" if for_memory else ""
        message = f"the process was ended by {signal.Signals(-code).name}{why}"
    else:
        message = f"the process ended with exit code {code} and could not say why in its folder; see its log"
    status = replace(status, status=INTERRUPTED, message=message, ended=now())
    if code not in STOP_CODES:
        killed = "out of memory" if for_memory else "killed"
        status = replace(status, status=FAILED, reason="storage" if code > 0 else killed)  # > 0: it could not write
    write_status(folder, status)
    return status


def oom_kills(counters: Iterable[str | Path] = COUNTERS) -> int:
    """Return how many processes the system has killed to free memory; 0 where it does not say."""
    found = 0
    for counter in counters:
        with suppress(OSError, ValueError):
            text = Path(counter).read_text(encoding="ascii")
            found += sum(map(int, re.findall(r"^oom_kill (\d+)$", text, flags=re.M)))
    return found


def preload(verb: str) -> None:
    """Import what every run of a verb needs, once before the first fork."""
    with fast_imports():
        if verb == "train":
            from fer_lightning.runs import results  # noqa: F401
            from fer_lightning.training import run  # noqa: F401
        else:
            from fer_lightning.training import evaluate_checkpoint  # noqa: F401
