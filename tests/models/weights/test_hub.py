"""Weights from a local file, and from a hub that may be away."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import safetensors.torch
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.weights.hub import answers


def build(name: str, **settings: Any) -> nn.Module:
    return build_backbone(name, **({"num_classes": 7, "in_channels": 1, "image_size": 48} | settings))


# ---- weights from the hub


def test_ours_have_no_pretrained_weights() -> None:
    for name in ("small_cnn", "keras_cnn", "cnn_gru"):
        with pytest.raises(ConfigError, match=rf"{name} has no pretrained weights; type model\.pretrained=false"):
            build(name, pretrained=True)
    with pytest.raises(
        ConfigError, match=r"no pretrained weights for model\.backbone=resnet50t; type model\.pretrained"
    ):
        build("resnet50t", pretrained=True)


class Hub(BaseHTTPRequestHandler):
    """As much of a model hub as a download needs; serves as a proxy to itself, too."""

    files: dict[str, bytes]
    broken = False

    def do_GET(self) -> None:
        path = urlsplit(self.path).path  # a proxy is asked for whole addresses
        content = self.files.get(path)
        if path != "/" and content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = b"" if content is None else content
        self.send_response(503 if self.broken else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@contextmanager
def serving(files: dict[str, bytes], broken: bool = False) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("OneHub", (Hub,), {"files": files, "broken": broken}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@contextmanager
def silence() -> Iterator[str]:
    """A server that lets one connect and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def dripping() -> Iterator[str]:
    """A server that is always about to answer: a byte now and then, each within any time limit on silence."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Patience: ")
                    while True:
                        connection.sendall(b"a")
                        time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_what_counts_as_an_answer() -> None:
    with serving({}) as hub:
        assert answers(hub, 5)
        assert answers(f"{hub}/no/such/file", 5)  # the server is there
    assert not answers(hub, 5)  # nobody listens any more
    assert not answers("http://nowhere.invalid", 5)
    with serving({}, broken=True) as hub:
        assert not answers(hub, 5)
    with silence() as hub:
        assert not answers(hub, 0.5)
    with dripping() as hub:
        start = time.monotonic()
        assert not answers(hub, 1)
        assert time.monotonic() - start < 20  # it never stops dripping


PROGRAM = """
import json, sys, time, torch
from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import build_backbone
for name in sys.argv[1:]:
    start, torch_seed = time.monotonic(), torch.manual_seed(0)
    try:
        network = build_backbone(name, num_classes=7, in_channels=1, image_size=48, pretrained=True)
        answer = {"first": next(network.parameters()).flatten()[:9].tolist()}
    except ConfigError as error:
        answer = {"error": str(error)}
    print("\\n" + json.dumps(answer | {"seconds": time.monotonic() - start}), flush=True)
"""


def ask(home: Path, *names: str, **environment: str) -> list[dict[str, Any]]:
    """Build pretrained networks in a process of its own, as the hub's client reads its environment once."""
    settings = {"HF_HOME": str(home), "TORCH_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1"}
    kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    kept = {key: value for key, value in kept.items() if not key.startswith("HF_")}
    command = [sys.executable, "-c", PROGRAM, *names]
    done = subprocess.run(
        command, env=kept | settings | environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def beginning(state: dict[str, Tensor], key: str) -> list[float]:
    return pytest.approx(adapt_input_conv(1, state[key]).flatten()[:9].tolist(), rel=1e-5)


@pytest.mark.slow
def test_weights_in_the_local_cache_need_no_network(donor: nn.Module, vgg11: dict[str, Tensor], tmp_path: Path) -> None:
    for repository in ("models--timm--test_efficientnet.r160_in1k", "models--timm--vgg11.tv_in1k"):
        folder = tmp_path / "hub" / repository
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    snapshot = "snapshots/" + "0" * 40
    safetensors.torch.save_file(
        donor.state_dict(), tmp_path / "hub/models--timm--test_efficientnet.r160_in1k" / snapshot / "model.safetensors"
    )
    torch.save(vgg11, tmp_path / "hub/models--timm--vgg11.tv_in1k" / snapshot / "pytorch_model.bin")
    with silence() as hub:
        resnet, vgg, absent, elsewhere = ask(
            tmp_path,
            "test_efficientnet",
            "vgg11.tv_in1k",
            "resnet10t",
            "gcvit_xxtiny",
            HF_ENDPOINT=hub,
            HTTPS_PROXY=hub,
        )
    assert resnet["first"] == beginning(donor.state_dict(), "conv_stem.weight")
    assert vgg["first"] == beginning(vgg11, "features.0.weight")
    assert resnet["seconds"] < 9  # nobody was asked: the silent one would have been waited for ten seconds
    for answer in (absent, elsewhere):
        assert answer["seconds"] < 60
        assert "are not on this machine and cannot be downloaded" in answer["error"]
        assert "model.pretrained=false" in answer["error"]
        assert "model.weights=FILE" in answer["error"]


@pytest.mark.slow
def test_weights_are_downloaded_through_a_proxy_and_kept(donor: nn.Module, tmp_path: Path) -> None:
    content = safetensors.torch.save(donor.state_dict())
    hub = "http://hub.invalid"  # has no address: only the proxy knows it, a bare socket would call it away
    with serving({"/timm/test_efficientnet.r160_in1k/resolve/main/model.safetensors": content}) as proxy:
        found, refused = ask(tmp_path, "test_efficientnet", "resnet10t", HF_ENDPOINT=hub, HTTP_PROXY=proxy)
    assert found.get("first") == beginning(donor.state_dict(), "conv_stem.weight"), found
    assert "resnet10t are not on this machine and cannot be downloaded" in refused["error"]  # the hub has no such file
    again, absent = ask(tmp_path, "test_efficientnet", "resnet10t", HF_HUB_OFFLINE="1")
    assert again.get("first") == found["first"], again
    assert "HF_HUB_OFFLINE is set" in absent["error"]
