"""Rules between settings: what cannot work together is said once, with what to type instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.rules import rules

OWN = {"security": {"allow": [__name__]}}  # what a user types for modules of their own


def with_steps(optimizer: Any, total_steps: int, warmup: float = 0.1) -> Any: ...


def base(**more: Any) -> DictConfig:
    cfg = {
        "monitor": "val/acc",
        "mode": "max",
        "callbacks": {"stop": {"monitor": "${monitor}", "mode": "${mode}"}},
        "scheduler": {"_target_": f"{__name__}.with_steps"},
        **OWN,
        "data": {"batch_size": 64},
        "model": {"unfreeze_epoch": None},
        "trainer": {
            "max_epochs": 3,
            "max_steps": -1,
            "accelerator": "cpu",
            "devices": 1,
            "strategy": "auto",
            "check_val_every_n_epoch": 1,
        },
    }
    return OmegaConf.merge(cfg, more)


def test_the_usual_settings_break_no_rule() -> None:
    assert rules(base()) == []
    assert rules(OmegaConf.create({})) == []


PLATEAU = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}
MUON = {"_target_": "fer_lightning.models.optimizers.muon.Muon"}
SAM = {"_target_": "fer_lightning.models.optimizers.sam.SAM"}
GPU = {"accelerator": "auto", "devices": 1}
UNFREEZING = {"freeze_backbone": True, "pretrained": True, "unfreeze_epoch": 2}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"monitor": "val/accuracy"}, "monitor=val/accuracy is never measured; there are val/acc"),
        ({"monitor": "val/loss"}, "monitor=val/loss goes with mode=min, not max"),
        ({"mode": "min"}, "monitor=val/acc goes with mode=max, not min"),
        ({"callbacks": {"stop": {"monitor": "val_loss"}}}, "callbacks.stop.monitor=val_loss is never measured"),
        (
            {"callbacks": {"stop": {"monitor": "val/loss"}}},
            "callbacks.stop.monitor=val/loss goes with callbacks.stop.mode=min",
        ),
        ({"monitor": None, "scheduler": PLATEAU}, "scheduler=plateau waits for a score"),
        ({"trainer": {"max_epochs": -1}}, "needs the length of the run: type trainer.max_epochs=20"),
        ({"trainer": {"max_epochs": None, "max_time": "00:01:00:00"}}, "needs the length of the run"),
        (
            {"trainer": {"max_epochs": -1}, "scheduler": None, "model": {"mix_until": 0.8}},
            "model.mix_until=0.8 depends on the length of the run, which has no end: type trainer.max_epochs=20",
        ),
        ({"data": {"batch_size": 0}}, "data.batch_size=0 must be at least 1"),
        ({"model": UNFREEZING, "trainer": {"strategy": "ddp"}}, "ddp_find_unused_parameters_true"),
        ({"model": UNFREEZING, "trainer": {"devices": 2}}, "ddp_find_unused_parameters_true"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"seed": 2**32}, "seed=4294967296 must be at most 4294967295"),
        ({"data": {"num_workers": -1}}, "data.num_workers=-1 must be at least 0"),
        ({"model": {"backbone_lr": -1e-3}}, "model.backbone_lr=-0.001 must be at least 0"),
        (
            {"model": {"freeze_backbone": True}},
            "keeps random weights: type model.pretrained=true, or model.weights=FILE",
        ),
        ({"model": {"unfreeze_epoch": 2}}, "type model.freeze_backbone=true too"),
        (
            {"model": {"freeze_backbone": True, "pretrained": True, "layer_decay": 0.5}},
            "model.layer_decay has no effect",
        ),
        ({"model": {"unfreeze_epochs_per_stage": 2}}, "type model.unfreeze_epoch=1 too"),
        (
            {"model": {**UNFREEZING, "unfreeze_epochs_per_stage": 2}, "trainer": {"strategy": "fsdp"}},
            "does not suit trainer=fsdp",
        ),
        ({"optimizer": MUON, "trainer": {"strategy": "fsdp"}}, "type optimizer=adamw, or trainer=ddp"),
        ({"optimizer": SAM, "trainer": {"strategy": "fsdp"}}, "optimizer=sam needs whole weights"),
        ({"optimizer": SAM, "trainer": {"precision": "16-mixed"}}, "type trainer.precision=bf16-mixed"),
        ({"optimizer": SAM, "trainer": {"accumulate_grad_batches": 2}}, "type trainer.accumulate_grad_batches=1"),
        (
            {"optimizer": MUON, "model": {"freeze_backbone": True, "pretrained": True}},
            "freezes, all of them: type optimizer=adamw",
        ),
        ({"optimizer": MUON, "model": {"backbone_lr": 0.1}}, "type optimizer.lr in place of model.backbone_lr"),
        ({"trainer": {"limit_val_batches": 0}}, "so that monitor=val/acc is never logged: type monitor=train/loss"),
        (
            {"trainer": {"limit_val_batches": 0.0}, "callbacks": {"stop": {"monitor": "val/acc"}}},
            "type callbacks.stop.monitor=train/loss callbacks.stop.mode=min",
        ),
        (
            {"scheduler": {**PLATEAU, "monitor": "${monitor}"}, "trainer": {"check_val_every_n_epoch": 2}},
            "with trainer.check_val_every_n_epoch=2 some have none",
        ),
        (
            {"scheduler": {**PLATEAU, "monitor": "val/acc"}, "trainer": {"check_val_every_n_epoch": None}},
            "with trainer.check_val_every_n_epoch=null some have none",
        ),
        ({"model": {"freeze_backbone": True, "pretrained": True, "compile": "default"}}, "leave out one of the two"),
        (
            {"trainer": {"precision": "16-mixed", "gradient_clip_val": 1.0}, "optimizer": {"fused": True}},
            "type optimizer.fused=false",
        ),
        (
            {"trainer": {"logger": True}},
            "trainer.logger is set by the program; loggers are a group",
        ),
        ({"trainer": {"default_root_dir": "x"}}, "type hydra.run.dir=FOLDER"),
        ({"trainer": {"limit_test_batches": 0}}, "trainer.limit_test_batches=0 leaves nothing to score"),
        ({"data": {"resident": True, "num_workers": 4}}, "data.num_workers has no effect"),
        ({"data": {"resident": True, "pin_memory": True}}, "data.pin_memory has no effect"),
        ({"data": {"persistent_workers": True, "num_workers": 0}}, "needs data.num_workers of 1 or more"),
        (
            {"data": {"sampler": "balanced"}, "loss": {"_target_": "fer_lightning.models.losses.LogitAdjustedLoss"}},
            "correct for rare classes twice: leave out one of the two",
        ),
        (
            {"augmentation": {"ramp": 0.3}, "trainer": {"max_epochs": -1}, "scheduler": {"_target_": None}},
            "type trainer.max_epochs=20",
        ),
    ],
)
def test_a_broken_rule_says_what_to_type(more: dict[str, Any], said: str) -> None:
    (message,) = rules(base(**more))
    assert said in message


@pytest.mark.parametrize(
    "more",
    [
        {"monitor": "val/loss", "mode": "min", "scheduler": PLATEAU},
        {"trainer": {"max_epochs": -1, "max_steps": 100}},
        {"trainer": {"max_epochs": -1}, "scheduler": PLATEAU},
        {"model": UNFREEZING, "trainer": {"strategy": "ddp_find_unused_parameters_true"}},
        {"model": UNFREEZING, "trainer": {"devices": "1,", "accelerator": "mps"}},
        {"model": {"freeze_backbone": True, "weights": "file.pth"}},
        {"model": {"freeze_backbone": True}, "ckpt_path": "last.ckpt"},
        {"trainer": {"devices": 8}},
        {"trainer": {"limit_val_batches": 0}, "callbacks": None},
        {"trainer": {"limit_val_batches": 0}, "monitor": "train/acc"},
        {"trainer": {"limit_val_batches": None}},
        {"trainer": {"limit_val_batches": 0.5}},
        {"scheduler": {**PLATEAU, "monitor": "train/acc"}, "trainer": {"check_val_every_n_epoch": 2}},
        {"trainer": {"check_val_every_n_epoch": 2}},
        {"model": {"compile": "default"}},
        {"trainer": {"precision": "bf16-mixed", "gradient_clip_val": 1.0}, "optimizer": {"fused": True}},
        {"data": {"resident": True, "num_workers": "auto", "pin_memory": "auto"}},
        {"data": {"persistent_workers": True, "num_workers": "auto"}},
    ],
)
def test_a_rule_that_is_kept_says_nothing(more: dict[str, Any]) -> None:
    assert rules(base(**more)) == []


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="needs a machine without GPU"
)
@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
def test_a_gpu_that_is_not_there(accelerator: str) -> None:
    (message,) = rules(base(trainer={"accelerator": accelerator}))
    assert message == f"trainer.accelerator={accelerator}, but no GPU is usable here: type trainer=cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("devices", [99, "99", "0,98", [0, 98]])
def test_more_gpus_than_there_are(devices: Any) -> None:
    (message,) = rules(base(trainer={"accelerator": "gpu", "devices": devices}))
    assert f"this machine has {torch.cuda.device_count()} GPU" in message
