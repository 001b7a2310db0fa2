"""What is `auto` is settled by the machine, and shared among the ranks on it."""

from __future__ import annotations

from typing import Any

import pytest

from fer_lightning.machine import settle
from fer_lightning.resources import available_cores, listed_devices


def workers(devices: Any, accelerator: str = "gpu", num_workers: int | str = "auto") -> int:
    settled = settle(
        accelerator=accelerator,
        precision="32-true",
        channels_last=False,
        num_workers=num_workers,
        devices=devices,
    )
    return settled.num_workers


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_share_the_cores(ranks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.machine.available_cores", lambda: 12)
    assert workers(ranks) == min(8, 12 // ranks - 1)
    assert workers(list(range(ranks))) == workers(ranks)
    assert workers(ranks, num_workers=5) == 5
    assert workers(ranks, accelerator="cpu") == 0


def test_more_ranks_than_cores_load_their_own_images() -> None:
    assert workers(available_cores() + 1) == 0


@pytest.mark.parametrize(
    ("devices", "numbers"),
    [(1, [0]), (3, [0, 1, 2]), ("2", [0, 1]), ("1,", [1]), ("0, 2", [0, 2]), ([1, 3], [1, 3]), (None, [])]
    + [(every, []) for every in ("auto", -1, "-1", "all")],
)
def test_devices_are_counted_as_lightning_does(devices: Any, numbers: list[int]) -> None:
    assert listed_devices(devices) == numbers
