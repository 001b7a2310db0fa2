"""Settings whose range depends on the data, or on a constructor of a library, are refused with what to type."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.core.errors import ConfigError
from fer_lightning.training import build

TINY = ("data.synthetic={train:32,validation:8,test:8}", "data.batch_size=8", "trainer.accelerator=cpu")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("limit_train_batches=0.0001", "of the 4 batches of the train images is less than one: type "),
        ("overfit_batches=0.1", "type trainer.overfit_batches=1 for one batch, or a fraction of 0.25 or more"),
        ("limit_val_batches=0.5", "of the 1 batch of the validation images is less than one"),
    ],
)
def test_less_than_a_batch_is_refused_once_the_data_are_known(
    typed: str, said: str, compose: Callable[..., DictConfig]
) -> None:
    cfg = compose("train", *TINY, f"trainer.{typed}")
    with pytest.raises(ConfigError, match=re.escape(said)):
        build.check_limits(cfg, build.build_data(cfg))


@pytest.mark.parametrize("typed", ["limit_train_batches=0.25", "limit_val_batches=1.0", "limit_train_batches=1"])
def test_a_batch_or_more_is_enough(typed: str, compose: Callable[..., DictConfig]) -> None:
    cfg = compose("train", *TINY, f"trainer.{typed}")
    build.check_limits(cfg, build.build_data(cfg))


@pytest.mark.parametrize(
    ("typed", "cure"),
    [
        ("optimizer.lr=-1.0", "optimizer.lr=1e-3"),
        ("optimizer.betas=[2.0,2.0]", "optimizer.betas=[0.9,0.999]"),
        ("trainer.profiler=nope", "trainer.profiler=null"),
        ("trainer.gradient_clip_algorithm=x", "trainer.gradient_clip_algorithm=null"),
        ("loss.label_smoothing=2.0", "loss.label_smoothing=0.0"),
        ("+trainer.barebones=true", "trainer.barebones=false"),
    ],
)
def test_what_a_constructor_refuses_says_what_to_type(
    typed: str, cure: str, compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as error:
        build.build_components(compose("train", *TINY, typed, f"output_dir={tmp_path}"))
    assert f"; type '{cure}" in str(error.value)
    assert typed.lstrip("+") not in str(error.value).partition("; type ")[2]


def test_a_callback_that_is_there_twice_is_refused_and_what_to_type_instead_works(
    compose: Callable[..., DictConfig], tmp_path: Path
) -> None:
    again = "++callbacks.again={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: %s, mode: %s}"
    settings = (*TINY, f"output_dir={tmp_path}")
    with pytest.raises(ConfigError, match=r"callbacks\.early_stopping and callbacks\.again are .*'~callbacks\.again'"):
        build.build_components(compose("train", *settings, again % ("val/acc", "max")))
    build.build_components(compose("train", *settings, again % ("val/acc", "max"), "~callbacks.again"))
    build.build_components(compose("train", *settings, again % ("val/loss", "min")))
