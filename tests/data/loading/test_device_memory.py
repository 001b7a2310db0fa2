"""Whether images are kept in memory follows from what is free, and a refusal names both sizes."""

from __future__ import annotations

from types import SimpleNamespace

import psutil
import pytest
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.loading.device_memory import fits, free_memory, readable

CPU, APPLE = torch.device("cpu"), torch.device("mps")


def set_free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=size))


@pytest.mark.parametrize(("device", "share"), [(CPU, 0.05), (APPLE, 0.25)], ids=str)
def test_auto_takes_a_share_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, device: torch.device, share: float
) -> None:
    set_free(monkeypatch, 1_000_000)
    most = int(share * 1_000_000)
    assert fits("auto", most, device)
    assert not fits("auto", most + 1, device)
    assert fits("auto", 0, device)


def test_asked_for_takes_all_that_is_free_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free(monkeypatch, 2_000_000_000)
    assert fits(True, 2_000_000_000, CPU)
    text = (
        r"data\.resident=true: the images take 7\.4 GB, and cpu has 2\.0 GB free; type data\.resident=auto, or .*size"
    )
    with pytest.raises(ConfigError, match=text):
        fits(True, 7_400_000_000, CPU)


def test_not_asked_for_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "virtual_memory")
    assert not fits(False, 0, CPU)
    assert not fits(False, 0, torch.device("cuda"))  # also where there is none


def test_free_memory_is_that_of_this_machine() -> None:
    assert 0 < free_memory(CPU) < psutil.virtual_memory().total


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_free_memory_of_a_gpu_is_its_own() -> None:
    device = torch.device("cuda")
    assert 0 < free_memory(device) <= torch.cuda.get_device_properties(device).total_memory


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 kB"),
        (9_216, "9 kB"),
        (74_381_536, "74 MB"),
        (999_400_000, "999 MB"),
        (10**9, "1.0 GB"),
        (7_438_153_600, "7.4 GB"),
    ],
)
def test_sizes_are_said_as_people_say_them(size: int, text: str) -> None:
    assert readable(size) == text
