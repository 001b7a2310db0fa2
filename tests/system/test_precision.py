"""Whether bf16 pays is tried once on a machine, remembered, and asked for in vain only with a message."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fer_lightning.core.errors import ConfigError
from fer_lightning.system import precision
from fer_lightning.system.precision import bf16_speedup, check_precision, device_name, has_bf16


@pytest.fixture
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device with bf16, whose trial takes no time."""
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: True)
    monkeypatch.setattr(precision, "_measure", lambda device: 1.5)


@pytest.mark.usefixtures("with_bf16")
def test_ranks_that_lightning_starts_take_over_the_answer_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FER_LIGHTNING_BF16_SPEEDUP", "stale")
    memory = tmp_path / "bf16.json"
    first = bf16_speedup("cpu", 1, memory)  # also passes it to the processes that it starts
    memory.write_text("{}")
    monkeypatch.setattr(precision, "_measure", lambda device: 2.5)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert bf16_speedup("cpu", 1, memory) == first
    assert memory.read_text() == "{}"


@pytest.fixture
def threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


@pytest.mark.usefixtures("with_bf16")
def test_a_trial_is_made_once_and_remembered(tmp_path: Path) -> None:
    memory = tmp_path / "new" / "bf16.json"
    first = bf16_speedup("cpu", 2, memory)
    ((key, remembered),) = json.loads(memory.read_text()).items()
    assert first == remembered > 0
    assert device_name("cpu") in key
    memory.write_text(json.dumps({key: 7.25, "another machine": 3.0}))
    assert bf16_speedup("cpu", 2, memory) == 7.25
    assert list(memory.parent.iterdir()) == [memory]


@pytest.mark.usefixtures("with_bf16")
def test_another_torch_and_other_threads_are_tried_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = tmp_path / "bf16.json"
    bf16_speedup("cpu", 1, memory)
    bf16_speedup("cpu", 2, memory)
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    bf16_speedup("cpu", 2, memory)
    assert len(json.loads(memory.read_text())) == 3


DAMAGED = [b"", b"{", b"[1.5]", b'{"a": "fast"}', b'{"a": null}', b"\xff\xfe", b"3"]


@pytest.mark.parametrize("content", DAMAGED, ids=str)
@pytest.mark.usefixtures("with_bf16")
def test_a_damaged_memory_is_replaced(tmp_path: Path, content: bytes) -> None:
    memory = tmp_path / "bf16.json"
    memory.write_bytes(content)
    found = bf16_speedup("cpu", 2, memory)
    assert list(json.loads(memory.read_text()).values()) == [found]


@pytest.mark.usefixtures("with_bf16")
def test_a_memory_that_cannot_be_written_costs_a_trial_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert bf16_speedup("cpu", 2, tmp_path / "file" / "bf16.json") > 0
    (tmp_path / "folder").mkdir()
    assert bf16_speedup("cpu", 2, tmp_path / "folder") > 0
    assert bf16_speedup("cpu", 2) > 0


def test_without_bf16_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: False)
    assert bf16_speedup("cpu", 2, tmp_path / "bf16.json") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_trial_leaves_no_trace(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: True)  # any CPU can run it
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert 0 < bf16_speedup("cpu", 2) < 100
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not torch.is_autocast_enabled("cpu")


def test_instructions_are_found_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    for here in ((False, False), (True, False), (False, True)):
        for name, value in zip(names, here, strict=True):
            monkeypatch.setattr(torch.cpu, name, lambda value=value: value, raising=False)
        assert has_bf16("cpu") == any(here)
    for name in names:  # not public: another torch may lack them
        monkeypatch.delattr(torch.cpu, name)
    assert not has_bf16("cpu")
    assert not has_bf16("mps")


@pytest.mark.parametrize("asked", ["16-mixed", "16-true", "16"])
def test_half_precision_on_a_cpu_is_refused_with_what_it_has(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for there, cure in ((False, r"type trainer\.precision=32-true$"), (True, r"=bf16-mixed, or 32-true$")):
        monkeypatch.setattr(precision, "has_bf16", lambda accelerator, there=there: there)
        with pytest.raises(ConfigError, match=rf"trainer\.precision={asked}: no fp16 arithmetic on .*{cure}"):
            check_precision(asked, "cpu")


@pytest.mark.parametrize("accelerator", ["gpu", "cuda"])
@pytest.mark.parametrize("asked", ["bf16-mixed", "bf16-true", "bf16"])
def test_bf16_on_a_gpu_that_lacks_it_is_refused(asked: str, accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: False)
    with pytest.raises(
        ConfigError, match=rf"precision={asked}: no bf16 .*type trainer\.precision=16-mixed, or 32-true"
    ):
        check_precision(asked, accelerator)


@pytest.mark.parametrize(
    ("asked", "accelerator"),
    [
        ("32-true", "cpu"),
        ("bf16-mixed", "cpu"),
        ("64-true", "cpu"),
        ("16-mixed", "gpu"),
        ("32", "gpu"),
        ("16-mixed", "mps"),
    ],
)
def test_everything_else_is_left_to_the_trainer(asked: str, accelerator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bf16", lambda accelerator: False)
    check_precision(asked, accelerator)


def test_the_name_of_a_device_is_one_line() -> None:
    for accelerator in ("cpu", "gpu", "mps"):
        name = device_name(accelerator)
        assert name
        assert "\n" not in name
