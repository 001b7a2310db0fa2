"""Continued from any of its checkpoints, a run ends with the weights, bit for bit, and history of an unbroken one."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning.pytorch as pl
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig

from fer_lightning.training.run import TrainingRun

NARROW = "channels: [4, 4, 4, 8], stem_width: 4"  # a checkpoint is written at each step
TINY = (  # three batches an epoch
    "model=timm",
    "model.backbone=resnet10t",
    "model.drop_rate=0.3",
    f"++model.backbone_kwargs={{{NARROW}}}",
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=3",
    "trainer.log_every_n_steps=1",
    "callbacks.early_stopping.patience=9",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
KEPT = "dirpath: '${output_dir}/kept', save_top_k: -1, auto_insert_metric_name: false, enable_version_counter: false"
EACH_STEP = (
    "++callbacks.steps={_target_: fer_lightning.callbacks.checkpoint.RunCheckpoint, filename: 'step{step}', "
    f"every_n_train_steps: 1, {KEPT}}}"
)
EACH_EPOCH = (
    "++callbacks.epochs={_target_: lightning.pytorch.callbacks.ModelCheckpoint, filename: 'epoch{step}', "
    f"save_on_train_epoch_end: true, {KEPT}}}"
)
SWA = "{_target_: lightning.pytorch.callbacks.StochasticWeightAveraging, swa_lrs: 0.01, swa_epoch_start: 1}"
RESIZING = "callbacks.progressive_resizing"
GROWING = ["augmentation.by_class={happy: {rotate: 40, erase: 1}}", "augmentation.ramp=0.7"]
QUICK = {
    "mixup, resizing and a moving average": (
        [
            "callbacks=ema",
            "callbacks.ema.horizon=0.5",
            "model.mixup=0.2",
            "model.mix_until=0.5",
            "trainer.val_check_interval=2",
            "data.image_size=24",
            f"{RESIZING}.start_size=16",
            f"{RESIZING}.until=0.5",
            *GROWING,
        ],
        "step1 step3",
    ),
    "max_steps": (["trainer.max_steps=7"], "epoch3"),
}
SLOW = {
    "mixup": (["model.mixup=0.2", "trainer.val_check_interval=2"], "step1 step3"),
    "sgd": (["optimizer=sgd"], "step4"),
    "muon": (["optimizer=muon", "scheduler=onecycle", "trainer.gradient_clip_val=0.1"], "step4"),
    "sam": (["optimizer=sam", "model.mixup=0.2"], "step4"),
    "compact network": (
        [
            "model.backbone=compact_cnn",
            "++model.backbone_kwargs={widths: [4, 8, 8, 8, 8], depths: [1, 1, 1, 1, 1], final_pool: false, "
            "squeeze_excite: 0.5, branches: true, drop_path: 0.3, stem: whitened, dirac: true}",
            "loss=logit_adjusted",
        ],
        "step2 step4",
    ),
    "cutmix": (["model.cutmix=1", "loss=generalised"], "step4"),
    "robust loss": (["loss=symmetric", "model.mixup=0.2", "model.mix_until=0.6"], "step5"),
    "accumulation": (["trainer.accumulate_grad_batches=2"], "step1"),
    "ema": (
        ["++callbacks.ema={_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.9}", "model.mixup=0.2"],
        "step2",
    ),
    "swa": (["callbacks=swa", "callbacks.swa.start=0.3", "scheduler=swa"], "step4 step6 step8"),
    "Lightning's swa": ([f"++callbacks.swa={SWA}"], "step5"),
    "plateau": (["scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1"], "step3 epoch3"),
    "onecycle": (["optimizer=sgd", "scheduler=onecycle"], "step5"),
    "unfreezing": (["model.freeze_backbone=true", "model.unfreeze_epoch=1"], "step2"),
    "gradual unfreezing": (
        [
            "model.freeze_backbone=true",
            "model.unfreeze_epoch=1",
            "model.unfreeze_epochs_per_stage=1",
            "model.layer_decay=0.8",
            "model.weight_decay_exclude_1d=true",
        ],
        "step4",
    ),
    "stochastic depth": ([f"++model.backbone_kwargs={{{NARROW}, drop_path_rate: 0.2}}"], "step5"),
    "validation every other epoch": (
        ["trainer.check_val_every_n_epoch=2", "scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1"],
        "step6",
    ),
    "early stopping amid epochs": (
        ["trainer.val_check_interval=1", "callbacks.early_stopping.patience=4", "optimizer.lr=0"],
        "step3",
    ),
    "two workers": (["data.num_workers=2", "data.resident=false", "model.mixup=0.2"], "step2"),
    "augmentation in workers": (
        ["data.num_workers=2", "data.resident=false", "data.engine=albumentations", *GROWING],
        "step2 step4",
    ),
    "max_steps alone": (["trainer.max_steps=7", "trainer.max_epochs=-1"], "step3"),
    "fewer batches": (["trainer.limit_train_batches=2", "data.sampler=balanced"], "step1 step2"),
}


@pytest.mark.filterwarnings("ignore:The dirpath has changed")  # the checkpoints of the unbroken run, copied
@pytest.mark.parametrize(
    ("options", "checkpoints"),
    [*QUICK.values(), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW.values())],
    ids=[*QUICK, *SLOW],
)
def test_each_checkpoint_continues_exactly(
    compose: Callable[..., DictConfig], tmp_path: Path, options: list[str], checkpoints: str
) -> None:
    def trained(folder: Path, *more: str) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
        typed = {word.partition("=")[0] for word in options}
        tiny = [word for word in TINY if word.partition("=")[0] not in typed]
        run = TrainingRun(compose("train", *tiny, *options, EACH_STEP, EACH_EPOCH, *more, f"output_dir={folder}"))
        run.fit()
        history = pd.read_csv(folder / "history.csv")
        return run.model.state_dict(), history[sorted(history)]

    weights, history = trained(tmp_path / "unbroken")
    for name in checkpoints.split():
        folder = tmp_path / name
        shutil.copytree(tmp_path / "unbroken", folder, ignore=shutil.ignore_patterns("last.ckpt", "history.csv"))
        again, rows = trained(folder, f"ckpt_path={folder / 'kept' / name}.ckpt")
        assert [key for key, value in weights.items() if not torch.equal(again[key], value)] == [], name
        pd.testing.assert_frame_equal(rows, history, obj=name)


class Wait(pl.Callback):
    """Spends the time of `max_time` in the fifth step."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        if trainer.global_step == 5 and any(isinstance(callback, Timer) for callback in trainer.callbacks):
            time.sleep(1)


@pytest.mark.parametrize(
    ("limit", "options"),
    [
        ("trainer.max_steps=4", ["model.mixup=0.2"]),
        pytest.param("trainer.max_steps=5", ["trainer.val_check_interval=2"], marks=pytest.mark.slow),
        pytest.param("trainer.max_time=00:00:00:01", ["model.mixup=0.2"], marks=pytest.mark.slow),
    ],
)
def test_what_a_limit_cut_off_is_trained_where_the_limit_is_lifted(
    compose: Callable[..., DictConfig], tmp_path: Path, limit: str, options: list[str]
) -> None:
    def trained(name: str, *more: str) -> tuple[dict[str, torch.Tensor], pd.DataFrame]:
        settings = ("scheduler=none", *options, *more, f"output_dir={tmp_path / name}")
        run = TrainingRun(compose("train", *TINY, *settings))
        run.trainer.callbacks.insert(0, Wait())
        run.fit()
        history = pd.read_csv(tmp_path / name / "history.csv")
        return run.model.state_dict(), history[sorted(history)]

    weights, history = trained("unbroken")
    trained("cut", limit)
    again, rows = trained("cut", f"ckpt_path={tmp_path / 'cut' / 'checkpoints' / 'last.ckpt'}")
    assert [key for key, value in weights.items() if not torch.equal(again[key], value)] == []
    pd.testing.assert_frame_equal(rows, history)


ALL_AT_ONCE = (
    "optimizer=sam",
    "callbacks=ema",
    "callbacks.ema.horizon=0.2",
    "model.cutmix=1",
    "model.mix_until=0.6",
    "data.image_size=24",
    f"{RESIZING}.start_size=16",
    f"++model.backbone_kwargs={{{NARROW}, drop_path_rate: 0.2}}",
)


@pytest.mark.slow
@pytest.mark.parametrize("options", [["model.mixup=0.2"], ALL_AT_ONCE], ids=["mixup", "many techniques at once"])
def test_a_killed_run_continues_exactly(tmp_path: Path, options: Sequence[str]) -> None:
    at_each_step = (
        "++callbacks.last_checkpoint.every_n_train_steps=1",
        *options,
        "trainer.max_epochs=8",
        "~callbacks.early_stopping",
    )
    command = [sys.executable, "-m", "fer_lightning.train", *TINY, *at_each_step]

    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen([*command, *more], cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    unbroken, killed = start("hydra.run.dir=unbroken"), start("hydra.run.dir=killed")
    last = tmp_path / "killed/checkpoints/last.ckpt"
    deadline = time.monotonic() + 120
    while not last.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(last, weights_only=True)["global_step"] < 24
    again = start(f"ckpt_path={last}", "hydra.run.dir=killed")
    for program in (unbroken, again):
        _, errors = program.communicate(timeout=120)
        assert program.returncode == 0, errors
    states = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True) for name in ("unbroken", "killed")
    ]
    assert [state["global_step"] for state in states] == [24, 24]
    first, second = (state["state_dict"] for state in states)
    assert [key for key, value in first.items() if not torch.equal(second[key], value)] == []
