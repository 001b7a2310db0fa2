"""A running sweep: what the grid and the Optuna sweeper share. It places jobs, launches them and reports."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path

from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.core.atomic_write import write_text
from fer_lightning.core.errors import ConfigError, DataError, SweepError, UserError, first_lines
from fer_lightning.runs.config_hash import identify, identify_overrides
from fer_lightning.runs.files import SWEEP_PLAN
from fer_lightning.runs.objectives import objectives
from fer_lightning.runs.status import FAILED, message_of, now, reason_of, write_failure
from fer_lightning.sweeps import launchers
from fer_lightning.sweeps.job_folders import Job, Jobs
from fer_lightning.sweeps.process import SWEEP_VARIABLE, may_fork
from fer_lightning.sweeps.run_job import preload
from fer_lightning.sweeps.summary import describe_result, print_summary
from fer_lightning.sweeps.watch import forwarding_ctrl_c, reporting_jobs

MAX_CRASHES = 3  # of a job or a launcher, after which it is not tried again
log = logging.getLogger(__name__)


class Sweep:
    """Places jobs in the sweep's folder, launches those that are not done, and reports their results.

    The configuration is that of the sweep, without the settings that differ; context and launcher are Hydra's.
    """

    def __init__(self, config: DictConfig, context: HydraContext, launcher: Launcher) -> None:
        self.config, self.context, self.launcher = config, context, launcher
        self.folder = Path(config.hydra.sweep.dir)
        self.jobs = Jobs(self.folder)
        self.placed: list[Job] = []
        self._invalid: set[Job] = set()
        self._fingerprints: dict[str, str | None] = {}
        self._hparams_updated = time.monotonic()
        launchers.silence_launchers()

    def start(self, sweeper: str) -> None:
        """Write the command line to `sweep.json` in the folder, from which the sweep can be resumed.

        Raises:
            ConfigError: the launcher's settings cannot work, or nothing that is measured compares the jobs.
            SweepError: the folder holds another sweep, or cannot be written.
        """
        launchers.max_parallel_jobs(self.config.hydra.launcher, 1)
        if "monitor" in self.config:
            objectives(self.config)
        plan = {"verb": self.config.hydra.job.name, "arguments": sys.argv[1:], "sweeper": sweeper, "started": now()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.config.sweep.resume is None:
                (self.folder / SWEEP_PLAN).open("x").close()  # fails for the second of two sweeps that start together
            write_text(self.folder / SWEEP_PLAN, json.dumps(plan, indent=2) + "\n")
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
        """Return the job of these overrides, in its folder; one that cannot be composed is recorded as failed."""
        kept = [text for text in overrides if not override_key(text).startswith(("sweep.", "hydra."))]
        try:
            composed = self.context.config_loader.load_sweep_config(self.config, kept)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            identity = identify_overrides(kept)
            job = self.jobs.place(kept, identity, label, lambda: None)
            self._invalid.add(job)
            write_failure(job.folder, identity, kept, "configuration", explain(error, kept))
        else:
            job = self.jobs.place(kept, identify(composed), label, lambda: self._fingerprint(composed))
        if job not in self.placed:
            self.placed.append(job)
        return job

    def needs_run(self, job: Job) -> bool:
        """Whether a job is to be launched: it is new or unfinished, or failed and `sweep.retry` is set."""
        status = job.status
        if status is None:
            return True
        if status.over or job in self._invalid:
            return False
        failed = status.status == FAILED and status.reason != "storage"  # a full disk is not the job's fault
        failed = failed or (job.state == "unfinished" and status.attempts >= MAX_CRASHES)
        return not failed or bool(self.config.sweep.retry)

    def launch(self, jobs: Mapping[Job, Sequence[str]]) -> None:
        """Run jobs, each with further overrides, in parallel if the launcher can.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed; the jobs have ended, except those on a cluster.
            SweepError: the launcher fails.
        """
        os.environ[SWEEP_VARIABLE] = str(os.getpid())
        if launchers.kind(self.config.hydra.launcher) != launchers.BASIC:
            self._launch_with_retries(jobs)
            return
        for job, own in jobs.items():
            log.info(f"#{job.number} {job.label}")
            with forwarding_ctrl_c(self.folder, [job], None):
                error = self._call_launcher({job: own}, 1)
            if error is not None:
                log.error(f"the job could not be started ({type(error).__name__}: {first_lines(error)})")
            self._report_job(job)

    def _launch_with_retries(self, left: Mapping[Job, Sequence[str]]) -> None:
        """Run jobs with a parallel launcher; start it again where it fails, as a crashed worker ends all others."""
        settings, tries = self.config.hydra.launcher, 0
        name = launchers.kind(settings).removesuffix("Launcher").lower()
        while left:
            if tries == MAX_CRASHES:
                raise SweepError(f"{name} broke off {MAX_CRASHES} times with {len(left)} jobs left")
            tries += 1
            before, at_once = {job: job.status for job in left}, launchers.max_parallel_jobs(settings, len(left))
            many = f"{len(left)} job{'s' * (len(left) > 1)} by {name}"
            log.info(f"{many}, {at_once} at once" if at_once > 1 else many)
            error = self._launch_parallel(left, at_once)
            if error is None:
                return
            idle = all(job.status == status for job, status in before.items())
            # of joblib, a worker may have crashed at its start
            if idle and launchers.kind(settings) != launchers.JOBLIB:
                raise SweepError(f"{name} does not run the jobs: {error}") from error
            log.error(f"{name} ended early ({type(error).__name__}: {first_lines(error)})")
            # the status of a job that has not started is unchanged
            again = {job for job in left if job.status in (None, before[job]) or job.state == "unfinished"}
            left = {job: own for job, own in left.items() if job in again}

    def _launch_parallel(self, jobs: Mapping[Job, Sequence[str]], at_once: int) -> Exception | None:
        """Launch jobs together, report each as it ends, and return the exception of the launcher, if any."""
        settings = self.config.hydra.launcher
        if hasattr(self.launcher, "joblib"):  # its own count would start workers without jobs
            self.launcher.joblib["n_jobs"] = at_once
        ctrl_c = forwarding_ctrl_c(self.folder, jobs, "stopping the jobs after a batch; Ctrl-C again to leave at once")
        try:
            with ctrl_c, reporting_jobs(jobs, self._report_job), launchers.waiting_for_all_jobs(settings):
                return self._call_launcher(jobs, at_once)
        except KeyboardInterrupt:
            if launchers.kind(settings) == launchers.SLURM:
                log.info("jobs that SLURM has are left to it: squeue lists them, scancel ends them")
            raise

    def _call_launcher(self, jobs: Mapping[Job, Sequence[str]], at_once: int) -> Exception | None:
        """Launch jobs and return the exception of the launcher, if any; jobs record their own failures."""
        folder = f"hydra.sweep.dir={quoted(self.folder.absolute())}"  # workers may have another working directory
        overrides = [
            [*job.overrides, *own, folder, f"hydra.sweep.subdir={quoted(job.folder.name)}", f"sweep.at_once={at_once}"]
            for job, own in jobs.items()
        ]
        try:
            results = self.launcher.launch(overrides, initial_job_idx=next(iter(jobs)).number)
        except UserError:
            raise
        except Exception as error:
            return error
        for job, result in zip(jobs, results, strict=False):
            failure = getattr(result, "_return_value", None)
            if isinstance(failure, Exception) and job.status is None:  # it failed before the run could record it
                with suppress(OSError):
                    write_failure(job.folder, job.identity, job.overrides, reason_of(failure), message_of(failure))
        return None

    def finish(self) -> None:
        """Print all results; raise SweepError if a job failed, and none finished or `sweep.strict` is true."""
        self.report()
        statuses = [status for job in self.placed if (status := job.status) is not None]
        reasons = [status.reason for status in statuses if status.status == FAILED]
        if reasons and (self.config.sweep.strict or not any(status.over for status in statuses)):
            error = SweepError(f"{len(reasons)} of {len(self.placed)} jobs failed")
            kinds = {"configuration": ConfigError, "data": DataError}
            if len(set(reasons)) == 1 and reasons[0] in kinds:
                error.exit_code = kinds[reasons[0]].exit_code
            raise error

    def report(self) -> None:
        """Print the results so far, and update TensorBoard's HParams."""
        self._update_hparams()
        if self.placed:
            print_summary(self.folder, self.placed, self.config.hydra.job.name)

    def _update_hparams(self) -> None:
        """Update TensorBoard's HParams tab, where the jobs log to TensorBoard."""
        loggers = self.config.logger.values() if "logger" in self.config else ()
        if any(str(logger.get("_target_")).endswith("TensorBoardLogger") for logger in loggers):
            from fer_lightning.sweeps.hparams import write_hparams

            with suppress(OSError):  # not worth failing the sweep
                write_hparams(self.folder)
        self._hparams_updated = time.monotonic()

    def _report_job(self, job: Job) -> None:
        """Log the result of a job, and update TensorBoard's HParams, at most once a minute."""
        log.info(describe_result(job))
        if time.monotonic() - self._hparams_updated > 60:
            self._update_hparams()

    def _fingerprint(self, cfg: DictConfig) -> str | None:
        """Return that of the images as they are now; None where they cannot be read: the job will report why.

        A process of its own reads them: this starts threads, after which forking is not safe.
        """
        key = OmegaConf.to_yaml(cfg.data, resolve=True)
        if key not in self._fingerprints:
            if may_fork():
                preload(cfg.hydra.job.name)
            start = multiprocessing.get_context("fork" if may_fork() else "spawn")
            with ProcessPoolExecutor(1, mp_context=start) as process:
                self._fingerprints[key] = process.submit(_read_fingerprint, cfg).result()
        return self._fingerprints[key]


def _read_fingerprint(cfg: DictConfig) -> str | None:
    from fer_lightning.training import build

    # the images do not depend on the augmentation, which may be one that cannot be built
    images = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "augmentation"])
    with suppress(UserError):
        return build.build_data(images).source.fingerprint
    return None
