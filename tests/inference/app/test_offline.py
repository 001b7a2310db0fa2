"""No request leaves the machine: the program in a network namespace that has nothing but itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fer_lightning.core.quiet_libraries import TELEMETRY

# every address of the world leads to the namespace itself, so that each attempt is counted there, whatever library and
# language it comes from
ALONE = """
ip link set lo up && ip route add local default dev lo && "$@"
code=$?
cat /proc/net/snmp > "$COUNTED"
exit $code
"""
ATTEMPT = """
import socket
for address in (("192.0.2.1", 443), ("fer.example", 80)):
    try:
        socket.create_connection(address, 1)
    except OSError:
        pass
"""
# serves, asks itself for page and prediction, and ends
SERVER = """
import os, sys, threading, urllib.request
from fer_lightning.inference.app import serve

def ask(address):
    for path, body in (("/", None), ("/predict", open(photograph, "rb").read())):
        with urllib.request.urlopen(address + path, body, timeout=60) as answer:
            print(path, answer.status, len(answer.read()) > 100, flush=True)
    os.kill(os.getpid(), 2)

model, photograph, folder = sys.argv[1:]
real = serve.address_of
def address_of(listening):
    address = real(listening)
    threading.Thread(target=ask, args=(address,), daemon=True).start()
    return address
serve.address_of = address_of
from fer_lightning.app import main
main([f"ckpt_path={model}", "port=0", f"hydra.run.dir={folder}"])
print("torch" in sys.modules)
"""


class Ended(NamedTuple):
    """What a program printed, and how often it began a connection or sent a packet such as those that look up names."""

    lines: list[str]
    errors: str
    connections: int
    packets: int


def run_alone(folder: Path, program: str, *arguments: Any) -> Ended:
    """Run a program without a network, as a user starts it who has asked no library to report nothing."""
    alone = ["unshare", "--net", "--map-root-user", "sh", "-c"]
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("no unshare or no ip")
    if subprocess.run([*alone, "ip link set lo up"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespace")
    counted, temporary = folder / "counted.txt", folder / "temporary"
    temporary.mkdir()
    own = {"TMPDIR": str(temporary), "COUNTED": str(counted)}
    environment = {name: value for name, value in os.environ.items() if name not in TELEMETRY} | own
    command = [*alone, ALONE, "sh", sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert list(temporary.iterdir()) == []  # where onnxruntime would note whom to report to
    tables = [line.split() for line in counted.read_text().splitlines()]
    counts = {
        (names[0], name): int(value)
        for names, values in zip(tables[::2], tables[1::2], strict=True)
        for name, value in zip(names[1:], values[1:], strict=True)
    }
    return Ended(done.stdout.splitlines(), done.stderr, counts["Tcp:", "ActiveOpens"], counts["Udp:", "OutDatagrams"])


def test_an_attempt_is_counted(tmp_path: Path) -> None:
    ended = run_alone(tmp_path, ATTEMPT)
    assert ended.connections == 1
    assert ended.packets >= 1


@pytest.mark.slow
def test_nothing_is_asked_of_other_machines(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    lines, errors, connections, packets = run_alone(tmp_path, SERVER, tiny_onnx, portrait_file, tmp_path / "run")
    address, *lines = lines
    assert address.startswith("http://127.0.0.1:"), errors
    assert (lines, errors) == (["/ 200 True", "/predict 200 True", "ended", "False"], "")
    assert (connections, packets) == (2, 0)  # its own two
