"""Sweeps whose jobs run at once on this machine: what they share, and that nothing of one reaches another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from fer_lightning.config.hydra_errors import explain
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.status import Status, read_status
from fer_lightning.sweeps.launchers import granted_cores, max_parallel_jobs

TINY = (
    "data.synthetic={train: 56, validation: 14, test: 14}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=none",
)
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
LONG = "trainer.max_epochs=1000"
PATIENCE = 120  # seconds for what takes five alone
needs_joblib = pytest.mark.skipif(
    installed_version("hydra-joblib-launcher") is None, reason="needs hydra-joblib-launcher"
)
needs_submitit = pytest.mark.skipif(
    installed_version("hydra-submitit-launcher") is None, reason="needs hydra-submitit-launcher"
)


def start_sweep(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a sweep in a process group of its own, as a shell does."""
    place = () if any("sweep.resume=" in word for word in arguments) else (*TINY, f"hydra.sweep.dir={folder}")
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *place, *arguments]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder.parent, env=environment, start_new_session=True, **pipes)


def await_(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"no {what} in {PATIENCE} s"
        time.sleep(0.05)


def epochs_started(folder: Path) -> list[Path]:
    """Return the folders of jobs at work that have trained an epoch."""
    logs = [path / "output.log" for path in folder.glob("[0-9]*") if (path / "job.pid").is_file()]
    return [log.parent for log in logs if log.is_file() and "epoch 1/" in log.read_text()]


def statuses(folder: Path) -> dict[str, Status | None]:
    return {path.name: read_status(path) for path in sorted(folder.glob("[0-9]*"))}


def outcomes(folder: Path) -> dict[str, str]:
    return {name: status.status for name, status in statuses(folder).items() if status is not None}


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sweep of three jobs, two at once, the first of which was killed; its folder, and what it said."""
    folder = tmp_path_factory.mktemp("joblib") / "sweep"
    sweep = start_sweep(folder, *JOBLIB, "trainer.max_epochs=100,1,2")
    first = folder / "0_max_epochs=100"
    await_(lambda: first in epochs_started(folder), "first epoch")
    os.kill(int((first / "job.pid").read_text()), signal.SIGKILL)
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 0, said
    return folder, said


@pytest.mark.slow
@needs_joblib
def test_a_killed_job_takes_no_other_with_it(together: tuple[Path, str]) -> None:
    folder, said = together
    killed, *others = statuses(folder).values()
    assert killed is not None
    assert (killed.status, killed.message) == (
        "failed",
        "the process was ended by SIGKILL",
    )
    assert [other.status for other in others if other is not None] == ["finished"] * 2
    assert not list(folder.glob("*/job.pid"))
    assert "3 jobs by joblib, 2 at once" in said
    assert len(re.findall(r"^#\d max_epochs=\d+: (?:finished|failed)", said, flags=re.M)) == 3
    assert "resource_tracker" not in said
    assert "deprecated" not in said


@pytest.mark.slow
@needs_joblib
def test_logs_do_not_mix(together: tuple[Path, str]) -> None:
    folder, said = together
    assert "epoch 1/" not in said
    for epochs in (1, 2):
        job = next(folder.glob(f"*_max_epochs={epochs}"))
        for name in ("output.log", "train.log"):
            told = re.findall(r"epoch (\d+)/(\d+): ", (job / name).read_text())
            assert told == [(str(epoch), str(epochs)) for epoch in range(1, epochs + 1)], f"{job.name}/{name}"


@pytest.mark.slow
@needs_joblib
def test_jobs_share_the_cores(together: tuple[Path, str]) -> None:
    folder = together[0]
    records = [json.loads((job / "environment.json").read_text()) for job in folder.glob("[1-9]*")]
    cores = len(os.sched_getaffinity(0))
    assert [record["machine"]["threads"] for record in records] == [max(1, cores // 2)] * 2
    assert all("machine.jobs=2" in record["command"] for record in records)


@pytest.mark.slow
@needs_joblib
def test_ctrl_c_stops_every_job_after_a_batch_and_the_sweep_outlives_even_its_workers(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = start_sweep(folder, *JOBLIB, "trainer.max_epochs=40,50,1")
    await_(lambda: len(epochs_started(folder)) == 2, "two jobs at work")
    os.killpg(sweep.pid, signal.SIGINT)
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 130, said
    assert "stopping the jobs after a batch" in said
    assert "Traceback" not in said
    assert outcomes(folder) == {"0_max_epochs=40": "interrupted", "1_max_epochs=50": "interrupted"}
    assert all("stopping after a batch" in log.read_text() for log in folder.glob("*/output.log"))
    assert not list(folder.glob("**/job.pid")) + list(folder.glob(".stopping"))

    # continued, and one of the workers killed meanwhile, which ends the others, too
    resumed = start_sweep(folder, f"sweep.resume={folder}")
    await_(lambda: len(epochs_started(folder)) == 2, "two jobs at work")
    job = psutil.Process(int((folder / "0_max_epochs=40" / "job.pid").read_text()))
    os.kill(job.ppid(), signal.SIGKILL)
    said = resumed.communicate(timeout=PATIENCE)[0]
    assert resumed.returncode == 0, said
    assert "joblib ended early (TerminatedWorkerError" in said
    assert outcomes(folder) == dict.fromkeys(("0_max_epochs=40", "1_max_epochs=50", "2_max_epochs=1"), "finished")
    assert statuses(folder)["2_max_epochs=1"].attempts == 1  # type: ignore[union-attr]
    log = (folder / "1_max_epochs=50" / "train.log").read_text()
    epochs = [int(number) for number in re.findall(r"epoch (\d+)/50: ", log)]
    assert sorted(set(epochs)) == [*range(1, max(epochs) + 1)]
    assert len(epochs) - len(set(epochs)) <= 2  # those that were cut off are trained again


@pytest.mark.slow
@needs_joblib
def test_nothing_outlives_a_killed_sweep(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    loaders = ("data.num_workers=1", "data.persistent_workers=true", "data.resident=false")
    sweep = start_sweep(folder, *JOBLIB, LONG, *ranks, *loaders, "seed=1,2")
    await_(lambda: len(epochs_started(folder)) == 2, "two jobs at work")
    family = psutil.Process(sweep.pid).children(recursive=True)
    assert len(family) >= 2 + 2 * (2 + 2), "two workers, and of each job two ranks with a loader each"
    sweep.kill()
    sweep.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []
    assert set(outcomes(folder).values()) == {"running"}  # unfinished: nobody had the time to say more


@pytest.mark.slow
@needs_submitit
def test_submitit_runs_a_sweep_on_this_machine(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = start_sweep(folder, "hydra/launcher=submitit_local", "trainer.max_epochs=1,2")
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert sweep.returncode == 0, said
    assert outcomes(folder) == {"0_max_epochs=1": "finished", "1_max_epochs=2": "finished"}
    assert "2 jobs by local, 2 at once" in said
    assert "deprecated" not in said
    commands = [json.loads(path.read_text())["command"] for path in folder.glob("*/environment.json")]
    assert all("machine.jobs=2" in command for command in commands)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "extra"),
    [("joblib", "joblib"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit"), ("ray", "ray")],
)
def test_a_launcher_that_is_not_installed_is_told_with_its_extra(launcher: str, extra: str, tmp_path: Path) -> None:
    if installed_version(f"hydra-{extra}-launcher") is not None:
        pytest.skip(f"hydra-{extra}-launcher is installed")
    sweep = start_sweep(tmp_path / "sweep", f"hydra/launcher={launcher}", "seed=1,2")
    said = sweep.communicate(timeout=PATIENCE)[0]
    assert (
        said
        == f'error: the launcher needs {extra}, which is not installed: type pip install "fer_lightning[{extra}]"\n'
    )
    assert sweep.returncode == 2
    assert not (tmp_path / "sweep").exists()


def test_hydras_word_on_a_missing_launcher_is_understood() -> None:
    for error in (RuntimeError, ConfigCompositionException):
        said = error("Unknown plugin class : 'hydra_plugins.hydra_ray_launcher.ray_launcher.RayLauncher'")
        assert explain(said, []).endswith('type pip install "fer_lightning[ray]"')


def settings(launcher: str, **values: object) -> Any:
    return OmegaConf.create({"_target_": f"hydra_plugins.x.{launcher}", **values})


@pytest.mark.parametrize(
    ("launcher", "count", "most"),
    [
        (settings("BasicLauncher"), 5, 1),
        (settings("JoblibLauncher", n_jobs=2), 5, 2),
        (settings("JoblibLauncher", n_jobs=2), 1, 1),
        (settings("JoblibLauncher", n_jobs=-1), 100, 4),
        (settings("JoblibLauncher", n_jobs=-2), 100, 3),
        (settings("JoblibLauncher", n_jobs=-9), 100, 1),
        (settings("LocalLauncher"), 5, 5),
        (settings("SlurmLauncher"), 5, 1),
        (settings("RayLauncher", ray={"remote": {"num_cpus": 2}}), 5, 2),
        (settings("RayLauncher", ray={"remote": {"num_cpus": 8}}), 5, 1),
        (settings("RayLauncher", ray={"remote": {}}), 3, 3),
    ],
)
def test_how_many_jobs_share_a_machine(launcher: Any, count: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.sweeps.launchers.available_cores", lambda: 4)
    assert max_parallel_jobs(launcher, count) == most


def test_settings_that_are_no_numbers_are_told() -> None:
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.n_jobs=two is not a whole number"):
        max_parallel_jobs(settings("JoblibLauncher", n_jobs="two"), 2)
    with pytest.raises(ConfigError, match=r"n_jobs=0 would run nothing: type 1 or more"):
        max_parallel_jobs(settings("JoblibLauncher", n_jobs=0), 2)
    with pytest.raises(ConfigError, match=r"ray\.remote\.num_cpus=many is not a whole number"):
        granted_cores(settings("RayLauncher", ray={"remote": {"num_cpus": "many"}}))
