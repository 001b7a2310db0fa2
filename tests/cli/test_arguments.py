"""What a command line is completed by before Hydra reads it."""

from __future__ import annotations

import pytest

from fer_lightning.cli.arguments import complete


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
