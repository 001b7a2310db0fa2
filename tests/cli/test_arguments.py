"""What a command line is completed by before Hydra reads it."""

from __future__ import annotations

import inspect

import pytest

from fer_lightning.cli.arguments import complete
from fer_lightning.config.trainer_arguments import trainer_arguments


@pytest.mark.parametrize(
    ("verb", "typed", "added"),
    [
        ("train", ["-m", "seed=1,2"], ["split=validation"]),
        ("train", ["-m", "seed=1,2", "hydra/sweeper=basic"], ["split=validation"]),  # whoever launches the jobs
        ("train", ["-m", "seed=1,2", "split=test"], []),
        ("train", ["seed=1"], []),
        ("evaluate", ["-m", "ckpt_path=a,b"], []),
    ],
)
def test_a_sweep_selects_and_does_not_see_the_test_split(verb: str, typed: list[str], added: list[str]) -> None:
    assert complete(verb, typed, None, swept=True) == [*typed, *added]


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("trainer.limit_test_batches=5", "++trainer.limit_test_batches=5"),
        ("trainer.plugins={_target_: x}", "++trainer.plugins={_target_: x}"),
        ("trainer.max_epochs=5", "trainer.max_epochs=5"),
        ("trainer.limit_tset_batches=5", "trainer.limit_tset_batches=5"),
        ("+trainer.barebones=true", "+trainer.barebones=true"),
        ("model.backbone_kwargs={a: 1}", "++model.backbone_kwargs={a: 1}"),
        ("model.backbone_kwargs.a=1", "++model.backbone_kwargs.a=1"),
        ("data.aliases.cheerful=happy", "++data.aliases.cheerful=happy"),
        ("trainer=cpu", "trainer=cpu"),
        ("~trainer.profiler", "~trainer.profiler"),
    ],
)
def test_what_is_valid_but_listed_nowhere_needs_no_plus(typed: str, completed: str) -> None:
    assert complete("train", [typed], None, swept=True) == [completed]


def test_the_trainers_arguments_are_those_of_its_signature() -> None:
    from lightning.pytorch import Trainer

    assert trainer_arguments() == tuple(inspect.signature(Trainer.__init__).parameters)[1:]


@pytest.mark.parametrize("verb", ["train", "benchmark"])
def test_nothing_needs_to_be_typed(verb: str) -> None:
    assert complete(verb, [], None, swept=False) == []
