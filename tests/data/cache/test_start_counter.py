"""Each start has the next turn; processes of one run have the same, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_lightning.data.cache.start_counter import set_turn, take_turn


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FER_LIGHTNING_TURN_key", "77")  # of an earlier start; and put back after the test
    return tmp_path / "key.turn"


def test_turns_are_counted(counter: Path) -> None:
    assert [take_turn(counter) for _ in range(4)] == [0, 1, 2, 3]
    set_turn(counter, 2)
    assert take_turn(counter) == 2
    assert [path.name for path in counter.parent.iterdir()] == ["key.turn"]


@pytest.mark.parametrize("content", [b"", b"three", b"\xff"])
def test_what_is_no_number_is_counted_anew(counter: Path, content: bytes) -> None:
    counter.write_bytes(content)
    assert [take_turn(counter), take_turn(counter)] == [0, 1]


def test_ranks_that_lightning_starts_have_the_turn_of_the_first(counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_turn(counter, 5)
    assert take_turn(counter) == 5
    for rank in range(3):  # also the first itself: Lightning sets its LOCAL_RANK when it starts the others
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert take_turn(counter) == 5
    assert take_turn(counter.with_name("other.turn")) is None
    monkeypatch.delenv("LOCAL_RANK")
    assert take_turn(counter) == 6


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
def test_other_ranks_have_none(counter: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.delenv("FER_LIGHTNING_TURN_key")
    monkeypatch.setenv(variable, "0")
    assert take_turn(counter) is None
    assert not counter.exists()


def test_no_turn_where_it_cannot_be_kept_and_none_is_handed_on(counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter.mkdir()
    assert take_turn(counter) is None
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert take_turn(counter) is None
    assert list(counter.parent.iterdir()) == [counter]
