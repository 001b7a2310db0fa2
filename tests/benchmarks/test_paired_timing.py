"""Two real processes in turn, and what becomes of one that fails."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fer_lightning.benchmarks.paired_timing import Contender, ContenderError, compare, run_once
from fer_lightning.core.errors import DataError

TOYS = """
import os, subprocess, threading, time
from fer_lightning.core.errors import DataError

def work(clock, file, name, pace=0.002):
    steps = 0
    while True:
        time.sleep(pace)
        print("chatter", flush=True)
        with open(file, "a") as log:
            log.write(name)
        clock(10)

def fail(clock):
    raise ValueError("too hot")

def refuse(clock=None):
    raise DataError("no images there")

def die(clock):
    print("a last word", flush=True)
    os._exit(3)

def die_asleep(clock, file):
    def watch():
        while not open(file).read().rstrip("A").endswith("B") or not open(file).read().endswith("A"):
            time.sleep(0.001)
        os._exit(3)  # both have warmed up, and now it is the other one's window
    threading.Thread(target=watch, daemon=True).start()
    work(clock, file, "B")

def with_a_child_of_its_own(clock, file):
    with open(file, "w") as pids:
        print(os.getpid(), subprocess.Popen(["sleep", "600"]).pid, file=pids)
    time.sleep(600)

def end(clock):
    clock(1)

def answer(question):
    return {"answer": question * 2}
"""


@pytest.fixture(autouse=True)
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that the children can import."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "toys.py").write_text(TOYS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")
    return folder


def contenders(tmp_path: Path) -> tuple[Contender, Contender]:
    file = str(tmp_path / "order.txt")
    return (
        Contender("ours", "toys.work", {"file": file, "name": "A"}),
        Contender("theirs", "toys.work", {"file": file, "name": "B", "pace": 0.008}),
    )


def test_windows_are_taken_in_turn(tmp_path: Path) -> None:
    ours, theirs = contenders(tmp_path)
    mine, others = compare(ours, theirs, window=0.1, windows=4, logs=tmp_path / "logs")
    order = (tmp_path / "order.txt").read_text()
    turns = [letter for place, letter in enumerate(order) if place == 0 or order[place - 1] != letter]
    # warming up A, B; then A B, B A, A B, B A, of which two in a row look like one
    assert "".join(turns) == "ABABABA"
    assert len(mine) == len(others) == 4
    assert all(window.rate > 0 and window.memory > 5 for window in mine + others)
    assert list((tmp_path / "logs").iterdir()) == []


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("fail", "theirs: ValueError: too hot"),
        ("refuse", "theirs: no images there"),
        ("die", r"theirs: died with exit code 3 \(a last word\)"),
        ("end", "theirs: ended before the windows did"),
        ("wrong", "theirs: ImportError: there is no 'wrong' in toys"),
    ],
)
def test_a_contender_that_fails_is_named_and_its_output_kept(tmp_path: Path, work: str, said: str) -> None:
    ours, _ = contenders(tmp_path)
    with pytest.raises(ContenderError, match=said):
        compare(ours, Contender("theirs", f"toys.{work}"), window=0.05, windows=2, logs=tmp_path / "logs")
    assert len(list((tmp_path / "logs").glob("*_theirs.log"))) == 1


def test_a_contender_that_dies_while_it_sleeps_is_named(tmp_path: Path) -> None:
    ours, _ = contenders(tmp_path)
    theirs = Contender("theirs", "toys.die_asleep", {"file": str(tmp_path / "order.txt")})
    with pytest.raises(ContenderError, match="theirs: died with exit code 3"):
        compare(ours, theirs, window=0.2, windows=4, logs=tmp_path / "logs")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_a_contender_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.benchmarks.paired_timing.TIMEOUT", 15.0)
    file = tmp_path / "pids.txt"
    with pytest.raises(ContenderError, match="no message for 15 s"):
        run_once(
            Contender("one", "toys.with_a_child_of_its_own", {"clock": None, "file": str(file)}), tmp_path / "logs"
        )
    pids = file.read_text().split()
    assert len(pids) == 2
    end = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < end:  # the kernel ends what was killed a little later
        time.sleep(0.05)
    assert not [pid for pid in pids if is_alive(pid)]


def is_alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_question_is_answered(tmp_path: Path) -> None:
    assert run_once(Contender("one", "toys.answer", {"question": 21}), tmp_path / "logs") == {"answer": 42}


def test_a_users_error_comes_back_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^no images there$"):
        run_once(Contender("one", "toys.refuse"), tmp_path / "logs")
