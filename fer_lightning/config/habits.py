"""What people type who come from Lightning 1, Keras, timm or argparse, and what it is called here."""

from __future__ import annotations

# last part of a setting, in lower case, and what to type for it; `{}` stands for its value, an empty text: nothing
NAMES = {
    "epochs": "trainer.max_epochs={}",
    "num_epochs": "trainer.max_epochs={}",
    "n_epochs": "trainer.max_epochs={}",
    "steps": "trainer.max_steps={}",
    "learning_rate": "optimizer.lr={}",
    "wd": "optimizer.weight_decay={}",
    "optim": "optimizer={}",
    "arch": "model.backbone={}",
    "network": "model.backbone={}",
    "model_name": "model.backbone={}",
    "dropout": "model.drop_rate={}",
    "lr_scheduler": "scheduler={}",
    "seed_everything": "seed={}",
    "num_classes": "",
    "train": "",
    "test": "split=test",
    "debug": "trainer=debug",
    "val_split": "data.holdout={}",
    "validation_split": "data.holdout={}",
    "shuffle": "data.sampler=shuffle",
    "augment": "augmentation=standard",
    "bs": "data.batch_size={}",
    "batch": "data.batch_size={}",
    "data_dir": "data.root={}",
    "data_path": "data.root={}",
    "data_root": "data.root={}",
    "dataset": "data.root={}",
    "img_size": "data.image_size={}",
    "imgsz": "data.image_size={}",
    "workers": "data.num_workers={}",
    "gpu": "trainer=gpu trainer.devices={}",
    "gpus": "trainer=gpu trainer.devices={}",
    "device": "trainer.accelerator={}",
    "checkpoint": "ckpt_path={}",
    "resume": "ckpt_path={}",
    "out": "hydra.run.dir={}",
    "output": "hydra.run.dir={}",
    "outdir": "hydra.run.dir={}",
}
# arguments of the Trainer before Lightning 2, likewise; an empty text: nothing has taken its place
TRAINER = {
    **{key: NAMES[key] for key in ("gpus", "epochs", "num_epochs", "learning_rate")},
    "num_processes": "trainer.devices={}",
    "resume_from_checkpoint": "ckpt_path={}",
    "weights_save_path": "hydra.run.dir={}",
    "distributed_backend": "trainer.strategy={}",
    "progress_bar_refresh_rate": "trainer.enable_progress_bar=true",
    "weights_summary": "trainer.enable_model_summary=true",
    "checkpoint_callback": "'~callbacks.best_checkpoint' '~callbacks.last_checkpoint'",
    "early_stop_callback": "callbacks.early_stopping.patience=10",
    "train_percent_check": "trainer.limit_train_batches={}",
    "val_percent_check": "trainer.limit_val_batches={}",
    "test_percent_check": "trainer.limit_test_batches={}",
    "overfit_pct": "trainer.overfit_batches={}",
    "max_nb_epochs": "trainer.max_epochs={}",
    "min_nb_epochs": "trainer.min_epochs={}",
    "nb_sanity_val_steps": "trainer.num_sanity_val_steps={}",
    "row_log_interval": "trainer.log_every_n_steps={}",
    "gradient_clip": "trainer.gradient_clip_val={}",
    "replace_sampler_ddp": "trainer.use_distributed_sampler={}",
    "terminate_on_nan": "trainer.detect_anomaly={}",
    "reload_dataloaders_every_epoch": "trainer.reload_dataloaders_every_n_epochs=1",
    **dict.fromkeys(
        (
            *("tpu_cores", "ipus", "hpus", "auto_select_gpus", "auto_lr_find", "auto_scale_batch_size", "amp_level"),
            *("amp_backend", "track_grad_norm", "truncated_bptt_steps", "process_position", "prepare_data_per_node"),
            *("multiple_trainloader_mode", "move_metrics_to_cpu", "flush_logs_every_n_steps", "log_save_interval"),
        ),
        "",
    ),
}
# other spellings of a value, by setting
VALUES = {
    "split": dict.fromkeys(("val", "valid", "dev", "eval", "publictest"), "validation"),
    "trainer.precision": {
        **dict.fromkeys(("fp16", "float16", "half"), "16-mixed"),
        **dict.fromkeys(("bfloat16", "mixed", "amp"), "bf16-mixed"),
        **dict.fromkeys(("fp32", "float32", "float", "single", "full"), "32-true"),
        **dict.fromkeys(("fp64", "float64", "double"), "64-true"),
    },
    "trainer.accelerator": dict.fromkeys(("ddp", "dp", "null", "none"), "auto"),
}


def instead_of(key: str, value: str) -> str | None:
    """Return what to type for a setting under the name that it has elsewhere; None where it is no such name.

    >>> instead_of("epochs", "10"), instead_of("trainer.gpus", "2"), instead_of("trainer.ipus", "1")
    ('trainer.max_epochs=10', 'trainer=gpu trainer.devices=2', '')
    """
    parent, _, leaf = key.rpartition(".")
    typed = {"": NAMES, "trainer": TRAINER, "data": NAMES, "model": NAMES, "optimizer": NAMES}.get(parent, {})
    text = typed.get(leaf.lower().replace("-", "_"))
    if text == NAMES["gpus"] and value == "0":
        return "trainer=cpu"
    return None if text is None else text.replace("{}", value)
