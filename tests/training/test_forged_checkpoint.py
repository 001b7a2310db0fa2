"""A checkpoint of somebody else chooses no folder, names no file to delete, and runs nothing, whatever opens it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.callbacks.checkpoint import RunCheckpoint
from fer_lightning.comparison.comparison import compare
from fer_lightning.comparison.ensembling import ensemble_runs
from fer_lightning.core.errors import CheckpointError, UserError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.weights.fit import load_weights
from fer_lightning.models.weights.read import read_tensors
from fer_lightning.training.evaluate_checkpoint import Evaluation
from fer_lightning.training.run import TrainingRun

LEGACY = Path(__file__).parents[1] / "legacy" / "data" / "train" / "checkpoints" / "best.ckpt"


class Malicious:
    """What a pickle can do."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


def forged(path: Path, **settings: Any) -> Path:
    content = torch.load(LEGACY, weights_only=True)
    content["hyper_parameters"]["data_facts"]["settings"] |= settings
    torch.save(content, path)
    return path


def test_it_does_not_choose_where_files_are_written(tmp_path: Path, compose: Callable[..., DictConfig]) -> None:
    evil = forged(tmp_path / "x.ckpt", cache_dir=str(tmp_path / "evil"), root="/etc", _target_="os.system", limit=1)
    cfg = Evaluation.prepare(compose("evaluate", f"ckpt_path={evil}", f"output_dir={tmp_path / 'out'}")).cfg
    assert (cfg.data.root, cfg.data.limit) == (None, None)
    assert cfg.data.cache_dir == os.environ.get("FER_LIGHTNING_CACHE")
    evil = forged(tmp_path / "y.ckpt", code_order="${oc.env:HOME}")
    with pytest.raises(CheckpointError, match="interpolation"):
        Evaluation.prepare(compose("evaluate", f"ckpt_path={evil}", f"output_dir={tmp_path / 'out'}"))


def test_it_names_no_file_to_delete(tmp_path: Path) -> None:
    callback = RunCheckpoint(dirpath=tmp_path, filename="best", monitor="val/acc", save_top_k=2)
    precious = tmp_path.parent / "precious.txt"
    state = callback.state_dict() | {
        "best_model_path": str(precious),
        "best_k_models": {str(precious): torch.tensor(0.0)},
        "kth_best_model_path": str(precious),
        "last_model_path": str(precious),
        "dirpath": str(tmp_path),
    }
    callback.load_state_dict(state)
    assert (callback.best_k_models, callback.kth_best_model_path, callback.last_model_path) == ({}, "", "")


@pytest.mark.parametrize("door", ["read", "evaluate", "train", "model.weights", "ensemble"])
def test_a_pickle_runs_nothing(
    door: str, tmp_path: Path, compose: Callable[..., DictConfig], write_run: Callable[..., Path]
) -> None:
    content = torch.load(LEGACY, weights_only=True) | {"callbacks": Malicious(tmp_path / "ran")}
    file = tmp_path / "evil.ckpt"
    torch.save(content, file)
    out = f"output_dir={tmp_path / 'out'}"
    network = build_backbone("small_cnn", num_classes=7, in_channels=1, image_size=48)
    doors: dict[str, Callable[[], object]] = {
        "read": lambda: Checkpoint.read(file),
        "evaluate": lambda: Evaluation.prepare(compose("evaluate", f"ckpt_path={file}", out)),
        "train": lambda: TrainingRun(compose("train", f"ckpt_path={file}", out)),
        "model.weights": lambda: load_weights(network, file, 1, "small_cnn"),
        "ensemble": lambda: ensemble_runs(compose("ensemble", f"runs=[{tmp_path / 'runs'}]", "split=test", out)),
    }
    for name in ("a", "b"):
        run = write_run(tmp_path / "runs" / name, [True], status={"status": "finished"})
        (run / "checkpoints").mkdir()
        shutil.copy(file, run / "checkpoints" / "best.ckpt")
        shutil.copy(file, run / "checkpoints" / "last.ckpt")
    assert len(compare([tmp_path / "runs"]).runs) == 2  # which opens none
    with pytest.raises(UserError):
        doors[door]()
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_a_sweep_continues_no_job_from_a_pickle(tmp_path: Path) -> None:
    job = tmp_path / "sweep" / "0"  # as a job that was killed leaves it
    (job / "checkpoints").mkdir(parents=True)
    (job / ".hydra").mkdir()
    content = torch.load(LEGACY, weights_only=True) | {"callbacks": Malicious(tmp_path / "ran")}
    torch.save(content, job / "checkpoints" / "last.ckpt")
    command = [sys.executable, "-m", "fer_lightning.train", "-m", "trainer=cpu", f"hydra.sweep.dir={job.parent}"]
    subprocess.run(command, cwd=tmp_path, timeout=120, check=False, capture_output=True)
    status = json.loads((job / "status.json").read_text())
    assert status["status"] == "failed"
    assert "last.ckpt cannot be read as a checkpoint" in status["message"]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("reader", [Checkpoint.read, read_tensors])
def test_a_small_file_that_unpacks_to_a_large_one_is_not_unpacked(
    reader: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(LEGACY) as whole, zipfile.ZipFile(tmp_path / "x.ckpt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
        packed.writestr(f"{name.partition('/')[0]}/data/999", bytes(10**6))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was unpacked"))
    with pytest.raises(UserError, match="cannot be read"):
        reader(tmp_path / "x.ckpt")
