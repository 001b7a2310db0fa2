"""What has to hold between settings that are each right by themselves, and the ranges of single numbers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.signatures import locate, read_signature
from fer_lightning.config.trainer_arguments import PASSED
from fer_lightning.system.resources import launched_rank, listed_devices

FP16 = ("16-mixed", "16")
MONITORS = {"val/acc": "max", "val/f1_macro": "max", "val/loss": "min", "train/acc": "max", "train/loss": "min"}
# smallest and largest value; the constructors check the others, these would reach a library that says it less well
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "window": (0.05, 3600),
    "windows": (2, 1000),
    "rows": (1, 100_000),
    "top": (2, 1000),
    "data.seed": (0, 2**32 - 1),
    "data.draw_seed": (0, 2**32 - 1),
    "data.batch_size": (1, float("inf")),
    "data.num_workers": (0, float("inf")),
    "model.backbone_lr": (0, float("inf")),
}


def rules(cfg: DictConfig) -> list[str]:
    """Return what is wrong, one line a rule that is broken, each with what to type instead."""
    values = (_range_rules, _monitor_rules, _validation_rules, _schedule_rules)
    steps = (_frozen_rules, _compile_rules, _clipping_rules)
    runs = (_trainer_rules, _delivery_rules, _device_rules, _launcher_rules, _trial_rules, _benchmark_rules)
    return [problem for family in (*values, *steps, *runs) for problem in family(cfg)]


def get(cfg: DictConfig, key: str) -> Any:
    """Return the value at a dotted key; None where there is none that can be had."""
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None


def _range_rules(cfg: DictConfig) -> Iterator[str]:
    for key, (least, most) in RANGES.items():
        parent, _, leaf = key.rpartition(".")
        node = get(cfg, parent) if parent else cfg
        value = _own(node, leaf) if isinstance(node, DictConfig) else None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not least <= value <= most:
            yield f"{key}={value} must be " + (f"at least {least}" if value < least else f"at most {most}")


def _monitor_rules(cfg: DictConfig) -> Iterator[str]:
    for path, node in [("", cfg), *_nodes(cfg, "")]:
        monitor = _own(node, "monitor")
        key = f"{path}.monitor" if path else "monitor"
        if monitor is not None and monitor not in MONITORS:
            yield f"{key}={monitor} is never logged; there are {', '.join(MONITORS)}"
        elif "monitor" in node and "mode" in node and (monitor or _own(node, "mode")):
            wanted, mode = MONITORS.get(get(node, "monitor")), get(node, "mode")
            if wanted and mode in ("min", "max") and mode != wanted:
                yield f"{key}={get(node, 'monitor')} goes with {key[: -len('monitor')]}mode={wanted}, not {mode}"


def _validation_rules(cfg: DictConfig) -> Iterator[str]:
    """A score of the validation images that is asked for where nothing computes it."""
    watched = [(path, node) for path, node in _nodes(cfg, "") if str(get(node, "monitor")).startswith("val/")]
    limit, every = (get(cfg, f"trainer.{key}") for key in ("limit_val_batches", "check_val_every_n_epoch"))
    if watched and isinstance(limit, (int, float)) and limit == 0:
        path, node = watched[0]
        place = "" if OmegaConf.is_interpolation(node, "monitor") else f"{path}."
        asked = f"{place}monitor={get(node, 'monitor')}"
        cure = f"{place}monitor=train/loss {place}mode=min"
        yield f"trainer.limit_val_batches={limit} skips validation, so that {asked} is never logged: type {cure}"
    for key in ("trainer.limit_test_batches", "trainer.limit_predict_batches"):
        if get(cfg, key) == 0:
            yield f"{key}=0 leaves nothing to score: type null, for all, or a number of batches"
    if _is_plateau(cfg) and "scheduler" in dict(watched) and "trainer" in cfg and every != 1:
        yield (
            f"scheduler=plateau reads {get(cfg, 'scheduler.monitor')} after each epoch, and with"
            f" trainer.check_val_every_n_epoch={'null' if every is None else every} some have none: type"
            " trainer.check_val_every_n_epoch=1, or scheduler.monitor=train/loss scheduler.mode=min"
        )


def _schedule_rules(cfg: DictConfig) -> Iterator[str]:
    if _is_plateau(cfg) and get(cfg, "monitor") is None and get(cfg, "scheduler.monitor") is None:
        yield "scheduler=plateau waits for a score to stop improving and needs monitor, e.g. monitor=val/loss mode=min"
    target = str(get(cfg, "scheduler._target_"))
    try:
        counts_steps = target != "None" and "total_steps" in read_signature(locate(target)).hints
    except ImportError:
        return
    ends = [get(cfg, f"trainer.{key}") for key in ("max_epochs", "max_steps")]
    if counts_steps and "trainer" in cfg and all(end in (None, -1) for end in ends):
        yield f"scheduler ({target}) must know the end: type trainer.max_epochs=20 or trainer.max_steps=5000"


def _frozen_rules(cfg: DictConfig) -> Iterator[str]:
    frozen, thaw = get(cfg, "model.freeze_backbone") is True, get(cfg, "model.unfreeze_epoch")
    learnt = get(cfg, "model.pretrained") is True or get(cfg, "model.weights") or get(cfg, "ckpt_path")
    if frozen and not learnt:
        yield (
            "model.freeze_backbone=true keeps weights that nothing has trained yet:"
            " type model.pretrained=true, or model.weights=FILE"
        )
    if thaw is not None and not frozen:
        yield f"model.unfreeze_epoch={thaw} thaws what is not frozen: type model.freeze_backbone=true too"
    strategy = str(get(cfg, "trainer.strategy"))
    parallel = strategy.startswith("ddp") or (strategy == "auto" and _ranks(cfg) > 1)
    if frozen and thaw is not None and parallel and "find_unused_parameters_true" not in strategy:
        yield (
            "model.unfreeze_epoch under DDP leaves parameters without gradients at first:"
            " type trainer.strategy=ddp_find_unused_parameters_true"
        )


def _compile_rules(cfg: DictConfig) -> Iterator[str]:
    if get(cfg, "model.compile") is not None and get(cfg, "model.freeze_backbone") is True:
        yield "model.compile compiles what model.freeze_backbone=true leaves as it is: leave out one of the two"


def _clipping_rules(cfg: DictConfig) -> Iterator[str]:
    clips, fused = get(cfg, "trainer.gradient_clip_val"), get(cfg, "optimizer.fused")
    if clips and fused is True and str(get(cfg, "trainer.precision")) in FP16:
        yield (
            f"trainer.gradient_clip_val={clips} needs gradients that a fused optimizer has not unscaled yet in fp16:"
            " type optimizer.fused=false"
        )


def _delivery_rules(cfg: DictConfig) -> Iterator[str]:
    """What is asked of loader processes that there will not be."""
    workers = get(cfg, "data.num_workers")
    some = isinstance(workers, int) and workers > 0
    if get(cfg, "data.resident") is True:
        asked = {"num_workers": some, "pin_memory": get(cfg, "data.pin_memory") is True}
        for key in (key for key, wanted in asked.items() if wanted):
            yield f"data.resident=true reads nothing from disk, so data.{key} has no effect: leave out one of the two"
    if get(cfg, "data.persistent_workers") is True and workers == 0:
        yield "data.persistent_workers=true needs data.num_workers of 1 or more"


def _device_rules(cfg: DictConfig) -> Iterator[str]:
    accelerator = get(cfg, "trainer.accelerator")
    wanted = max(listed_devices(_devices(cfg)), default=-1) + 1
    if accelerator not in ("gpu", "cuda", "auto") or (accelerator == "auto" and wanted <= 1):
        return
    import torch  # only here: a configuration without a GPU is checked without it

    present = torch.cuda.device_count()
    if accelerator == "gpu" and torch.backends.mps.is_available():
        present = 1
    if present == 0 and accelerator != "auto":
        yield f"trainer.accelerator={accelerator}, but no GPU is usable here: type trainer=cpu"
    elif 0 < present < wanted:
        asked, have = f"trainer.devices={get(cfg, 'trainer.devices')}", f"{present} GPU{'s' * (present > 1)}"
        yield f"{asked}, but this machine has {have}: type trainer.devices={present} or trainer=cpu"


def _launcher_rules(cfg: DictConfig) -> Iterator[str]:
    """Processes that a launcher started for one run, and that would each be a run of its own."""
    rank = launched_rank()
    if rank is None or "trainer" not in cfg:
        return
    asked = f"trainer.devices={get(cfg, 'trainer.devices')} trainer.num_nodes={get(cfg, 'trainer.num_nodes')}"
    if "TORCHELASTIC_RUN_ID" in os.environ:
        count, each = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if count != _ranks(cfg):
            cure = f"trainer=ddp trainer.devices={each} trainer.num_nodes={count // each}"
            yield f"torchrun started {count} process{'es' * (count > 1)}, which is not {asked}: type {cure}"
    elif rank > 0 and _ranks(cfg) == 1:
        yield (
            f"srun started {os.environ['SLURM_NTASKS']} tasks, and {asked} is one process: type trainer=ddp with as"
            " many trainer.devices as --ntasks-per-node and trainer.num_nodes as --nodes, or srun --ntasks=1"
        )


def _trainer_rules(cfg: DictConfig) -> Iterator[str]:
    for name, cure in PASSED.items():
        if get(cfg, f"trainer.{name}") is not None:
            yield f"trainer.{name} is set by the program; {cure}"


def _trial_rules(cfg: DictConfig) -> Iterator[str]:
    if "trial" in (get(cfg, "sweep") or ()) and get(cfg, "sweep.trial") is None:
        yield "sweep=optuna and the search spaces are for many runs: add -m, or leave them out for one"


def _benchmark_rules(cfg: DictConfig) -> Iterator[str]:
    if "suite" not in cfg:
        return
    if get(cfg, "suite") == []:
        yield "suite=[] leaves nothing to measure: type suite=[train], for example"
    if _ranks(cfg) > 1:
        yield "the benchmark measures one device: type trainer.devices=1 trainer.num_nodes=1"


def _ranks(cfg: DictConfig) -> int:
    """Return how many processes a run would have, as far as this machine tells."""
    nodes, devices = get(cfg, "trainer.num_nodes"), _devices(cfg)
    count = len(listed_devices(devices))
    if devices in ("auto", -1, "-1") and get(cfg, "trainer.accelerator") in ("gpu", "cuda", "auto"):
        import torch  # only here, as above

        count = torch.cuda.device_count()
    return max(count, 1) * (nodes if isinstance(nodes, int) else 1)


def _devices(cfg: DictConfig) -> Any:
    devices = get(cfg, "trainer.devices")
    if isinstance(devices, ListConfig):
        return list(devices)
    return devices if isinstance(devices, (int, str)) and not isinstance(devices, bool) else None


def _is_plateau(cfg: DictConfig) -> bool:
    return str(get(cfg, "scheduler._target_")).lower().endswith("plateau")


def _nodes(node: DictConfig, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield every mapping below `node` with its dotted path."""
    for key in node:
        child = None if OmegaConf.is_interpolation(node, key) else get(node, str(key))
        if isinstance(child, DictConfig):
            here = f"{path}.{key}" if path else str(key)
            yield here, child
            yield from _nodes(child, here)


def _own(node: DictConfig, key: str) -> Any:
    """Return a value that stands here itself; an interpolation is judged where its value stands."""
    return None if key not in node or OmegaConf.is_interpolation(node, key) else get(node, key)
