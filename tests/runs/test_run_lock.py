"""Whether the process of a run is alive, seen from its folder."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_lightning.core.errors import ConfigError, StorageError
from fer_lightning.runs import run_lock
from fer_lightning.runs.read import read_run
from fer_lightning.runs.run_lock import Process, RunLock, process_of

WriteRun = Callable[..., Path]
HOLD = "import sys, pathlib; from fer_lightning.runs.run_lock import RunLock; lock = RunLock(pathlib.Path(sys.argv[1]))"


@pytest.fixture
def killed(tmp_path: Path, write_run: WriteRun) -> Path:
    """The folder of a run whose process was killed."""
    folder = write_run(tmp_path / "a b", status={"status": "running"})
    child = subprocess.Popen([sys.executable, "-c", f"{HOLD}; print(1, flush=True); input()", str(folder)],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert child.stdout is not None
    child.stdout.readline()
    assert process_of(folder) is Process.ALIVE
    assert read_run(folder, "run").status.status == "running"
    with pytest.raises(ConfigError, match=rf"a b is in use by another run \(process {child.pid}\): wait"):
        RunLock(folder)
    child.kill()
    child.communicate()
    return folder


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "PATIENCE", 0.1)
    assert process_of(tmp_path) is Process.UNKNOWN
    lock = RunLock(tmp_path)
    assert process_of(tmp_path) is Process.ALIVE
    with pytest.raises(ConfigError, match="is in use by another run"):
        RunLock(tmp_path)
    lock.release()
    lock.release()
    assert [*tmp_path.iterdir()] == []
    RunLock(tmp_path).release()


def test_a_worker_that_outlives_its_parent_does_not_hold_the_lock(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # as a loader process, which notices after seconds that its parent is gone
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    assert lock._descriptor is not None
    os.close(lock._descriptor)  # what the system does when the parent is killed
    lock._descriptor = None
    ends = time.monotonic() + 5  # the child may not have begun yet
    while (found := process_of(tmp_path)) is Process.ALIVE and time.monotonic() < ends:
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert found is Process.GONE


def test_a_killed_run_is_seen_as_gone_and_nothing_is_rewritten(killed: Path) -> None:
    before = {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()}
    status = read_run(killed, "run").status
    assert (status.status, status.reason, status.message) == ("interrupted", "killed", "the process was killed")
    assert {path: path.read_bytes() for path in killed.rglob("*") if path.is_file()} == before
    RunLock(killed).release()  # another run may have the folder


def test_the_message_names_the_checkpoint_that_can_be_continued(killed: Path) -> None:
    (killed / "checkpoints").mkdir()
    with zipfile.ZipFile(killed / "checkpoints" / "best.ckpt", "w") as whole:
        whole.writestr("a", "b")
    (killed / "checkpoints" / "last.ckpt").write_bytes(b"PK cut off")
    message = str(read_run(killed, "run").status.message)
    assert f"python -m fer_lightning.train \"ckpt_path='{killed}/checkpoints/best.ckpt'\" continues it" in message


def test_a_run_of_another_machine_is_not_called_dead(killed: Path) -> None:
    text = (killed / "run.lock").read_text()
    assert text.startswith(f"{platform.node()} ")
    (killed / "run.lock").write_text("node-17 4711\n")
    status = read_run(killed, "run").status
    assert (status.status, status.message) == ("running", "it is still running on node-17, or was killed")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write to .*nowhere/run\.lock"):
        RunLock(tmp_path / "nowhere")
