"""The search space of an Optuna sweep, read from overrides in Hydra's syntax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hydra.errors import HydraException
from hydra_plugins.hydra_optuna_sweeper._impl import create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution

from fer_lightning.config.hydra_errors import explain
from fer_lightning.config.overrides import override_key
from fer_lightning.core.errors import ConfigError, first_lines
from fer_lightning.core.flatten import flatten


class Space(NamedTuple):
    """What is searched, and the overrides that all trials share."""

    searched: dict[str, BaseDistribution]
    fixed: list[str]


def read_space(params: DictConfig | None, typed: Sequence[str]) -> Space:
    """Read YAML's `params`, maybe nested, and the overrides typed, which take precedence; or raise ConfigError."""
    keys = {override_key(item) for item in typed}
    plain_params: Any = {} if params is None else OmegaConf.to_container(params, resolve=True)
    shipped = [f"{key}={value}" for key, value in flatten(plain_params).items() if key not in keys]
    try:
        searched, fixed, plain = create_params_from_overrides([*shipped, *typed])
    except HydraException as error:
        raise ConfigError(explain(error, [*shipped, *typed])) from error
    except (ValueError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"the search space cannot be read: {first_lines(error)}") from error
    return Space(searched, [*(f"{name}={value}" for name, value in fixed.items()), *plain])
