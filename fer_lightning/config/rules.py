"""Rules between settings that are each valid by themselves, and the ranges of single numbers."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.advice import duration
from fer_lightning.config.allowed import allowed_modules, resolve_target
from fer_lightning.config.devices import check_devices, check_ranks, processes
from fer_lightning.config.given import replaced
from fer_lightning.config.nodes import get, own_value, walk
from fer_lightning.config.selection import monitors
from fer_lightning.config.signatures import read_signature

FP16 = ("16-mixed", "16", 16)
# smallest and largest value of numbers whose range no constructor of ours checks
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "window": (0.05, 3600),
    "windows": (2, 1000),
    "rows": (1, 100_000),
    "top": (2, 1000),
    "threshold": (0, 1),
    "every": (1, float("inf")),
    "smooth": (0, float("inf")),
    "hold": (0, float("inf")),
    "port": (0, 65535),
    "queue": (1, 10_000),
    "max_upload": (0.001, 1000),
    "per_class": (1, 100_000),
    "data.seed": (0, 2**32 - 1),
    "data.draw_seed": (0, 2**32 - 1),
    "data.batch_size": (1, float("inf")),
    "data.num_workers": (0, float("inf")),
    "model.backbone_lr": (0, float("inf")),
    "trainer.num_nodes": (1, float("inf")),
    "trainer.max_epochs": (-1, float("inf")),
    "trainer.max_steps": (-1, float("inf")),
    "trainer.accumulate_grad_batches": (1, float("inf")),
    "trainer.check_val_every_n_epoch": (1, float("inf")),
    "trainer.log_every_n_steps": (1, float("inf")),
    "trainer.num_sanity_val_steps": (-1, float("inf")),
    "trainer.gradient_clip_val": (0, float("inf")),
    "callbacks.early_stopping.patience": (0, float("inf")),
    "callbacks.ema.update_every_n_steps": (1, float("inf")),
}

# what changes in the course of a run, and the value that changes nothing
COURSE = {
    "model.mix_until": 1,
    "callbacks.progressive_resizing.start_size": None,
    "callbacks.ema.horizon": None,
    "callbacks.swa.start": None,
}


def rules(cfg: DictConfig) -> list[str]:
    """Return one line for each broken rule: what is wrong, and what to type instead."""
    checks = (replaced, _ranges, _lengths, _empty_paths, monitors, _validation, _schedule, _course, _combinations)
    return [problem for check in (*checks, _searches, check_devices, check_ranks) for problem in check(cfg)]


def _ranges(cfg: DictConfig) -> Iterator[str]:
    for key, (least, most) in RANGES.items():
        parent, _, leaf = key.rpartition(".")
        node = get(cfg, parent) if parent else cfg
        value = own_value(node, leaf) if isinstance(node, DictConfig) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value <= most:
            word, bound = ("least", least) if value < least else ("most", most)
            yield f"{key}={value} must be at {word} {bound}: type {key}={bound}"


def _lengths(cfg: DictConfig) -> Iterator[str]:
    """Check how long a run is, in batches and in time."""
    for name in ("limit_train_batches", "limit_val_batches", "limit_predict_batches", "limit_test_batches"):
        limit, key = get(cfg, f"trainer.{name}"), f"trainer.{name}"
        if isinstance(limit, bool) or not isinstance(limit, (int, float)):
            continue
        if limit < 0 or (isinstance(limit, float) and limit > 1):
            yield f"{key}={limit} is no number of batches and no fraction of them: type {key}=null, for all"
        elif limit == 0 and name != "limit_val_batches":
            use = "train on" if name == "limit_train_batches" else "score"
            yield f"{key}=0 leaves nothing to {use}: type {key}=null, for all, or a number of batches"
    longest = get(cfg, "trainer.max_time")
    if isinstance(longest, str) and not re.fullmatch(r"\d+:\d\d:\d\d:\d\d", longest):
        cure = duration(longest) or "00:02:00:00"
        yield f"trainer.max_time={longest} is not days:hours:minutes:seconds: type trainer.max_time={cure}"


def _empty_paths(cfg: DictConfig) -> Iterator[str]:
    """Check paths that would mean the current folder, as `data.root=$DATA` does where that variable has no value."""
    for key in ("data.root", "data.cache_dir", "output_dir"):
        value = get(cfg, key)
        if isinstance(value, str) and not value.strip():
            variable = ", or leave FER_LIGHTNING_CACHE unset" if key == "data.cache_dir" else ""
            yield f"{key} is empty, as if a variable had no value: type {key}=PATH{variable}"


def _validation(cfg: DictConfig) -> Iterator[str]:
    """Check that the scores of the validation images that others read are computed."""
    limit, every = (get(cfg, f"trainer.{key}") for key in ("limit_val_batches", "check_val_every_n_epoch"))
    watching = {path: node for path, node in walk(cfg, "") if path and str(get(node, "monitor")).startswith("val/")}
    if watching and limit == 0 and limit is not False:
        path, node = next(iter(watching.items()))
        path = "" if OmegaConf.is_interpolation(node, "monitor") else path
        asked, cure = f"{path}monitor={get(node, 'monitor')}", f"{path}monitor=train/loss {path}mode=min"
        yield f"trainer.limit_val_batches={limit} skips validation, so that {asked} is never logged: type {cure}"
    if _is_plateau(cfg) and "scheduler." in watching and "trainer" in cfg and every != 1:
        yield (
            f"scheduler=plateau reads {get(cfg, 'scheduler.monitor')} after each epoch, and with"
            f" trainer.check_val_every_n_epoch={'null' if every is None else every} some have none: type"
            " trainer.check_val_every_n_epoch=1, or scheduler.monitor=train/loss scheduler.mode=min"
        )


def _schedule(cfg: DictConfig) -> Iterator[str]:
    target = get(cfg, "scheduler._target_")
    if _is_plateau(cfg) and get(cfg, "monitor") is None and get(cfg, "scheduler.monitor") is None:
        yield "scheduler=plateau waits for a score to stop improving and needs monitor, e.g. monitor=val/loss mode=min"
    try:
        schedule = None if target is None else resolve_target(str(target), "scheduler", allowed_modules(cfg))
        needs_steps = target is not None and "total_steps" in read_signature(schedule).hints
    except ImportError:  # reported by the check of targets
        return
    if needs_steps and _has_no_end(cfg):
        yield f"scheduler ({target}) needs the length of the run: type trainer.max_epochs=20 or trainer.max_steps=5000"


def _course(cfg: DictConfig) -> Iterator[str]:
    """Check that what changes in the course of a run can know how long the run is."""
    for key, usual in COURSE.items() if _has_no_end(cfg) else ():
        if (value := get(cfg, key)) not in (None, usual):
            cure = "type trainer.max_epochs=20 or trainer.max_steps=5000"
            yield f"{key}={value} depends on the length of the run, which has no end: {cure}"


def _has_no_end(cfg: DictConfig) -> bool:
    return "trainer" in cfg and all(get(cfg, f"trainer.{key}") in (None, -1) for key in ("max_epochs", "max_steps"))


def _combinations(cfg: DictConfig) -> Iterator[str]:
    """Check for settings that do not work together, or not without another."""
    value = functools.partial(get, cfg)
    frozen, unfreeze = value("model.freeze_backbone") is True, value("model.unfreeze_epoch")
    if frozen and not (value("model.pretrained") is True or value("model.weights") or value("ckpt_path")):
        yield "model.freeze_backbone=true keeps random weights: type model.pretrained=true, or model.weights=FILE"
    if frozen and value("model.compile") is not None:
        yield "model.compile has no effect on what model.freeze_backbone=true freezes: leave out one of the two"
    for key, default in (("backbone_lr", None), ("layer_decay", 1)):
        if frozen and unfreeze is None and value(f"model.{key}") not in (None, default):
            yield f"model.{key} has no effect on what model.freeze_backbone=true freezes: leave out one of the two"
    if unfreeze is not None and not frozen:
        yield f"model.unfreeze_epoch={unfreeze} needs a frozen backbone: type model.freeze_backbone=true too"
    per_stage = value("model.unfreeze_epochs_per_stage")
    if per_stage is not None and unfreeze is None:
        yield f"model.unfreeze_epochs_per_stage={per_stage} needs a beginning: type model.unfreeze_epoch=1 too"
    if per_stage is not None and "fsdp" in str(value("trainer.strategy")):
        yield "model.unfreeze_epochs_per_stage does not suit trainer=fsdp, which joins stages: leave it out"
    strategy, unused = str(value("trainer.strategy")), "ddp_find_unused_parameters_true"
    ddp = strategy.startswith("ddp") or (strategy == "auto" and processes(cfg) > 1)
    if unfreeze is not None and frozen and ddp and not strategy.startswith(unused):
        yield f"model.unfreeze_epoch under DDP leaves parameters without gradients: type trainer.strategy={unused}"
    yield from _optimizer(cfg)
    if value("model.teachers") == []:
        yield "model.teachers=[] is nobody to learn from: type 'model.teachers=[<run folder>/checkpoints/best.ckpt]'"
    clip = value("trainer.gradient_clip_val")
    if clip and value("optimizer.fused") is True and value("trainer.precision") in FP16:
        yield f"trainer.gradient_clip_val={clip} in fp16 needs another optimizer step: type optimizer.fused=false"
    if value("augmentation.ramp") and value("trainer.max_epochs") in (None, -1):
        yield "augmentation.ramp is a fraction of trainer.max_epochs, which is unlimited: type trainer.max_epochs=20"
    if value("data.sampler") == "balanced" and str(value("loss._target_")).endswith("LogitAdjustedLoss"):
        yield "loss=logit_adjusted and data.sampler=balanced correct for rare classes twice: leave out one of the two"
    for key in ("data.num_workers", "data.pin_memory"):
        if value("data.resident") is True and isinstance(value(key), int) and value(key) > 0:
            yield f"data.resident=true reads nothing from disk, so {key} has no effect: leave out one of the two"
    if value("data.persistent_workers") is True and value("data.num_workers") == 0:
        yield "data.persistent_workers=true needs data.num_workers of 1 or more: type data.num_workers=1"
    if "trial" in (value("sweep") or ()) and value("sweep.trial") is None:
        yield "sweep=optuna and the search spaces are for many runs: add -m, or leave them out for one"
    if "suite" in cfg and value("suite") == []:
        yield "suite=[] leaves nothing to measure: type suite=[train], for example"
    if "suite" in cfg and processes(cfg) > 1:
        yield "the benchmark measures one device: type trainer.devices=1 trainer.num_nodes=1"


def _optimizer(cfg: DictConfig) -> Iterator[str]:
    name = str(get(cfg, "optimizer._target_")).rpartition(".")[2].lower()
    if name not in ("muon", "sam"):
        return
    if "fsdp" in str(get(cfg, "trainer.strategy")):
        yield f"optimizer={name} needs whole weights, which trainer=fsdp cuts: type optimizer=adamw, or trainer=ddp"
    if name == "muon" and get(cfg, "model.backbone_lr") is not None:
        yield "optimizer=muon has a rate for hidden weights: type optimizer.lr in place of model.backbone_lr"
    if name == "muon" and get(cfg, "model.freeze_backbone") is True and get(cfg, "model.unfreeze_epoch") is None:
        yield "optimizer=muon is for weights that model.freeze_backbone=true freezes, all of them: type optimizer=adamw"
    if name == "sam" and get(cfg, "trainer.precision") in FP16:
        yield "optimizer=sam computes gradients twice, which fp16 cannot scale: type trainer.precision=bf16-mixed"
    batches = get(cfg, "trainer.accumulate_grad_batches")
    if name == "sam" and isinstance(batches, int) and batches > 1:
        yield (
            f"optimizer=sam computes each gradient twice and cannot sum those of {batches} batches: type "
            "trainer.accumulate_grad_batches=1, or another optimizer"
        )


def _searches(cfg: DictConfig) -> Iterator[str]:
    """Check that what a run is to find by itself can be found."""
    wanted = [key for key in ("tune.lr", "tune.batch_size") if get(cfg, key) is True]
    if wanted and processes(cfg) > 1:
        one = f"trainer=default trainer.devices=1 {wanted[0]}=true"
        yield f"{wanted[0]}=true searches on one device: type {one} first, and then what it finds for all of them"
    rate = get(cfg, "optimizer.lr")
    if "tune.lr" in wanted and not (isinstance(rate, (int, float)) and rate > 0):
        now = "null" if rate is None else rate
        yield f"tune.lr=true sets optimizer.lr, which is {now} now: type optimizer.lr=1e-3, or tune.lr=false"


def _is_plateau(cfg: DictConfig) -> bool:
    return str(get(cfg, "scheduler._target_")).lower().endswith("plateau")
