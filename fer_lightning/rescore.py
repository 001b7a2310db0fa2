"""One evaluation: a checkpoint, some data, a verdict."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import lightning.pytorch as pl
from omegaconf import DictConfig, OmegaConf

from fer_lightning import build, console, judge
from fer_lightning.callbacks import ProgressBar
from fer_lightning.environment import describe_environment
from fer_lightning.models.checkpoint import load_classifier
from fer_lightning.quiet import quieten

log = logging.getLogger(__name__)


def evaluate_checkpoint(cfg: DictConfig) -> float:
    """Score `cfg.ckpt_path` on `cfg.split` of `cfg.data`, with the image size and channels that the checkpoint names.

    Returns:
        the accuracy.

    Raises:
        UserError: checkpoint or data cannot be used.
    """
    quieten()
    model = load_classifier(cfg.ckpt_path)
    machine = build.settle_machine(cfg)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    cfg = OmegaConf.merge(cfg, {"data": {"image_size": model.hparams.image_size, "channels": model.hparams.channels}})
    if cfg.split == "all":
        cfg.data.split = [0.0, 0.0, 1.0]  # a folder without splits is scored whole
    data = build.build_data(cfg, machine)
    judge.check_classes(model, data, cfg.ckpt_path)
    split = data.report_split if cfg.split == "auto" else cfg.split
    for remark in (*data.remarks, machine.why):
        log.info(remark)
    trainer = build.build_trainer(cfg, machine, [ProgressBar()], [])
    table, images = judge.predict_split(trainer, model, data, split)
    metrics = {"accuracy": float((table["label"] == table["predicted"]).mean())}
    if trainer.is_global_zero:
        folder = Path(cfg.output_dir)
        record = describe_environment(machine=machine.as_dict(), data={"fingerprint": data.source.fingerprint})
        (folder / "environment.json").write_text(json.dumps(record, indent=2) + "\n")
        facts = {
            "split": split,
            "selected_on": "validation" if data.source.fingerprint == model.hparams.data_fingerprint else None,
            "checkpoint": str(cfg.ckpt_path),
            "model": model.hparams.backbone,
            "data": data.remarks[0],
        }
        metrics = judge.write_verdict(table, images, folder, **facts)
        console.print_results(metrics, folder)
    return metrics["accuracy"]
