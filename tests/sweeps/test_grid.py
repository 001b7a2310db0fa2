"""Grid sweeps, for real: jobs that fail, a sweep that is killed, and what goes on afterwards."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

from fer_lightning.cli.resume import continue_sweep
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.status import Status, read_status

TINY = (
    "data.synthetic={train: 28, validation: 14, test: 14}",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "logger=none",
)


def start_sweep(folder: Path, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start a sweep whose folder is `folder`, unless it is resumed."""
    place = () if any("sweep.resume=" in word for word in arguments) else (*TINY, f"hydra.sweep.dir={folder}")
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *place, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=folder.parent,
        **options,  # type: ignore[call-overload]
    )


def run_sweep(folder: Path, *arguments: str, **options: object) -> tuple[int, str]:
    sweep = start_sweep(folder, *arguments, **options)
    said = sweep.communicate(timeout=300)[0]
    return sweep.returncode, said


def limit_memory(gigabytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (gigabytes << 30, gigabytes << 30))


def jobs_of(folder: Path) -> dict[str, Status]:
    found = {path.parent.name: read_status(path.parent) for path in folder.glob("*/status.json")}
    return {name: status for name, status in sorted(found.items()) if status is not None}


def wait_for(there: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A sweep of which one job runs out of memory, one diverges, two have bad keys, and two are right."""
    root = tmp_path_factory.mktemp("mixed")
    own = root / "mine" / "experiment"
    own.mkdir(parents=True)
    experiments = {
        "right": "seed: 1",
        # whose first dense layer has 7 GB of weights at this size, and the sweep gets 5
        "memory": "defaults: [{override /model: keras_cnn}]\ndata: {image_size: 1024}",
        "diverging": "optimizer: {lr: 1.0e+30}",
        "key": "optimizer: {lrr: 1.0}",
        "group": "defaults: [{override /model: no_such_network}]",
        "fine": "seed: 2",
    }
    for name, text in experiments.items():
        (own / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n")
    code, said = run_sweep(
        root / "sweep",
        "--config-dir",
        "mine",
        f"experiment={','.join(experiments)}",
        preexec_fn=lambda: limit_memory(5),
    )
    return root / "sweep", code, said


@pytest.mark.slow
def test_every_outcome_is_recorded_and_the_rest_goes_on(mixed: tuple[Path, int, str]) -> None:
    folder, code, said = mixed
    jobs = jobs_of(folder)
    outcomes = {name.partition("=")[2]: (status.status, status.reason) for name, status in jobs.items()}
    assert outcomes == {
        "right": ("finished", None),
        "memory": ("failed", "out of memory"),
        "diverging": ("failed", "diverged"),
        "key": ("failed", "configuration"),
        "group": ("failed", "configuration"),
        "fine": ("finished", None),
    }, said
    assert code == 0, "some came to an end"
    assert "did you mean optimizer.lr" in jobs["3_experiment=key"].message
    assert "no_such_network" in jobs["4_experiment=group"].message
    assert "the loss is not finite" in jobs["2_experiment=diverging"].message
    assert "6 jobs: " in said
    assert "Traceback" not in said
    for name in ("right", "fine"):
        (done,) = folder.glob(f"*={name}")
        assert (done / "report.html").stat().st_size
        assert set(read_status(done).values) == {"val/acc"}


@pytest.mark.slow
def test_a_sweep_never_looks_at_the_test_split(mixed: tuple[Path, int, str]) -> None:
    metrics = json.loads((mixed[0] / "0_experiment=right" / "metrics.json").read_text())
    assert (metrics["split"], metrics["count"]) == ("validation", 14)


@pytest.mark.slow
def test_a_job_is_a_single_run_that_its_command_repeats(mixed: tuple[Path, int, str], tmp_path: Path) -> None:
    job = mixed[0] / "0_experiment=right"
    words = json.loads((job / "environment.json").read_text())["command"]
    assert words.startswith("python") or "python" in words.split()[0]
    assert " -m fer_lightning.train " in words
    assert " -m experiment" not in words
    assert "experiment=right" in words


@pytest.mark.slow
@pytest.mark.parametrize(("strict", "expected"), [("sweep.strict=true", 1), ("sweep.strict=false", 0)])
def test_failed_jobs_are_left_alone_and_the_exit_code_is_as_asked(
    mixed: tuple[Path, int, str], strict: str, expected: int
) -> None:
    folder, _, _ = mixed
    before = jobs_of(folder)
    code, said = run_sweep(folder, f"sweep.resume={folder}", strict)
    assert code == 2
    assert said == f"error: {folder} was started with --config-dir mine, which a file may not choose: type that again\n"
    code, said = run_sweep(folder, "--config-dir", "mine", f"sweep.resume={folder}", strict)
    assert code == expected, said
    assert "not taken" not in said
    after = jobs_of(folder)
    changed = {name for name in before if before[name] != after[name]} - {"4_experiment=group"}
    assert changed == set(), "all others are finished or failed, and nobody asked for another try"
    assert list(after) == list(before)


@pytest.mark.slow
def test_all_jobs_failing_is_a_failure_of_the_sweep(tmp_path: Path) -> None:
    code, said = run_sweep(tmp_path / "sweep", "optimizer.lr=-1,-2")
    assert code == 2
    assert said.rstrip().endswith("error: 2 of 2 jobs failed")
    assert [status.reason for status in jobs_of(tmp_path / "sweep").values()] == ["configuration"] * 2


@pytest.mark.slow
def test_a_killed_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    folder, grid = tmp_path / "sweep", ("optimizer.lr=1e-3,1e-2", "seed=1,2,3", "trainer.max_epochs=8")
    sweep = start_sweep(folder, *grid, start_new_session=True)
    third = folder / "2_lr=0.001,seed=3"
    wait_for(lambda: (third / "checkpoints" / "last.ckpt").is_file())
    family = psutil.Process(sweep.pid).children(recursive=True)
    os.kill(sweep.pid, signal.SIGKILL)
    sweep.communicate()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == [], "nobody would know of them"
    assert read_status(third).status == "running"
    before = {name: (folder / name / "metrics.json").stat().st_mtime_ns for name in [*jobs_of(folder)][:2]}

    code, said = run_sweep(folder, f"sweep.resume={folder}")
    assert code == 0, said
    jobs = jobs_of(folder)
    assert [status.status for status in jobs.values()] == ["finished"] * 6
    assert [status.attempts for status in jobs.values()] == [1, 1, 2, 1, 1, 1]
    assert {name: (folder / name / "metrics.json").stat().st_mtime_ns for name in before} == before
    assert [len(pd.read_csv(folder / name / "history.csv")) for name in jobs] == [8] * 6
    assert "restarting" not in said


@pytest.mark.slow
def test_ctrl_c_ends_a_sweep_that_can_be_continued_and_extended(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    sweep = start_sweep(folder, "seed=1,2", "trainer.max_epochs=400", start_new_session=True)
    wait_for(lambda: (folder / "0_seed=1" / "checkpoints" / "last.ckpt").is_file())
    os.killpg(sweep.pid, signal.SIGINT)  # as a terminal sends it: to the sweep and to the run
    said = sweep.communicate(timeout=120)[0]
    assert sweep.returncode == 130, said
    assert {name: status.status for name, status in jobs_of(folder).items()} == {"0_seed=1": "interrupted"}
    assert f"sweep.resume={folder}" in said
    assert "not started" in said

    # other epochs make other jobs: both seeds are new, and the interrupted one stays as it is
    code, said = run_sweep(folder, f"sweep.resume={folder}", "trainer.max_epochs=1")
    assert code == 0, said
    assert {name: status.status for name, status in jobs_of(folder).items()} == {
        "0_seed=1": "interrupted",
        "1_seed=1": "finished",
        "2_seed=2": "finished",
    }


@pytest.mark.slow
def test_two_ranks_a_job_leave_nothing_to_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    ranks = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1")
    code, said = run_sweep(folder, "seed=1,2", "~callbacks.early_stopping", *ranks)
    assert code == 0, said
    jobs = jobs_of(folder)
    assert [status.status for status in jobs.values()] == ["finished"] * 2
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == [*jobs]
    for name in jobs:
        assert len(pd.read_csv(folder / name / "predictions.csv")) == 14
    assert list(tmp_path.glob("outputs/**/*")) == [], "the ranks write to the job's folder"


@pytest.mark.slow
def test_a_folder_that_holds_a_sweep_is_not_taken_for_another(mixed: tuple[Path, int, str]) -> None:
    code, said = run_sweep(mixed[0], "seed=7,8")
    assert code == 1
    assert "holds a sweep already: type sweep.resume=" in said
    assert len(said.strip().splitlines()) == 1


def test_what_is_no_sweep_cannot_be_continued(tmp_path: Path) -> None:
    code, said = run_sweep(tmp_path / "sweep", f"sweep.resume={tmp_path / 'nothing'}")
    assert code == 2
    assert "holds no sweep.json that can be read" in said
    assert len(said.strip().splitlines()) == 1


def test_what_shall_be_continued_is_never_a_new_sweep_by_mistake(tmp_path: Path) -> None:
    code, said = run_sweep(tmp_path / "sweep", "sweep.resume=")  # a variable of the shell that is not set
    assert code == 2
    assert "holds no sweep.json" in said


def test_flags_are_typed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["-m", "--config-dir", "old", "seed=1,2", "model=vgg16", "sweep.retry=true", "++security.allow=[]"]
    (tmp_path / "sweep.json").write_text(json.dumps({"verb": "train", "arguments": typed}))
    words = ["-m", "--config-dir", "new", f"sweep.resume={tmp_path}", "seed=3"]
    folder = f"hydra.sweep.dir='{tmp_path}'"
    assert continue_sweep(words, "train") == ["-m", "model=vgg16", folder, *words[1:]]
    assert "not taken" not in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"was started with --config-dir old, .* type that again"):
        continue_sweep(["-m", f"sweep.resume={tmp_path}"], "train")
