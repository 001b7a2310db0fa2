"""Weights from a local file, and from a hub that may be away."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
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
import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.pretrained import answers


def build(name: str, **settings: Any) -> nn.Module:
    return build_backbone(name, **({"num_classes": 7, "in_channels": 1, "image_size": 48} | settings))


# ---- weights from a file


@pytest.fixture(scope="module")
def donor() -> nn.Module:
    """A network as timm makes it: 3 channels, 1000 classes."""
    torch.manual_seed(1)
    return timm.create_model("test_efficientnet").eval()


def save(state: dict[str, Tensor], folder: Path, form: str) -> str:
    """Write a state dict in one of the forms that people keep them in."""
    if form == "safetensors":
        safetensors.torch.save_file(state, folder / "net.safetensors")
        return str(folder / "net.safetensors")
    contents = {
        "plain": state,
        "state_dict": {"epoch": 3, "state_dict": state},
        "model": {"model": state, "optimizer": {}},
        "ddp": {f"module.{key}": value for key, value in state.items()},
        "lightning": {"state_dict": {"scale": torch.ones(1)} | {f"backbone.{k}": v for k, v in state.items()}},
    }
    torch.save(contents[form], folder / "net.pth")
    return str(folder / "net.pth")


@pytest.mark.parametrize("form", ["plain", "safetensors", "state_dict", "model", "ddp", "lightning"])
def test_weights_of_timm_are_folded_to_grey(donor: nn.Module, tmp_path: Path, form: str) -> None:
    network = build("test_efficientnet", weights=save(donor.state_dict(), tmp_path, form)).eval()
    first = donor.pretrained_cfg["first_conv"]
    folded = adapt_input_conv(1, donor.state_dict()[f"{first}.weight"])
    torch.testing.assert_close(network.state_dict()[f"{first}.weight"], folded)
    grey = torch.randn(2, 1, 48, 48)
    with torch.no_grad():  # a grey picture is the same picture with one channel or with three
        features = donor.forward_features(grey.expand(-1, 3, -1, -1))
        torch.testing.assert_close(network.forward_features(grey), features, rtol=1e-3, atol=1e-4)
    assert network(grey).shape == (2, 7)


def test_weights_of_grey_networks_serve_colour(tmp_path: Path) -> None:
    grey = build("small_cnn").eval()
    colour = build("small_cnn", in_channels=3, weights=save(grey.state_dict(), tmp_path, "plain")).eval()
    images = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(colour(images.expand(-1, 3, -1, -1)), grey(images), rtol=1e-4, atol=1e-5)


def test_a_classifier_of_as_many_classes_is_taken(tmp_path: Path) -> None:
    first = build("resnet10t")
    second = build("resnet10t", weights=save(first.state_dict(), tmp_path, "safetensors"))
    for key, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[key], value)


def test_a_classifier_of_other_classes_is_left_out(tmp_path: Path) -> None:
    file = save(build("resnet10t", num_classes=8).state_dict(), tmp_path, "plain")
    torch.manual_seed(5)
    fresh = build("resnet10t")
    torch.manual_seed(5)
    loaded = build("resnet10t", weights=file)
    assert torch.equal(loaded.fc.weight, fresh.fc.weight)
    assert not torch.equal(loaded.conv1[0].weight, fresh.conv1[0].weight)


def test_weights_without_a_classifier_will_do(donor: nn.Module, tmp_path: Path) -> None:
    state = {key: value for key, value in donor.state_dict().items() if not key.startswith("classifier.")}
    assert build("test_efficientnet", in_channels=3, weights=save(state, tmp_path, "plain")).num_classes == 7


def test_half_precision_weights_become_whole(donor: nn.Module, tmp_path: Path) -> None:
    state = {k: v.half() if v.is_floating_point() else v for k, v in donor.state_dict().items()}
    network = build("test_efficientnet", weights=save(state, tmp_path, "safetensors"))
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.fixture(scope="module")
def vgg11() -> dict[str, Tensor]:
    """timm's layout of VGG11, its dense part narrower (the file of ImageNet has half a gigabyte)."""
    return timm.create_model("vgg11", mlp_ratio=1 / 1024).state_dict()


def test_weights_of_timms_vgg_serve_the_pooled_one(vgg11: dict[str, Tensor], tmp_path: Path) -> None:
    assert "pre_logits.fc1.weight" in vgg11
    network = build("vgg11", in_channels=3, weights=save(vgg11, tmp_path, "safetensors"))
    for key, value in network.features.state_dict().items():
        torch.testing.assert_close(value, vgg11[f"features.{key}"])


def test_position_embeddings_are_resized(tmp_path: Path) -> None:
    donor = timm.create_model("test_vit", img_size=160)
    network = build("test_vit", image_size=64, weights=save(donor.state_dict(), tmp_path, "plain"))
    assert network.pos_embed.shape[1] < donor.pos_embed.shape[1]
    torch.testing.assert_close(network.blocks[0].attn.qkv.weight, donor.blocks[0].attn.qkv.weight)


def test_small_stem_keeps_the_kernel_of_weights_and_reloads_without_them(tmp_path: Path) -> None:
    donor = timm.create_model("resnet18")
    network = build("resnet18", stem="small", weights=save(donor.state_dict(), tmp_path, "plain")).eval()
    assert network.conv1.weight.shape == (64, 1, 7, 7)
    again = build("resnet18", stem="small").eval()  # as a checkpoint is reloaded: no weights asked for
    again.load_state_dict(network.state_dict())
    images = torch.randn(2, 1, 48, 48)
    torch.testing.assert_close(again(images), network(images))
    assert network.forward_features(images).shape[-2:] == (6, 6)
    small = build("resnet18", stem="small")  # and one of 3×3 from a run of one's own
    assert build("resnet18", stem="small", weights=save(small.state_dict(), tmp_path, "plain")).conv1.kernel_size == (
        3,
        3,
    )


class Evil:
    """Writes a file when unpickled by a reader that runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_bad_files_are_named(donor: nn.Module, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.pt").touch()
    torch.save({"epoch": 3}, tmp_path / "nothing.pth")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol=2))
    torch.save(donor.state_dict(), tmp_path / "other.pth")
    truncated = (tmp_path / "other.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(truncated[: len(truncated) // 2])
    partial = dict(list(donor.state_dict().items())[:-9])
    torch.save(partial, tmp_path / "partial.pth")
    wide = donor.state_dict() | {"conv_head.weight": torch.zeros(2, 2, 3, 3)}
    torch.save(wide, tmp_path / "wide.pth")
    messages = {
        "absent.pth": "no file at model.weights=.*absent.pth; type the path of",
        "text.pth": "text.pth cannot be read",
        "text.safetensors": "text.safetensors cannot be read",
        "empty.pt": "empty.pt cannot be read",
        "nothing.pth": "holds no state dict",
        "evil.pth": "evil.pth cannot be read",
        "cut.pth": "cut.pth cannot be read",
        "partial.pth": r"is of another network: of the \d+ tensors of this one it lacks \d+ \(",
        "wide.pth": "wide.pth does not fit this backbone: .*conv_head.weight",
    }
    for file, message in messages.items():
        with pytest.raises(ConfigError, match=message) as caught:
            build("test_efficientnet", weights=str(tmp_path / file))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(ConfigError, match=r"is of another network|does not fit"):
        build("small_cnn", weights=str(tmp_path / "other.pth"))


# ---- weights from the hub


def test_ours_have_no_pretrained_weights() -> None:
    for name in ("small_cnn", "keras_cnn"):
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
