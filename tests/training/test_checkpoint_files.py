"""A checkpoint is there and whole, whatever ends the process that writes it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from fer_lightning.cli.command import run_verb
from fer_lightning.core.whole_checkpoints import whole_checkpoints
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.runs.read import read_run
from fer_lightning.runs.status import read_status

AtMost = Callable[[int], AbstractContextManager[None]]
TINY = (
    "data.synthetic={train: 28, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "data.num_workers=0",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
    "~callbacks.early_stopping",
    "logger=none",
    "trainer.max_epochs=1",
)


def train(folder: Path, *typed: str) -> None:
    run_verb("train", "training.run:train", [*TINY, f"hydra.run.dir={folder}", *typed])


def test_a_full_disk_leaves_the_checkpoint_and_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, at_most: AtMost
) -> None:
    monkeypatch.chdir(tmp_path)
    train(Path("run"))
    last = Path("run/checkpoints/last.ckpt")
    before = last.read_bytes()
    with at_most(1_000_000), pytest.raises(SystemExit) as stop:
        train(Path("run"), f"ckpt_path={last}", "trainer.max_epochs=3")
    assert stop.value.code == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: cannot write to ")
    assert said.partition(" (")[0].endswith(".ckpt")
    status = read_status(Path("run"))
    assert status is not None
    assert (status.status, status.reason, f"error: {status.message}") == ("failed", "storage", said)
    assert last.read_bytes() == before
    assert sorted(path.name for path in last.parent.iterdir()) == ["best.ckpt", "last.ckpt"]
    last.write_bytes(before[:1000])  # by an older version
    with pytest.raises(SystemExit):
        train(Path("run"), f"ckpt_path={last}", "trainer.max_epochs=2")
    advice = capsys.readouterr().err.rpartition("type ")[2].strip()
    assert advice.endswith("run/checkpoints/best.ckpt")
    train(Path("run"), advice, "trainer.max_epochs=2")
    assert Checkpoint.read(last).epoch == 2


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Outputs and temporary files on two file systems, where a rename from one to the other is a copy."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system")
    draw, elsewhere = random.Random(0), Path(tempfile.mkdtemp(dir=shared))
    try:
        for attempt in range(20):
            folder = tmp_path / f"{attempt}"
            child = os.fork()
            if child == 0:  # forked, because importing takes longer than all the rest
                try:
                    tempfile.tempdir = str(elsewhere)
                    train(folder, "trainer.max_epochs=100000", "trainer.max_time=00:00:01:00")
                finally:
                    os._exit(0)
            ends = time.monotonic() + 60
            while not whole_checkpoints(folder / "checkpoints") and time.monotonic() < ends:
                time.sleep(0.01)
            time.sleep(draw.uniform(0, 0.4))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            written = sorted(folder.glob("checkpoints/*.ckpt"))
            assert written
            assert written == sorted(whole_checkpoints(folder / "checkpoints"))
            assert [Checkpoint.read(path).epoch for path in written]
            assert read_run(folder, "run").status.reason == "killed"
            assert list(elsewhere.iterdir()) == []
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(elsewhere)
