"""Where `conf/` is, and whether a composed configuration can work: every problem in one message, before any work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from fer_lightning.errors import ConfigError
from fer_lightning.near import did_you_mean
from fer_lightning.signatures import describe, fits, locate, read_signature

MONITORS = {"val/acc": "max", "val/f1_macro": "max", "val/loss": "min", "train/loss": "min"}
AUTO = ("trainer.precision", "trainer.accelerator", "data.num_workers", "data.holdout", "model.channels_last")
# the few values that no constructor takes, so that no signature says what they are
SCALARS = {"seed": int | None, "monitor": str | None, "mode": Literal["min", "max"], "ckpt_path": str | None}
HYDRA_KEYS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


def conf_dir() -> Path:
    """Return the folder of the YAML files: inside the package when installed, beside it in a checkout.

    Raises:
        ConfigError: it is in neither place.
    """
    package = Path(__file__).resolve().parent
    places = (package / "conf", package.parent / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise ConfigError(f"no conf/train.yaml in {places[0]} nor in {places[1]}: install fer_lightning again")


def check_config(cfg: DictConfig) -> None:
    """Check names, types and targets against the constructors' signatures, then the rules between settings.

    Ranges are the constructors' own affair. Arguments that are handed over in Python later may be absent.

    Raises:
        ConfigError: lists every problem, each with its key.
    """
    scalars = [text for key, hint in SCALARS.items() if key in cfg for text in _value_problem(cfg, key, key, hint)]
    problems = [*scalars, *_problems(cfg, ""), *rules(cfg)]
    if len(problems) == 1:
        raise ConfigError(problems[0])
    if problems:
        lines = [f"  {number}. {problem}" for number, problem in enumerate(problems, 1)]
        raise ConfigError("\n".join([f"{len(problems)} settings cannot work:", *lines]))


def rules(cfg: DictConfig) -> list[str]:
    """Return what is wrong between settings that are each right by themselves."""
    return [*_monitor_rules(cfg), *_schedule_rules(cfg), *_device_rules(cfg), *_other_rules(cfg)]


def _problems(node: DictConfig | ListConfig, path: str) -> Iterator[str]:
    """Walk without resolving, so that one bad value hides no other."""
    if isinstance(node, DictConfig) and "_target_" in node:
        yield from _target_problems(node, path)
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        here = f"{path}.{key}" if path else str(key)
        if OmegaConf.is_missing(node, key):
            yield f"{here} has no value: type {here}=VALUE"
            continue
        try:
            child = node[key]
        except InterpolationToMissingValueError:
            continue  # told where the value itself is missing
        except OmegaConfBaseException as error:
            raw = OmegaConf.to_container(node, resolve=False)[key]
            yield f"{here} is {raw}: {str(error).splitlines()[0]}"
            continue
        if OmegaConf.is_config(child) and not OmegaConf.is_interpolation(node, key):
            yield from _problems(child, here)


def _target_problems(node: DictConfig, path: str) -> Iterator[str]:
    target = _get(node, "_target_")
    if target is None:
        return
    try:
        signature = read_signature(locate(str(target)))
    except ImportError as error:
        yield f"{path}._target_: {error}"
        return
    for key in node:
        if key in HYDRA_KEYS:
            continue
        here = f"{path}.{key}"
        if key in signature.hints:
            yield from _value_problem(node, key, here, signature.hints[key])
        elif not signature.takes_any:
            yield f"{target} takes no {here}{did_you_mean(str(key), signature.hints, prefix=f'{path}.')}"


def _value_problem(node: DictConfig, key: str, here: str, hint: Any) -> Iterator[str]:
    if OmegaConf.is_missing(node, key):
        return
    try:
        value = node[key]
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    except OmegaConfBaseException:
        return  # told by the walk
    if (plain == "auto" and here in AUTO) or fits(plain, hint):
        return
    source = str(OmegaConf.to_container(node, resolve=False)[key])[2:-1]
    if OmegaConf.is_interpolation(node, key) and source in SCALARS and not fits(plain, SCALARS[source]):
        return  # told where the value itself stands
    shown = "null" if plain is None else plain
    quote = f"; type \"{here}='{plain}'\"" if fits(str(plain), hint) and isinstance(plain, (int, float)) else ""
    yield f"{here}={shown} is not {describe(hint)}{quote}"


def _monitor_rules(cfg: DictConfig) -> Iterator[str]:
    for path, node in [("", cfg), *_nodes(cfg, "")]:
        monitor = _own(node, "monitor")
        key = f"{path}.monitor" if path else "monitor"
        if monitor is not None and monitor not in MONITORS:
            yield f"{key}={monitor} is never logged; there are {', '.join(MONITORS)}"
        elif "monitor" in node and "mode" in node and (monitor or _own(node, "mode")):
            wanted, mode = MONITORS.get(_get(node, "monitor")), _get(node, "mode")
            if wanted and mode in ("min", "max") and mode != wanted:
                yield f"{key}={_get(node, 'monitor')} goes with {key[: -len('monitor')]}mode={wanted}, not {mode}"


def _schedule_rules(cfg: DictConfig) -> Iterator[str]:
    target = str(_get(cfg, "scheduler._target_"))
    if target.lower().endswith("plateau") and _get(cfg, "monitor") is None and _get(cfg, "scheduler.monitor") is None:
        yield "scheduler=plateau waits for a score to stop improving and needs monitor, e.g. monitor=val/loss mode=min"
    try:
        counts_steps = target != "None" and "total_steps" in read_signature(locate(target)).hints
    except ImportError:
        return
    ends = [_get(cfg, f"trainer.{key}") for key in ("max_epochs", "max_steps")]
    if counts_steps and "trainer" in cfg and all(end in (None, -1) for end in ends):
        yield f"scheduler ({target}) must know the end: type trainer.max_epochs=20 or trainer.max_steps=5000"


def _device_rules(cfg: DictConfig) -> Iterator[str]:
    accelerator, wanted = _get(cfg, "trainer.accelerator"), _devices(_get(cfg, "trainer.devices"))
    if accelerator not in ("gpu", "cuda", "auto") or (accelerator == "auto" and wanted <= 1):
        return
    import torch  # only here: a configuration without a GPU is checked without it

    present = torch.cuda.device_count()
    if accelerator == "gpu" and torch.backends.mps.is_available():
        present = 1
    if present == 0 and accelerator != "auto":
        yield f"trainer.accelerator={accelerator}, but no GPU is usable here: type trainer=cpu"
    elif 0 < present < wanted:
        asked, have = f"trainer.devices={_get(cfg, 'trainer.devices')}", f"{present} GPU{'s' * (present > 1)}"
        yield f"{asked}, but this machine has {have}: type trainer.devices={present} or trainer=cpu"


def _other_rules(cfg: DictConfig) -> Iterator[str]:
    batch_size = _get(cfg, "data.batch_size")
    if isinstance(batch_size, int) and batch_size < 1:
        yield f"data.batch_size={batch_size} must be at least 1"
    strategy, devices = str(_get(cfg, "trainer.strategy")), _devices(_get(cfg, "trainer.devices"))
    parallel = strategy.startswith("ddp") or (strategy == "auto" and devices > 1)
    if parallel and "find_unused_parameters_true" not in strategy and _get(cfg, "model.unfreeze_epoch") is not None:
        yield (
            "model.unfreeze_epoch under DDP leaves parameters without gradients at first:"
            " type trainer.strategy=ddp_find_unused_parameters_true"
        )


def _devices(devices: Any) -> int:
    """Return how many devices, or up to which one, are asked for; 0 for `auto` and -1, which take what there is."""
    if isinstance(devices, str) and not devices.lstrip("-").isdigit():
        listed = [part for part in devices.split(",") if part.strip().isdigit()]
        return max((int(part) + 1 for part in listed), default=0)
    if isinstance(devices, ListConfig):
        return max((int(part) + 1 for part in devices if str(part).isdigit()), default=0)
    return max(0, int(devices)) if devices is not None and not isinstance(devices, DictConfig) else 0


def _nodes(node: DictConfig, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Yield every mapping below `node` with its dotted path."""
    for key in node:
        child = None if OmegaConf.is_interpolation(node, key) else _get(node, str(key))
        if isinstance(child, DictConfig):
            here = f"{path}.{key}" if path else str(key)
            yield here, child
            yield from _nodes(child, here)


def _own(node: DictConfig, key: str) -> Any:
    """Return a value that stands here itself; an interpolation is judged where its value stands."""
    return None if key not in node or OmegaConf.is_interpolation(node, key) else _get(node, key)


def _get(cfg: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(cfg, key)
    except OmegaConfBaseException:
        return None
