"""Real processes that build one cache at once or are killed; a build waits for a file, so that it is held up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_lightning.data.synthetic.dataset import write_tree

BUILDER = """
import logging, sys, time
from pathlib import Path
from fer_lightning.data.cache.build import decode_table
from fer_lightning.data.cache.image_cache import open_cache
from fer_lightning.data.table.image_table import ImageTable
import numpy as np
logging.basicConfig(level=logging.INFO)
root, cache_dir, gate = map(Path, sys.argv[1:])
paths = np.array(sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png")), dtype=str)
zeros = np.zeros(len(paths), dtype=np.int64)
table = ImageTable(root, "folders", paths, zeros, np.full(len(paths), "train"), ("happy",), "", np.arange(len(paths)))
def decode(table, shape, dest, **options):
    dest.touch()
    while not gate.exists():
        time.sleep(0.01)
    return decode_table(table, shape, dest, **options)
cache = open_cache(table, image_size=24, channels=1, cache_dir=cache_dir, progress=False, decode=decode)
print(cache.built, cache.fingerprint, len(cache.failures))
"""
TIMEOUT = 60.0
Start = Callable[[Path, Path], "subprocess.Popen[str]"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "faces", layout="train_validation", per_class=2)
    return tmp_path / "faces"


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a process that opens a cache; none outlives the test, or `TIMEOUT`."""
    alarms: list[threading.Timer] = []

    def start_builder(root: Path, cache_dir: Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [sys.executable, "-c", BUILDER, root, cache_dir, root.parent / "gate"], stdout=pipe, stderr=pipe, text=True
        )
        alarms.append(threading.Timer(TIMEOUT, process.kill))
        alarms[-1].start()
        return process

    yield start_builder
    for alarm in alarms:
        alarm.cancel()
        alarm.function()


def folders_in(cache_dir: Path) -> list[str]:
    return sorted(p.name for p in cache_dir.iterdir() if p.is_dir() and p.name != "keys")


def wait_for_build(cache_dir: Path) -> Path:
    """Return the file of a build that has started."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        for path in cache_dir.glob("building-*/images.npy"):
            return path
        time.sleep(0.01)
    raise TimeoutError(f"no build began in {cache_dir}")


def test_two_processes_build_once(tree: Path, tmp_path: Path, start: Start) -> None:
    cache_dir = tmp_path / "cache"
    first = start(tree, cache_dir)
    wait_for_build(cache_dir)
    second = start(tree, cache_dir)
    assert any("waiting for another process" in line for line in second.stderr)
    assert first.poll() is None
    (tmp_path / "gate").touch()
    results = [process.communicate(timeout=TIMEOUT)[0].split() for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0]
    assert results[0][1:] == results[1][1:] == [*folders_in(cache_dir), "0"]
    assert (results[0][0], results[1][0]) == ("True", "False")


def test_killed_build_leaves_nothing_that_opens(tree: Path, tmp_path: Path, start: Start) -> None:
    cache_dir = tmp_path / "cache"
    process = start(tree, cache_dir)
    half_made = wait_for_build(cache_dir)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=TIMEOUT)
    (tmp_path / "gate").touch()
    assert half_made.exists()
    assert not list((cache_dir / "keys").iterdir())
    built, fingerprint, failures = start(tree, cache_dir).communicate(timeout=TIMEOUT)[0].split()
    assert (built, failures) == ("True", "0")
    assert folders_in(cache_dir) == [fingerprint]
