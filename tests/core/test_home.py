"""Without a folder of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_lightning.core.home import cache_home, expand_user

UNKNOWN_USER = ("unshare", "--user", "--map-user=12345", "--map-group=12345", "env", "-u", "HOME")


def test_the_user_s_folder_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    assert cache_home() == Path("/somebody/.cache/fer_lightning")
    assert expand_user("~/faces") == Path("/somebody/faces")
    assert expand_user("~nobody-of-that-name/faces") == Path("~nobody-of-that-name/faces")


def unknown_user(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*UNKNOWN_USER, *command], capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_a_user_whom_the_system_does_not_know_trains(tmp_path: Path) -> None:
    try:
        if unknown_user("true").returncode:
            pytest.skip("no user namespaces here")
    except FileNotFoundError:
        pytest.skip("no unshare here")
    typed = (
        "data.synthetic={train: 28, validation: 14, test: 14}",
        "data.image_size=16",
        "trainer=cpu",
        "trainer.max_epochs=1",
        "trainer.enable_progress_bar=false",
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    done = unknown_user(sys.executable, "-m", "fer_lightning.train", *typed)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    folder = unknown_user(sys.executable, "-c", "from fer_lightning.core.home import cache_home; print(cache_home())")
    assert os.path.basename(folder.stdout.strip()) == "fer_lightning-12345"
