"""No request leaves the machine: the program in a network namespace that has nothing but itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# says where the process wants to connect to, then serves, asks itself for page and prediction, and ends
PROGRAM = """
import os, sys, threading, urllib.request

def audit(event, arguments):
    if event == "socket.connect":
        address = arguments[1]
        where = address[0] if isinstance(address, tuple) else address
        if where not in ("127.0.0.1", "::1", "localhost"):
            print("connects to", address, flush=True)
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "127.0.0.1", "::1", "localhost"):
        print("looks up", arguments[0], flush=True)

sys.addaudithook(audit)
model, photograph, folder = sys.argv[1:]
from fer_lightning.inference.app import serve

def ask():
    address = serve_address.pop()
    for path, body in (("/", None), ("/predict", open(photograph, "rb").read())):
        with urllib.request.urlopen(address + path, body, timeout=60) as answer:
            print(path, answer.status, len(answer.read()) > 100, flush=True)
    os.kill(os.getpid(), 2)

serve_address = []
real = serve.address_of
def address_of(listening):
    if not serve_address:
        serve_address.append(real(listening))
        threading.Thread(target=ask, daemon=True).start()
    return real(listening)
serve.address_of = address_of
from fer_lightning.app import main
main([f"ckpt_path={model}", "port=0", f"hydra.run.dir={folder}"])
print("torch" in sys.modules)
"""


def test_nothing_is_asked_of_other_machines(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    alone = ["unshare", "--net", "--map-root-user", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        pytest.skip("no unshare or no ip")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespace")
    command = [*alone, sys.executable, "-c", PROGRAM, tiny_onnx, portrait_file, tmp_path / "run"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    address, *lines = done.stdout.splitlines()
    assert address.startswith("http://127.0.0.1:"), done.stderr
    assert (lines, done.stderr) == (["/ 200 True", "/predict 200 True", "ended", "False"], "")
