"""A sweep whose jobs are proposed by an Optuna study, with trials that can fail, be pruned, and be continued."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import optuna
from filelock import FileLock, Timeout
from hydra.errors import HydraException
from hydra.utils import instantiate
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial, TrialState

from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.core.atomic_write import write_text
from fer_lightning.core.errors import ConfigError, StorageError, SweepError, first_lines
from fer_lightning.runs.objectives import directions, objectives
from fer_lightning.runs.status import FAILED, FINISHED, PRUNED
from fer_lightning.sweeps.best_trials import report_best_trials
from fer_lightning.sweeps.job_folders import Job, label_of
from fer_lightning.sweeps.search_space import Space, read_space
from fer_lightning.sweeps.study import JOB, MESSAGE, REASON, Study, storage_errors, study_url
from fer_lightning.sweeps.sweep import Sweep

_SWEEP_ONLY = ("sweep.resume", "sweep.retry", "sweep.strict", "sweep.at_once", "sweep.trial")  # not passed to jobs
log = logging.getLogger(__name__)


class OptunaSweeper(OptunaSweeperImpl):  # type: ignore[misc]  # hydra-optuna-sweeper has no types
    """hydra-optuna-sweeper with our own loop: its search spaces and samplers, our jobs.

    Args:
        sampler: settings of one of Optuna's samplers.
        n_trials: to finish, including those of earlier sessions.
        n_jobs: trials that are proposed together.
        params: setting → what to search, as on a command line; may be nested.
        otherwise: the same, used where neither `params` nor the command line says what to search.
        custom_search_space: name of a function `(cfg, trial)` that suggests further parameters.
    """

    def __init__(
        self,
        sampler: DictConfig,
        n_trials: int = 20,
        n_jobs: int = 1,
        params: DictConfig | None = None,
        otherwise: DictConfig | None = None,
        custom_search_space: str | None = None,
    ) -> None:
        super().__init__(None, None, None, None, n_trials, n_jobs, 1.0, custom_search_space, params)
        self.n_trials: int = n_trials
        self.settings, self.otherwise = sampler, otherwise

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until `n_trials` have ended.

        Raises:
            ConfigError: the search space, the sampler or the storage is invalid.
            StorageError: the study cannot be read or written.
            SweepError: all jobs failed, or the folder cannot be written.
        """
        for name, count in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if not isinstance(count, int) or count < 1:
                raise ConfigError(f"hydra.sweeper.{name}={count} must be a whole number of 1 or more")
        if self.config.hydra.job.name != "train":
            raise ConfigError("sweep=optuna searches what training can find: type it for fer_lightning.train")
        names, space, settings = objectives(self.config), self._space(arguments), self.config.sweep
        sweep = Sweep(self.config, self.hydra_context, self.launcher)
        sweep.start("optuna")
        sweep.placed = [*sweep.jobs.known]  # those of earlier sessions
        try:  # no second process may continue the same sweep
            lock = FileLock(sweep.folder / "study.lock").acquire(timeout=0)
        except Timeout as error:
            raise SweepError(f"{sweep.folder} is in use by another process: wait for it, or end it") from error
        with lock:
            url = study_url(sweep.folder) if settings.storage is None else str(settings.storage)
            owner = sweep.folder / "study.owner"  # name of this sweep: a study may hold trials of several
            if not owner.is_file():
                write_text(owner, uuid4().hex)
            study = Study(url, str(settings.study), directions(names), owner.read_text(encoding="utf-8"))
            study.optuna.sampler = self._sampler(space, len(study.trials()))
            passed = [item for item in arguments if override_key(item).startswith("sweep.")]
            options = [item for item in passed if override_key(item) not in _SWEEP_ONLY]
            if settings.storage is None:
                options.append(f"sweep.storage={quoted(url)}")
            try:
                self._run_trials(sweep, study, space, names, options)
            except BaseException:
                sweep.report()
                raise
            try:
                sweep.finish()
            finally:
                report_best_trials(study, sweep.folder, names)

    def _run_trials(self, sweep: Sweep, study: Study, space: Space, names: list[str], options: Sequence[str]) -> None:
        """Run trials: first the unfinished ones of an earlier session, then new ones."""
        left = study.unfinished_trials()
        if left:
            log.info(f"{len(left)} trials of an earlier session go on")
        if self.config.sweep.retry:
            study.repeat_failed()
        tried: set[Job] = set()
        to_ask = self.n_trials - study.count_finished() - len(left)  # an unfinished trial is not replaced
        while left or (to_ask > 0 and study.count_finished() < self.n_trials):
            trials, left = left[: self.n_jobs], left[self.n_jobs :]
            if not trials:
                trials = [study.ask() for _ in range(min(self.n_jobs, to_ask))]
                to_ask -= len(trials)
            with storage_errors(study.url):
                jobs = [self._place(sweep, trial, space) for trial in trials]
            to_run: dict[Job, Trial] = {}
            for trial, job in zip(trials, jobs, strict=True):
                if job not in tried and sweep.needs_run(job):
                    to_run.setdefault(job, trial)  # equal trials are one job
            tried.update(to_run)
            study.storage.remove_session()  # a fork would inherit its connections
            sweep.launch({job: [*options, f"sweep.trial={trial.number}"] for job, trial in to_run.items()})
            for trial, job in zip(trials, jobs, strict=True):
                _report_trial(study, trial, job, names, needs_run=sweep.needs_run(job))

    def _place(self, sweep: Sweep, trial: Trial, space: Space) -> Job:
        try:
            overrides = self._configure_trials([trial], space.searched, {}, space.fixed)[0]
        except (ValueError, RuntimeError) as error:  # of samplers, or of a study that searched otherwise
            raise ConfigError(
                f"trial {trial.number} cannot be proposed ({first_lines(error)}): a study keeps what it searches; for "
                "another search type another sweep.study=NAME or another folder"
            ) from error
        nulls = {f"{name}=None": f"{name}=null" for name, value in trial.params.items() if value is None}
        shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in trial.params.items()}
        return sweep.place([nulls.get(override, override) for override in overrides], label_of(shown))

    def _space(self, arguments: Sequence[str]) -> Space:
        """Return the search space, after composing one example of it: a mistake would fail all trials."""
        typed = [item for item in arguments if not override_key(item).startswith("sweep.")]
        space = read_space(self.params, typed)
        if not space.searched and self.custom_search_space_extender is None:
            space = read_space(self.otherwise, typed)
            if not space.searched:
                raise ConfigError(
                    "there is nothing to search: type sweep=small_cnn or the like for a space that is shipped, or "
                    "'optimizer.lr=tag(log,interval(1e-4,1e-2))' for your own"
                )
        values = {name: one.choices[0] if hasattr(one, "choices") else one.low for name, one in space.searched.items()}
        example = [*(f"{name}={'null' if value is None else value}" for name, value in values.items()), *space.fixed]
        try:
            self.hydra_context.config_loader.load_sweep_config(self.config, example)
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(explain(error, example)) from error
        return space

    def _sampler(self, space: Space, trials: int) -> optuna.samplers.BaseSampler:
        """Return the sampler; its seed is moved on by the study's trials, so that a resumed sweep draws new ones."""
        settings: Any = self.settings
        kind = str(settings._target_).rpartition(".")[2]
        if kind not in ("GridSampler", "QMCSampler") and settings.get("seed") is not None:  # those continue themselves
            settings = OmegaConf.merge(settings, {"seed": int(settings.seed) + trials})
        if kind == "GPSampler":
            import torch

            torch.set_num_threads(1)  # it uses PyTorch, whose threads would deadlock a forked job
        try:
            allowed = ("hydra_plugins.hydra_optuna_sweeper.*", "optuna.samplers.*")
            sampler = instantiate(settings, _execution_whitelist_=allowed)
            if isinstance(sampler, functools.partial):
                choices = {name: self._to_grid_sampler_choices(dist) for name, dist in space.searched.items()}
                sampler = sampler(choices)
                self.n_trials = min(self.n_trials, len(sampler._all_grids))
        except (HydraException, ValueError, TypeError) as error:
            raise ConfigError(f"hydra/sweeper/sampler ({kind}): {first_lines(error.__cause__ or error)}") from error
        return sampler


def _report_trial(study: Study, trial: Trial, job: Job, names: Sequence[str], *, needs_run: bool) -> None:
    """Tell the study the result of a trial; an interrupted one stays open, to be continued with the sweep.

    Raise StorageError if the job could not write to its disk or folder: others could not either.
    """
    status, facts = job.status, {JOB: job.folder.name}
    if status is None or (needs_run and status.status != FAILED):
        return
    if status.reason == "storage":
        raise StorageError(f"#{job.number} {job.label}: {status.message}")
    values = [status.values[name] for name in names if name in status.values]
    if status.status == PRUNED:
        study.tell(trial, TrialState.PRUNED, facts=facts)
    elif status.status == FINISHED and len(values) == len(names) and not any(map(math.isnan, values)):
        study.tell(trial, TrialState.COMPLETE, values, facts)
    else:
        reason, message = (status.reason if status.status == FAILED else "killed"), status.message
        if status.status == FINISHED:
            missing = ", ".join(name for name in names if name not in status.values) or "a number"
            reason, message = "error", f"{missing} was not measured"
        study.tell(trial, TrialState.FAIL, facts={**facts, REASON: reason, MESSAGE: message})
