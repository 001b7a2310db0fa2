"""The page as a process of its own, as people start it, and a browser without a screen."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@dataclass(frozen=True)
class Running:
    """A server: where it is, its process, the folder that holds everything temporary, and what it has printed."""

    address: str
    process: subprocess.Popen[str]
    temporary: Path
    log: Path

    def files(self) -> list[Path]:
        return [path for path in self.temporary.rglob("*") if path.is_file()]


Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Return a context that starts the verb with settings, and ends it with a signal; it must print no traceback."""

    @contextmanager
    def started(*settings: object, end: int = signal.SIGTERM) -> Iterator[Running]:
        folder = tmp_path_factory.mktemp("app")
        (folder / "temporary").mkdir()
        log = folder / "log.txt"
        command = [sys.executable, "-m", "fer_lightning.app", *map(str, settings), f"hydra.run.dir={folder}/run"]
        environment = os.environ | {"TMPDIR": str(folder / "temporary"), "PYTHONUNBUFFERED": "1"}
        with (
            log.open("w") as errors,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as process,
        ):
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + log.read_text()
            try:
                yield Running(found[0], process, folder / "temporary", log)
            finally:
                process.send_signal(end)
                code = process.wait(60)
                said = process.stdout.read() + log.read_text()
        assert (code, said) == (0, "ended\n")
        assert list((folder / "temporary").iterdir()) == []

    return started


@pytest.fixture(scope="session")
def page(start: Start, checkpoint: Path) -> Iterator[Running]:
    """A server that the tests of this folder share."""
    with start(f"ckpt_path={checkpoint}", "port=0", "max_upload=1") as running:
        yield running


@pytest.fixture(scope="module")  # playwright's event loop would disturb tests after it
def browser(portrait: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium, whose camera shows a portrait; tests that ask for it skip where it is not installed."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is on the PATH")
    from playwright.sync_api import sync_playwright

    video = tmp_path_factory.mktemp("camera") / "portrait.y4m"
    moving = (np.roll(portrait[:384], 8 * number, axis=1) for number in range(10))  # 4:3
    frames = (b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_RGB2YUV_I420).tobytes() for frame in moving)
    video.write_bytes(b"YUV4MPEG2 W512 H384 F10:1 Ip A1:1 C420jpeg\n" + b"".join(frames))
    camera = [
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={video}",
    ]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *camera])
        yield chromium
        chromium.close()
