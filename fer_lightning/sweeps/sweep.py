"""A sweep under way: what its sweepers have in common, whatever proposes the jobs and wherever they run."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.core.errors import ConfigError, DataError, SweepError, UserError, first_lines
from fer_lightning.runs.config_hash import identify, identify_overrides
from fer_lightning.runs.status import FAILED, message_of, now, reason_of, write_failure
from fer_lightning.sweeps.job_folders import Job, Jobs, died
from fer_lightning.sweeps.launchers import BASIC, JOBLIB, SLURM, kind, most_at_once, patient, quieten_launchers
from fer_lightning.sweeps.process import SWEEP
from fer_lightning.sweeps.summary import describe_end, print_summary
from fer_lightning.sweeps.watch import stopping_jobs_first, telling

PLAN = "sweep.json"
BETWEEN = 60  # seconds at least, from one description for TensorBoard to the next
MOST_DEATHS = 3  # attempts that ended without a word, after which a job is taken for their cause
log = logging.getLogger(__name__)


class Sweep:
    """Places jobs in the sweep's folder, launches those that are not done, and says what came of them.

    Args:
        config: of the sweep, composed without the settings that differ.
        context: Hydra's, which composes the jobs.
        launcher: Hydra's, set up.
    """

    def __init__(self, config: DictConfig, context: HydraContext, launcher: Launcher) -> None:
        self.config, self.context, self.launcher = config, context, launcher
        self.folder = Path(config.hydra.sweep.dir)
        self.jobs = Jobs(self.folder)
        self.placed: list[Job] = []
        self._mistaken: set[Job] = set()
        self._fingerprints: dict[str, str | None] = {}
        self._described = time.monotonic()
        quieten_launchers()

    def begin(self, sweeper: str) -> None:
        """Keep the command line in the folder, for the day the sweep is continued.

        Raises:
            ConfigError: the launcher's settings cannot work.
            SweepError: the folder holds another sweep, or cannot be written.
        """
        most_at_once(self.config.hydra.launcher, 1)
        plan = {"verb": self.config.hydra.job.name, "arguments": sys.argv[1:], "sweeper": sweeper, "started": now()}
        file = self.folder / PLAN
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.config.sweep.resume is None:
                with file.open("x", encoding="utf-8") as new:  # of two that begin in one second, one gets the folder
                    new.write(json.dumps(plan, indent=2) + "\n")
            else:
                with atomic_write(file) as new_file:
                    new_file.write_text(json.dumps(plan, indent=2) + "\n", encoding="utf-8")
        except FileExistsError as error:
            raise SweepError(
                f"{self.folder} holds a sweep already: type sweep.resume={self.folder} to go on with it, "
                "or another hydra.sweep.dir=FOLDER"
            ) from error
        except OSError as error:
            raise SweepError(
                f"cannot write to {self.folder} ({error.strerror}): choose a folder with hydra.sweep.dir=FOLDER"
            ) from error

    def place(self, overrides: Sequence[str], label: str) -> Job:
        """Return the job of these overrides, in its folder; one that cannot be composed has failed already."""
        kept = [override for override in overrides if not override_key(override).startswith(("sweep.", "hydra."))]
        try:
            composed = self.context.config_loader.load_sweep_config(self.config, kept)
            identity, mistake = identify(composed), None
            fingerprint = functools.partial(self._fingerprint, composed)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            identity, mistake = identify_overrides(kept), explain(error, kept)
            fingerprint = lambda: None  # noqa: E731
        job = self.jobs.place(kept, identity, label, fingerprint)
        if mistake is not None:
            self._mistaken.add(job)
            write_failure(job.folder, identity, kept, "configuration", mistake)
        if job not in self.placed:
            self.placed.append(job)
        return job

    def is_open(self, job: Job) -> bool:
        """Whether a job is to be launched: it is new or unfinished, or has failed before and shall be retried."""
        status = job.status
        if status is None:
            return True
        if status.over or job in self._mistaken:
            return False
        failed = status.status == FAILED and status.reason != "storage"  # where it was written is not the job's fault
        gave_up = failed or (died(job) and status.attempts >= MOST_DEATHS)
        return not gave_up or bool(self.config.sweep.retry)

    def launch(self, jobs: Sequence[Job], *options: Sequence[str]) -> None:
        """Run jobs, at once if the launcher can; what came of each stands in its folder then.

        Args:
            jobs: to run.
            options: further overrides, for each job its own.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the jobs have ended, unless they are a cluster's.
            SweepError: the launcher does not get them done.
        """
        os.environ[SWEEP] = str(os.getpid())
        pairs = [*zip(jobs, options if options else [()] * len(jobs), strict=True)]
        if kind(self.config.hydra.launcher) != BASIC:
            self._launch_together(pairs)
            return
        for job, own in pairs:
            log.info(f"#{job.number} {job.label}")
            with stopping_jobs_first(self.folder, [job], None):
                error = self._start_launcher([self._overrides(job, own, 1)], [job])
            if error is not None:
                log.error(f"the job could not be started ({type(error).__name__}: {first_lines(error)})")
            self._tell(job)

    def _launch_together(self, pairs: Sequence[tuple[Job, Sequence[str]]]) -> None:
        """Run jobs with a launcher that takes many, again where it breaks off: a dead worker takes others with it."""
        settings, left = self.config.hydra.launcher, [*pairs]
        if not left:
            return
        name = kind(settings).removesuffix("Launcher").lower()
        for _ in range(MOST_DEATHS):
            before, at_once = {job: job.status for job, _ in left}, most_at_once(settings, len(left))
            many = f"{len(left)} job{'s' * (len(left) > 1)} by {name}"
            log.info(f"{many}, {at_once} at once" if at_once > 1 else many)
            error = self._ask_launcher(left, at_once)
            if error is None:
                return
            idle = all(job.status == status for job, status in before.items())
            if idle and kind(settings) != JOBLIB:  # it cannot run any; of joblib, a worker died as it began
                raise SweepError(f"{name} does not run the jobs: {error}") from error
            log.error(f"{name} ended early ({type(error).__name__}: {first_lines(error)})")
            # one that has not started says what it said before
            left = [(job, own) for job, own in left if job.status in (None, before[job]) or died(job)]
            if not left:
                return
        raise SweepError(f"{name} broke off {MOST_DEATHS} times with {len(left)} jobs left")

    def _ask_launcher(self, pairs: Sequence[tuple[Job, Sequence[str]]], at_once: int) -> Exception | None:
        """Launch jobs together and say what came of each as it ends; return what the launcher failed with."""
        settings, jobs = self.config.hydra.launcher, [job for job, _ in pairs]
        overrides = [self._overrides(job, own, at_once) for job, own in pairs]
        if hasattr(self.launcher, "joblib"):  # which counts cores in its own way, and starts workers without a job
            self.launcher.joblib["n_jobs"] = at_once
        said = "stopping the jobs after a batch; Ctrl-C again to leave at once"
        try:
            with stopping_jobs_first(self.folder, jobs, said), telling(jobs, self._tell), patient(settings):
                return self._start_launcher(overrides, jobs)
        except KeyboardInterrupt:
            if kind(settings) == SLURM:
                log.info("jobs that SLURM has are left to it: squeue lists them, scancel ends them")
            raise

    def _start_launcher(self, overrides: Sequence[Sequence[str]], jobs: Sequence[Job]) -> Exception | None:
        """Launch jobs and return what the launcher failed with; the jobs' own failures stay with them."""
        try:
            results = self.launcher.launch(overrides, initial_job_idx=jobs[0].number)
        except UserError:
            raise
        except Exception as error:
            return error
        for job, result in zip(jobs, results, strict=False):
            error = getattr(result, "_return_value", None)
            if isinstance(error, Exception) and job.status is None:  # before there was a run to keep an account
                with suppress(OSError):
                    write_failure(job.folder, job.identity, job.overrides, reason_of(error), message_of(error))
        return None

    def _overrides(self, job: Job, own: Sequence[str], at_once: int) -> list[str]:
        """Return the command line of a job, as its launcher shall compose it."""
        folder = f"hydra.sweep.dir={quoted(self.folder.absolute())}"  # a worker may be at home in another directory
        return [
            *job.overrides,
            *own,
            folder,
            f"hydra.sweep.subdir={quoted(job.folder.name)}",
            f"sweep.at_once={at_once}",
        ]

    def finish(self) -> None:
        """Print what came of every job.

        Raises:
            SweepError: none of them came to an end, or one failed and `sweep.strict` is true.
        """
        self.report()
        failed = [job for job in self.placed if job.status is not None and job.status.status == FAILED]
        if failed and (self.config.sweep.strict or not any(job.status and job.status.over for job in self.placed)):
            error = SweepError(f"{len(failed)} of {len(self.placed)} jobs failed")
            reasons = {job.status.reason for job in failed if job.status is not None}
            if len(reasons) == 1:
                error.exit_code = {"configuration": ConfigError, "data": DataError}.get(*reasons, SweepError).exit_code
            raise error

    def report(self) -> None:
        """Print what has come of the jobs, and let TensorBoard show it."""
        self.describe()
        if self.placed:
            print_summary(self.folder, self.placed, self.config.hydra.job.name)

    def describe(self) -> None:
        """Let TensorBoard show what has come of the jobs, where they log to it."""
        loggers = self.config.logger.values() if "logger" in self.config else ()
        if any(str(logger.get("_target_")).endswith("TensorBoardLogger") for logger in loggers):
            from fer_lightning.sweeps.hparams import write_hparams

            with suppress(OSError):  # a sweep does not fail for its pictures
                write_hparams(self.folder)
        self._described = time.monotonic()

    def _tell(self, job: Job) -> None:
        """Say what came of a job; now and then to TensorBoard, too."""
        log.info(describe_end(job))
        if time.monotonic() - self._described > BETWEEN:
            self.describe()

    def _fingerprint(self, cfg: DictConfig) -> str | None:
        """Return that of today's images; None where they cannot be read, which the job itself will tell."""
        from fer_lightning.sweeps.fingerprint import fingerprint

        key = OmegaConf.to_yaml(cfg.data, resolve=True)
        if key not in self._fingerprints:
            self._fingerprints[key] = fingerprint(cfg)
        return self._fingerprints[key]
