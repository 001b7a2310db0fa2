"""What is `auto` is settled by the machine, and shared among the ranks on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.system import machine, precision
from fer_lightning.system.machine import Machine, resolve_machine
from fer_lightning.system.resources import available_cores, listed_devices


def resolved(**options: Any) -> Machine:
    settings = {"accelerator": "cpu", "precision": "32-true", "channels_last": "auto", "num_workers": "auto"}
    return resolve_machine(**{**settings, **options})


def workers(devices: Any, accelerator: str = "gpu", num_workers: int | str = "auto") -> int:
    return resolved(accelerator=accelerator, num_workers=num_workers, devices=devices).num_workers


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_cores(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.system.machine.available_cores", lambda: 12)
    assert workers(ranks) == min(8, 12 // ranks - 1)
    assert workers(list(range(ranks))) == workers(ranks)
    assert workers(ranks, num_workers=5) == 5
    assert workers(ranks, accelerator="cpu") == 0


def test_more_ranks_than_cores_load_their_own_images() -> None:
    assert workers(available_cores() + 1) == 0


@pytest.mark.parametrize(
    ("devices", "numbers"),
    [(1, [0]), (3, [0, 1, 2]), ("2", [0, 1]), ("1,", [1]), ("0, 2", [0, 2]), ([1, 3], [1, 3]), (None, [])]
    + [(every, []) for every in ("auto", -1, "-1", "all")],
)
def test_devices_are_counted_as_lightning_does(devices: Any, numbers: list[int]) -> None:
    assert listed_devices(devices) == numbers


@pytest.fixture
def undo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What torch and the environment keep for the whole process is put back."""
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", ""))
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    matmul = torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = tf32


@pytest.mark.parametrize(
    ("devices", "threads"), [(1, 12), (2, 6), ("2", 6), ([0, 1, 2], 4), ("0,", 12), (7, 1), (50, 1), ("auto", 12)]
)
def test_ranks_share_the_threads(devices: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_cores", lambda: 12)
    monkeypatch.setattr(machine, "_THREADS_FROM_ENVIRONMENT", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)  # which are not what a run on the CPU is shared among
    assert resolved(devices=devices).threads == threads
    assert resolved(devices=devices, threads=5).threads == 5


def test_every_gpu_is_a_rank_where_all_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_cores", lambda: 16)
    monkeypatch.setattr(machine, "_THREADS_FROM_ENVIRONMENT", None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # or torch would ask the driver for more
    every = resolved(accelerator="gpu", devices="auto")
    assert (every.threads, every.num_workers) == (4, 3)


THREE_RUNS = """
from fer_lightning.system.machine import resolve_machine
for threads in ("auto", 3, "auto"):
    fixed = {"accelerator": "cpu", "precision": "32-true", "channels_last": True, "num_workers": 0}
    machine = resolve_machine(**fixed, threads=threads)
    machine.apply()
    print(machine.threads, end=" ")
"""


@pytest.mark.parametrize(("told", "expected"), [("1", "1 3 1"), (None, f"{available_cores()} 3 {available_cores()}")])
def test_the_environment_says_how_many_threads(told: str | None, expected: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    environment |= {} if told is None else {"OMP_NUM_THREADS": told}
    command = [sys.executable, "-c", THREE_RUNS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected  # whatever an earlier run in the process was told


def test_threads_below_one_are_named() -> None:
    with pytest.raises(ValueError, match=r"machine\.threads=0 must be auto, or 1 or more"):
        resolved(threads=0)


@pytest.mark.usefixtures("undo")
def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    for threads in (2, 1):
        resolved(threads=threads).apply()
        assert torch.get_num_threads() == threads
    assert torch.get_float32_matmul_precision() == before  # nothing of a GPU


@pytest.mark.usefixtures("undo")
@pytest.mark.parametrize(
    ("asked", "capable", "expected"),
    [("auto", True, True), ("auto", False, False), (True, True, True), (False, True, False)],
)
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_tf32_is_for_gpus_that_have_it(
    accelerator: str, asked: bool | str, capable: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_bf16", lambda accelerator: capable)
    found = resolved(accelerator=accelerator, tf32=asked, num_workers=0)
    assert found.tf32 is expected
    assert (", TF32" in found.summary) is expected
    found.apply()
    assert torch.backends.cudnn.allow_tf32 is expected
    assert torch.get_float32_matmul_precision() == ("high" if expected else "highest")


def test_tf32_is_refused_where_there_is_none() -> None:
    assert not resolved(tf32="auto").tf32
    with pytest.raises(ValueError, match=r"machine\.tf32=true needs an NVIDIA GPU that has it"):
        resolved(tf32=True)


@pytest.mark.parametrize(("deterministic", "expected"), [(None, True), (False, True), (True, False), ("warn", False)])
def test_cudnn_may_choose_unless_results_shall_repeat(deterministic: bool | str | None, expected: bool) -> None:
    assert resolved(accelerator="gpu", num_workers=0, deterministic=deterministic).benchmark is expected
    assert not resolved(deterministic=deterministic).benchmark


@pytest.mark.parametrize(
    ("speedup", "chosen", "said"),
    [
        (0.0, "32-true", "no bf16 instructions here"),
        (0.42, "32-true", "bf16 is 0.42 × as fast as fp32 here"),
        (1.09, "32-true", "bf16 is 1.09 × as fast"),
        (1.1, "bf16-mixed", "bf16 is 1.1 × as fast"),
        (float("nan"), "32-true", ""),
    ],
)
def test_auto_precision_follows_the_trial_and_says_so(
    speedup: float, chosen: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "bf16_speedup", lambda accelerator, threads, memory: speedup)
    found = resolved(precision="auto", threads=2)
    assert found.precision == chosen
    assert f": {chosen}" in found.summary
    assert said in found.summary


def test_a_choice_is_kept_and_nothing_is_tried(tmp_path: Path) -> None:
    found = resolved(precision="bf16-mixed", channels_last=False, threads=2, memory=tmp_path / "bf16.json")
    assert (found.precision, found.channels_last) == ("bf16-mixed", False)
    assert found.summary == f"{precision.device_name('cpu')}: bf16-mixed, contiguous, 2 threads"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="16-mixed"):
        resolved(precision="16-mixed")


def test_the_trial_of_an_earlier_run_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: True)
    monkeypatch.setattr(precision, "_measure", lambda device: 1.5)
    memory = tmp_path / "bf16.json"
    resolved(precision="auto", memory=memory)
    memory.write_text(memory.read_text().rpartition(":")[0] + ": 3.5}")
    found = resolved(precision="auto", memory=memory)
    assert found.precision == "bf16-mixed"
    assert "bf16 is 3.5 × as fast" in found.summary


THREADS_OF_RANKS = """
import sys
import lightning.pytorch as pl, torch
from fer_lightning.config.compose import hydra_options
from fer_lightning.config.compose import conf_dir
import hydra

class Look(pl.Callback):
    def on_train_batch_start(self, trainer, *_):
        with open(f"{sys.argv[1]}/{trainer.global_rank}", "w") as file:
            file.write(str(torch.get_num_threads()))

if __name__ == "__main__":
    from fer_lightning.training.run import TrainingRun
    with hydra.initialize_config_dir(str(conf_dir()), **hydra_options(hydra.initialize_config_dir)):
        cfg = hydra.compose("train", sys.argv[2:])
    run = TrainingRun(cfg)
    run.trainer.callbacks.append(Look())
    run.fit()
"""


@pytest.mark.slow
def test_every_rank_works_with_the_threads_asked_for(tmp_path: Path) -> None:
    threads = 3  # Lightning would give each rank one
    script = tmp_path / "run.py"
    script.write_text(THREADS_OF_RANKS)
    words = ["data.synthetic={train: 14, validation: 7, test: 7}", "data.image_size=16", "data.batch_size=7"]
    words += ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=1", "callbacks=none"]
    words += ["logger=none", f"machine.threads={threads}", f"output_dir={tmp_path / 'out'}"]
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, script, tmp_path, *words], env=environment, timeout=180, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / str(rank)).read_text() for rank in range(2)] == [str(threads)] * 2
