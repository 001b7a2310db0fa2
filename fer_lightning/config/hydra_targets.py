"""What Hydra itself would call before any task runs: its callbacks, launcher, sweeper, and handlers of logs.

A YAML file can choose these too, so they are compared with a list of their own as soon as a configuration is composed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import hydra.utils
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.allowed import allowed_modules, is_module_of_users
from fer_lightning.config.compose import has_whitelist
from fer_lightning.config.overrides import override_key
from fer_lightning.core.errors import ConfigError

# packages whose YAML files Hydra reads, for which it imports them
PACKAGE = re.compile(r"|hydra\.conf|hydra_plugins(\.\w+)+")
# a plugin is found among the installed ones by its name, and never imported by it
PLUGIN = re.compile(r"(hydra_plugins|hydra\._internal\.core_plugins)(\.\w+)+")
CALLED: dict[str, re.Pattern[str]] = {
    "hydra.launcher": PLUGIN,
    "hydra.sweeper": PLUGIN,
    "hydra.sweeper.sampler": re.compile(
        r"optuna\.samplers\.[A-Z]\w*|hydra_plugins\.hydra_optuna_sweeper\.\w+\.(create|raise)_\w+"
    ),
    "hydra.callbacks.*": re.compile(
        r"hydra\.experimental\.callbacks\.[A-Z]\w*|fer_lightning\.cli\.run_folder\.ClaimFolder"
    ),
}
HANDLERS = re.compile(
    r"logging\.(StreamHandler|FileHandler|NullHandler|Formatter|Filter|Logger)"
    r"|logging\.handlers\.(RotatingFileHandler|TimedRotatingFileHandler|WatchedFileHandler)"
    r"|colorlog\.(ColoredFormatter|StreamHandler)"
)
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
LOGGING = ("hydra.job_logging", "hydra.hydra_logging")


def check_hydra(cfg: DictConfig) -> None:
    """Check what Hydra would call for a composed configuration.

    Raises:
        ConfigError: something that is neither Hydra's own, nor in a module that `security.allow` names.
    """
    own = allowed_modules(cfg)
    _check_environment(cfg)
    for key, name in _names(cfg.hydra, "hydra"):
        if key.endswith(".filename"):  # a line of a log in ~/.bashrc would be run
            if not name.endswith(".log"):
                raise ConfigError(f"{key}={name} is no file for a log: type '{key}=run.log', for example")
            continue
        parts = key.rpartition(".")[0].split(".")
        if key == "hydra.sweeper.custom_search_space":
            known: re.Pattern[str] | None = None
        elif key.startswith(LOGGING):
            known = HANDLERS
        else:
            patterns = ((pattern.split("."), found) for pattern, found in CALLED.items())
            known = next((found for wanted, found in patterns if _matches(parts, wanted)), None)
        mine = any(f"{name}.".startswith(f"{module}.") for module in own)
        if not mine and name not in STREAMS and (known is None or known.fullmatch(name) is None):
            raise ConfigError(f"{key}={name} is nothing that Hydra may call here{_cure(key, name)}")


def _check_environment(cfg: DictConfig) -> None:
    """Check that variables of the environment are typed: PATH, LD_PRELOAD and others say which code is run."""
    typed = {override_key(word) for word in cfg.hydra.overrides.hydra}
    key = "hydra.job.env_set"
    given: Any = OmegaConf.to_container(cfg.hydra.job.env_set, resolve=False)
    for name, value in given.items():
        if key not in typed and f"{key}.{name}" not in typed and os.environ.get(name) != value:
            cure = f"type ++{key}.{name}={value}"
            raise ConfigError(f"{key}.{name} comes from a YAML file, which sets no environment: {cure}")


@contextmanager
def checked_composition() -> Iterator[None]:
    """Check each configuration that Hydra composes meanwhile, before Hydra uses it, and where its files come from.

    Hydra sets up logging and its callbacks from it before it calls the program, and has no other place to look at it.
    """
    loader: Any = ConfigLoaderImpl
    compose: Callable[..., DictConfig] = loader._load_configuration_impl
    files: Any = ConfigRepository
    open_files: Callable[..., None] = files.initialize_sources

    def open_checked(self: Any, places: Any) -> None:
        for place in places.get_path():
            if PACKAGE.fullmatch(place.path.removeprefix("pkg://")) is None and place.path.startswith("pkg://"):
                raise ConfigError(f"{place.path} would import a module for its YAML files: type --config-dir FOLDER")
        open_files(self, places)

    def compose_checked(*args: Any, **kwargs: Any) -> DictConfig:
        cfg = compose(*args, **kwargs)
        check_hydra(cfg)
        if has_whitelist() and (own := allowed_modules(cfg)):
            # never left: `run_verb` runs Hydra in a context of its own
            vars(hydra.utils)["execution_whitelist"]([f"{name}.*" for name in own]).__enter__()
        return cfg

    loader._load_configuration_impl, files.initialize_sources = compose_checked, open_checked
    try:
        yield
    finally:
        loader._load_configuration_impl, files.initialize_sources = compose, open_files


def _names(node: DictConfig | ListConfig, path: str) -> Iterator[tuple[str, str]]:
    """Yield key and text of everything below a node that Hydra or `logging` would resolve to something callable."""
    for key in list(node) if isinstance(node, DictConfig) else range(len(node)):
        here = f"{path}.{key}"
        if OmegaConf.is_missing(node, key):
            continue
        try:
            child: Any = node[key]
        except OmegaConfBaseException:  # not known yet, such as the number of a job
            content: Any = OmegaConf.to_container(node, resolve=False)
            child = content[key]
        if isinstance(child, (DictConfig, ListConfig)):
            yield from _names(child, here)
        elif child is not None and _is_called(here, key, str(child)):
            yield here, str(child)


def _cure(key: str, name: str) -> str:
    """Return what to type instead of a name that may not be called."""
    if is_module_of_users(name.removeprefix("ext://")):
        return f"; if it is yours, type security.allow=[{name.removeprefix('ext://').partition('.')[0]}]"
    return f": leave out {key}"


def _is_called(path: str, key: Any, value: str) -> bool:
    if path.startswith(LOGGING):
        # a key of a dot holds attributes
        return key in ("()", "class", "queue", "listener", "filename") or ".." in path or "://" in value[:6]
    return key == "_target_" or path == "hydra.sweeper.custom_search_space"


def _matches(parts: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(parts) == len(wanted) and all(one in ("*", part) for one, part in zip(wanted, parts, strict=True))
