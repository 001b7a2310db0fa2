"""What a configuration may instantiate: some libraries, in them what suits its key, and modules that the user names.

Continuing somebody's run or using somebody's YAML files must not run somebody's code. So `_target_` is a choice from a
list: its module is compared with the list before anything is imported, and what it names is compared with what belongs
under its key before it is called.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from omegaconf import Container, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.compose import has_whitelist
from fer_lightning.config.signatures import locate
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.former_names import TARGETS
from fer_lightning.core.suggestions import close_matches

MODULES = ("torch", "torchvision", "timm", "torchmetrics", "lightning", "albumentations", "fer_lightning")
# where functions count that say what they return; others of these libraries load files, as torch.hub.load does
FACTORIES = (
    *("fer_lightning.models.backbones", "fer_lightning.models.schedules", "fer_lightning.system.machine"),
    "torchvision.models",
)
# values of the standard library that arguments of Lightning are made of
PLAIN = ("datetime.timedelta",)
NAME = re.compile(r"(?!__)[^\W\d]\w*(\.(?!__)[^\W\d]\w*)*")  # a dotted name without a part such as __globals__


class Role(NamedTuple):
    """What belongs under a key."""

    name: str  # with its article
    bases: tuple[str, ...]  # classes that it is an instance of
    home: str  # module that near names are looked for in
    modules: tuple[str, ...] = ()  # where else it may come from


_CALLBACK = Role("a Callback of Lightning", ("lightning.pytorch.Callback",), "lightning.pytorch.callbacks")
_PLUGINS = ("Precision", "ClusterEnvironment", "CheckpointIO", "LayerSync")
_PRUNER = Role("a pruner of Optuna", ("optuna.pruners.BasePruner",), "optuna.pruners", ("optuna.pruners",))
ROLES = {
    "model": Role("a LightningModule", ("lightning.pytorch.LightningModule",), "fer_lightning.models.classifier"),
    "loss": Role("a loss (a torch.nn.Module)", ("torch.nn.Module",), "torch.nn"),
    "optimizer": Role("an optimizer (a torch.optim.Optimizer)", ("torch.optim.Optimizer",), "torch.optim"),
    "scheduler": Role(
        "a learning-rate schedule", ("torch.optim.lr_scheduler.LRScheduler",), "torch.optim.lr_scheduler"
    ),
    "data": Role(
        "an ExpressionDataModule",
        ("fer_lightning.data.datamodule.ExpressionDataModule",),
        "fer_lightning.data.datamodule",
    ),
    "augmentation": Role(
        "an Augmentation",
        ("fer_lightning.data.augmentation.spec.Augmentation",),
        "fer_lightning.data.augmentation.spec",
    ),
    "machine": Role("a Machine", ("fer_lightning.system.machine.Machine",), "fer_lightning.system.machine"),
    "tune": Role("a Tuning", ("fer_lightning.training.tuning.Tuning",), "fer_lightning.training.tuning"),
    "callbacks.*": _CALLBACK,
    "logger.*": Role("a Logger of Lightning", ("lightning.pytorch.loggers.Logger",), "lightning.pytorch.loggers"),
    "trainer": Role("a Trainer of Lightning", ("lightning.pytorch.Trainer",), "lightning.pytorch"),
    "trainer.strategy": Role(
        "a Strategy of Lightning", ("lightning.pytorch.strategies.Strategy",), "lightning.pytorch.strategies"
    ),
    "trainer.accelerator": Role(
        "an Accelerator of Lightning",
        ("lightning.pytorch.accelerators.Accelerator",),
        "lightning.pytorch.accelerators",
    ),
    "trainer.profiler": Role(
        "a Profiler of Lightning", ("lightning.pytorch.profilers.Profiler",), "lightning.pytorch.profilers"
    ),
    "trainer.plugins": Role(
        "a plugin of Lightning",
        tuple(f"lightning.pytorch.plugins.{name}" for name in _PLUGINS),
        "lightning.pytorch.plugins",
    ),
    "sweep.pruner": _PRUNER,
    "callbacks.*.pruner": _PRUNER,
}
# an argument of one of these, or what stands under a key of the user's own: any of them, or a part of one
_PART = Role(
    "a network, callback or other part of a training",
    (
        *(base for role in ROLES.values() for base in role.bases),
        "torchmetrics.Metric",
        "albumentations.BasicTransform",
        "albumentations.BaseCompose",
        "torch.distributed.fsdp.MixedPrecision",
        "torch.distributed.fsdp.CPUOffload",
    ),
    "torch.nn",
)


def allowed_modules(cfg: Container) -> tuple[str, ...]:
    """Return the modules of the user's own that `security.allow` of a composed configuration names.

    Raises:
        ConfigError: it does not hold names of modules.
    """
    try:
        found = OmegaConf.select(cfg, "security.allow")
    except OmegaConfBaseException as error:
        raise ConfigError(f"security.allow cannot be read: {error}") from error
    names = [found] if isinstance(found, str) else [] if found is None else found
    if OmegaConf.is_dict(names) or (not OmegaConf.is_list(names) and not isinstance(names, list)):
        raise ConfigError(f"security.allow={found} is not a list of modules: type security.allow=[my_package]")
    for name in names:
        if not isinstance(name, str) or NAME.fullmatch(name) is None:
            cure = "type security.allow=[my_package], for example"
            raise ConfigError(f"security.allow: '{name}' is not the name of a module; {cure}")
    return tuple(names)


def resolve_target(target: str, key: str, own: Sequence[str]) -> Any:
    """Import the class or function that `key._target_` names, if a configuration may instantiate it there.

    Args:
        target: dotted name.
        key: dotted key of the node that holds it.
        own: the user's own modules, see `allowed_modules`.

    Raises:
        ImportError: the list does not hold its module, which is then not imported; nothing callable is there; or it is
            not what belongs under the key. The message names near ones.
    """
    role, is_own = _role_of(key), _is_in(target, own)
    if target in PLAIN:
        return locate(target)
    if target not in TARGETS and not (NAME.fullmatch(target) and (is_own or _is_in(target, (*MODULES, *role.modules)))):
        raise ImportError(_refusal(target, role))
    found = locate(target)
    defined_in = str(getattr(found, "__module__", None))
    if not _suits(found, role, own=is_own) or not (is_own or _is_in(defined_in, (*MODULES, *role.modules, *own))):
        raise ImportError(f"{target} is not {role.name}{_near(target, role)}")
    return found


def check_targets(node: Any, key: str, own: Sequence[str]) -> None:
    """Check every `_target_` in a node, which is plain and resolved, as Hydra will call it.

    Raises:
        ConfigError: one may not be instantiated there.
    """
    if isinstance(node, str) and "${" in node:  # Hydra would resolve it, and might find a `_target_`
        raise ConfigError(f"{key}={node} holds an escaped ${{, which is not supported: leave it out")
    if isinstance(node, dict) and node.get("_target_") is not None:
        if not isinstance(node["_target_"], str):
            raise ConfigError(f"{key}._target_ is not a dotted name")
        try:
            resolve_target(node["_target_"], key, own)
        except ImportError as error:
            raise ConfigError(f"{key}._target_: {error}") from error
    for name, child in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        check_targets(child, f"{key}.{name}", own)


def is_module_of_users(target: str) -> bool:
    """Return whether a dotted name may be of a module that a user wrote: not of the standard library, nor of Hydra."""
    first, dot, _ = target.partition(".")
    return first.isidentifier() and dot == "." and first not in (*sys.stdlib_module_names, "hydra", "omegaconf")


def hydra_whitelist(own: Sequence[str]) -> dict[str, Any]:
    """Return the argument of `hydra.utils.instantiate` that gives the same list to Hydra 1.4; 1.3 has none."""
    packages = (*MODULES, _PRUNER.home, *own)
    return {"_execution_whitelist_": [*PLAIN, *(f"{name}.*" for name in packages)]} if has_whitelist() else {}


def _role_of(key: str) -> Role:
    parts = [part for part in re.split(r"[.\[\]]", key) if part]
    if parts[:2] == ["trainer", "plugins"]:  # one, or a list of them
        parts = parts[:2] if len(parts) == 2 or (len(parts) == 3 and parts[2].isdigit()) else parts
    for pattern, role in ROLES.items():
        wanted = pattern.split(".")
        if len(wanted) == len(parts) and all(one in ("*", part) for one, part in zip(wanted, parts, strict=True)):
            return role
    return _PART


def _is_in(name: str, modules: Sequence[str]) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def _suits(found: Any, role: Role, *, own: bool) -> bool:
    """Return whether a class, or what a function says that it returns, is of a role.

    A function of the user's own need not say it.
    """
    if inspect.isfunction(found) and (own or _is_in(found.__module__, FACTORIES)):
        try:
            found = typing.get_type_hints(found).get("return")
        except Exception:  # an annotation that is imported for type checkers only
            found = None
        if own and found in (None, Any):
            return True
    if not inspect.isclass(found):
        return own and role is _PART
    return (own and role is _PART) or any(
        base is not None and issubclass(found, base) for base in map(_if_imported, role.bases)
    )


def _if_imported(address: str) -> Any:
    """Return a class, or None where its module is not imported, so that nothing can be derived from it."""
    module, _, name = address.rpartition(".")
    return getattr(sys.modules.get(module), name, None)


def _refusal(target: str, role: Role) -> str:
    first = target.partition(".")[0]
    near = _near(target, role)
    where = ", ".join((*MODULES, *role.modules))
    cure = f"; if it is yours, type security.allow=[{first}]" if is_module_of_users(target) and not near else ""
    return f"'{target}' lies outside of what settings may call ({where}){near}{cure}"


def _near(target: str, role: Role) -> str:
    """Return `; did you mean a or b?` with classes of this role, or nothing where no name is near."""
    try:
        home = importlib.import_module(role.home)
    except ImportError:
        return ""
    known = [name for name, value in vars(home).items() if inspect.isclass(value) and _suits(value, role, own=False)]
    near = [f"{role.home}.{name}" for name in close_matches(target.rpartition(".")[2], known)]
    return f"; did you mean {' or '.join(near)}?" if near else ""
