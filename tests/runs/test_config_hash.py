"""Two jobs are one where they would compute the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from omegaconf import DictConfig, OmegaConf

from fer_lightning.runs.config_hash import identify, identify_overrides, settings_of

Compose = Callable[..., DictConfig]


@pytest.mark.parametrize(
    "overrides",
    [
        ["output_dir=elsewhere"],
        ["ckpt_path=a/checkpoints/last.ckpt"],
        ["machine.threads=1", "machine.jobs=2"],
        ["sweep.at_once=2", "sweep.retry=true"],
        ["logger=none"],
        ["optimizer.lr=0.001", "model=small_cnn"],
    ],
)
def test_when_and_where_a_run_is_makes_no_difference(overrides: list[str], compose: Compose) -> None:
    assert identify(compose("train", *overrides)) == identify(compose("train", "output_dir=here"))


@pytest.mark.parametrize(
    "override", ["seed=1", "optimizer.lr=0.5", "model=vgg16", "data.root=x", "split=validation", "machine.tf32=false"]
)
def test_what_a_run_computes_makes_the_difference(override: str, compose: Compose) -> None:
    assert identify(compose("train", "output_dir=x", override)) != identify(compose("train", "output_dir=x"))


def test_evaluations_of_two_checkpoints_are_two(compose: Compose) -> None:
    one, other = (compose("evaluate", "output_dir=x", f"ckpt_path={name}") for name in ("a", "b"))
    assert identify(one) != identify(other)


def test_settings_are_resolved_and_nothing_is_changed(compose: Compose) -> None:
    cfg = compose("train", "output_dir=x", "monitor=val/loss", "mode=min")
    before = OmegaConf.to_yaml(cfg)
    settings = settings_of(cfg)
    assert settings["callbacks"]["early_stopping"]["monitor"] == "val/loss"
    assert settings["callbacks"]["history"]["folder"] is None
    assert OmegaConf.to_yaml(cfg) == before


def test_settings_that_cannot_be_resolved_still_have_an_identity(compose: Compose) -> None:
    one = compose("train", "output_dir=x", "data.root=${nothing.there}")
    other = compose("train", "output_dir=x", "data.root=${nothing.here}")
    assert identify(one) == identify(one) != identify(other)
    assert identify_overrides(["a=1"]) != identify_overrides(["a=2"])
