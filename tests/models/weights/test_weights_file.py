"""Weights from a file: what people keep them in, whose names they have, and what is said of files that hold none."""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import shlex
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from omegaconf import OmegaConf
from timm.models import adapt_input_conv
from torch import Tensor, nn

from fer_lightning.cli.arguments import complete
from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.safetensors_file import write_safetensors
from fer_lightning.models.shipped.find import find_model
from fer_lightning.models.weights.fit import load_weights
from fer_lightning.models.weights.torchvision_names import SAME_ORDER


def build(name: str, **settings: Any) -> nn.Module:
    return build_backbone(name, **({"num_classes": 7, "in_channels": 1, "image_size": 48} | settings))


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


def test_a_model_that_ships_gives_its_weights_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Checkpoint.read(find_model("compact"))
    name, kwargs = shipped.hyper_parameters["backbone"], shipped.hyper_parameters.get("backbone_kwargs") or {}
    network = build(name, weights="compact", backbone_kwargs=kwargs)
    expected = shipped.build().backbone.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    with pytest.raises(ConfigError, match=r"no file at model\.weights=compakt; .*mean model\.weights=compact\?"):
        build(name, weights="compakt")
    with pytest.raises(ConfigError, match=f"of another network.*type model=timm model.backbone={name}"):
        build("cnn_gru", weights="compact")


def test_a_file_of_ours_says_the_network_to_type(tmp_path: Path, compose: Callable[..., Any]) -> None:
    kwargs = {"widths": [8, 16], "depths": [1, 1], "branches": False, "stem": "plain", "drop_path": 0.0}
    model = ExpressionClassifier(classes=["a", "b"], backbone="compact_cnn", image_size=48, backbone_kwargs=kwargs)
    told = {"hyper_parameters": dict(model.hparams), "epoch": 0, "global_step": 0, "selection": {}, "facts": {}}
    file = tmp_path / "ours.safetensors"
    write_safetensors(file, told | {"fer_lightning": {"version": "0"}}, model.state_dict(), {})
    with pytest.raises(ConfigError, match="of another network") as refused:
        build("compact_cnn", weights=str(file), backbone_kwargs={})
    words = complete("train", shlex.split(str(refused.value).partition("type ")[2]), None, swept=True)
    typed = OmegaConf.to_container(compose("train", *words).model)
    assert build(typed["backbone"], weights=str(file), backbone_kwargs=typed["backbone_kwargs"])


# ---- as other projects save them


def ours(donor: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights, all but its last layer's."""
    return {key: value for key, value in donor.state_dict().items() if not key.startswith("classifier.")}


def has_loaded(network: nn.Module, weights: dict[str, Tensor]) -> bool:
    state = network.state_dict()
    return all(torch.equal(state[key], value) for key, value in weights.items())


def moved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return other weights of the same sizes."""
    return {key: value + 1 for key, value in state.items()}


def prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


PREFIXES = ("model.", "net.", "network.", "module.", "backbone.", "encoder.", "model.module.", "a._orig_mod.")
CONTAINERS = ("state_dict", "model", "model_state_dict", "net", "network", "weights", "model_state", "params")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_of_every_key_is_taken_off(donor: nn.Module, tmp_path: Path, prefix: str) -> None:
    state = prefixed(prefix, donor.state_dict())
    others = {"loss.weight": torch.ones(7), "val_acc.confmat": torch.ones(7, 7)}
    optimizer = {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    torch.save({"state_dict": state | others, "optimizer_states": [optimizer], "epoch": 3}, tmp_path / "last.ckpt")
    assert has_loaded(build("test_efficientnet", in_channels=3, weights=str(tmp_path / "last.ckpt")), ours(donor))


@pytest.mark.parametrize("key", CONTAINERS)
def test_the_dictionary_of_weights_is_found_in_a_checkpoint(donor: nn.Module, tmp_path: Path, key: str) -> None:
    content = {key: donor.state_dict(), "best_acc1": torch.tensor(71.0), "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "model_best.pth.tar")  # which is no tar, as torch's examples call it
    network = build("test_efficientnet", in_channels=3, weights=str(tmp_path / "model_best.pth.tar"))
    assert has_loaded(network, ours(donor))


@pytest.mark.parametrize(
    "keys",
    [
        ("state_dict", "state_dict_ema"),
        ("model", "model_ema"),
        ("model", "ema"),
        ("state_dict", "ema_state_dict"),
        ("current_model_state", "state_dict"),  # of Lightning's averages, which stand where the weights otherwise do
    ],
)
def test_of_two_sets_the_moving_average_is_taken_and_said(
    donor: nn.Module, tmp_path: Path, keys: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({keys[0]: moved(donor.state_dict()), keys[1]: donor.state_dict()}, tmp_path / "net.pth")
    with caplog.at_level(logging.INFO):
        network = build("test_efficientnet", in_channels=3, weights=str(tmp_path / "net.pth"))
    assert has_loaded(network, ours(donor))
    assert f"net.pth, under {keys[1]}.; the last layer starts anew" in caplog.text


def test_two_networks_of_equal_right_are_not_guessed_between(donor: nn.Module, tmp_path: Path) -> None:
    state = prefixed("student.", donor.state_dict()) | prefixed("teacher.", donor.state_dict())
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(ConfigError, match=r"holds this network 2 times, under student\. and teacher\.: save the one"):
        build("test_efficientnet", weights=str(tmp_path / "net.pth"))


def test_a_checkpoint_with_objects_of_other_projects_is_read_without_them(donor: nn.Module, tmp_path: Path) -> None:
    content = {
        "state_dict": prefixed("model.", donor.state_dict()),
        "hyper_parameters": OmegaConf.create({"lr": 0.1, "nested": {"evil": [1, 2]}}),
        "args": argparse.Namespace(arch="test_efficientnet", path=Path("/data"), score=np.float64(0.7)),
        "history": np.arange(5),
    }
    torch.save(content, tmp_path / "last.ckpt")
    assert has_loaded(build("test_efficientnet", in_channels=3, weights=str(tmp_path / "last.ckpt")), ours(donor))


@pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel, lambda net: {"epoch": 1, "model": net}, list])
def test_a_whole_model_gives_its_weights(donor: nn.Module, tmp_path: Path, wrap: Callable[..., Any]) -> None:
    whole = timm.create_model("test_efficientnet").half()
    whole.load_state_dict(donor.state_dict())
    torch.save([whole] if wrap is list else wrap(whole), tmp_path / "whole.pth")
    network = build("test_efficientnet", in_channels=3, weights=str(tmp_path / "whole.pth"))
    assert has_loaded(network, {key: value.to(network.state_dict()[key]) for key, value in ours(whole).items()})


class Trap(nn.Module):
    """A module that runs code when it is unpickled, beside a network."""

    def __init__(self, net: nn.Module, target: Any, args: tuple[Any, ...]) -> None:
        super().__init__()
        self.net = net
        self.trap = (target, args)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"trap": Call(*self.trap)}


class Call:
    def __init__(self, target: Any, args: tuple[Any, ...]) -> None:
        self.target, self.args = target, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.target, self.args


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("target", ["system", "makedirs", "eval", "touch"])
def test_nothing_in_a_whole_model_is_run(donor: nn.Module, tmp_path: Path, target: str, protocol: int) -> None:
    ran = tmp_path / "ran"
    call = {
        "system": (os.system, (f"touch {ran}",)),
        "makedirs": (os.makedirs, (str(ran),)),
        "eval": (eval, (f"open({str(ran)!r}, 'w')",)),
        "touch": (Path.touch, (ran,)),
    }[target]
    torch.save(Trap(donor, *call), tmp_path / "net.pth", pickle_protocol=protocol)
    network = build("test_efficientnet", in_channels=3, weights=str(tmp_path / "net.pth"))
    assert has_loaded(network, ours(donor))
    assert not ran.exists()


# ---- under torchvision's names


def test_torchvisions_vgg_serves_the_pooled_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    features = torchvision.models.vgg11().features.state_dict()
    dense = {f"classifier.{at}.{kind}": torch.ones(8, 8) for at in (0, 3, 6) for kind in ("weight", "bias")}
    torch.save(prefixed("features.", features) | dense, tmp_path / "vgg11-8a719046.pth")
    with caplog.at_level(logging.INFO):
        network = build("vgg11", in_channels=3, weights=str(tmp_path / "vgg11-8a719046.pth"))
    assert has_loaded(network.features, features)
    assert "16 of 18 tensors" in caplog.text
    assert "the last layer starts anew; not used: 6 (classifier.0.weight…)" in caplog.text


@pytest.mark.parametrize(
    "architecture", ["resnet18", "densenet121", "efficientnet_b0", "mobilenetv2_100", "convnext_tiny"]
)
def test_torchvisions_weights_give_torchvisions_logits(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(SAME_ORDER.get(architecture, architecture), num_classes=7).eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that differ
            module.running_mean.normal_(std=0.01)
            module.running_var.uniform_(0.5, 1.5)
    state = theirs.state_dict()
    if architecture == "densenet121":  # as its file at torchvision still is
        old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in state.items()}
        state = {key: value for key, value in old.items() if not key.endswith("num_batches_tracked")}
    torch.save({"state_dict": prefixed("model.", state)}, tmp_path / "net.ckpt")
    network = build(architecture, in_channels=3, image_size=64, weights=str(tmp_path / "net.ckpt")).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected, logits = theirs(images), network(images)
    assert expected.isfinite().all()
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


# ---- what is not weights of this network


def test_a_network_of_other_names_is_said_to_be_one(tmp_path: Path) -> None:
    state = torchvision.models.mobilenet_v3_small(num_classes=7).state_dict()
    torch.save(state, tmp_path / "mobilenet_v3_small-047dcff4.pth")
    message = (
        r"none of its \d+ tensors \(features\.0\.0\.weight…\) is called as those of mobilenetv3_small_100 \(conv_stem"
    )
    with pytest.raises(ConfigError, match=message):
        build("mobilenetv3_small_100", weights=str(tmp_path / "mobilenet_v3_small-047dcff4.pth"))


def test_a_file_named_after_another_network_leads_to_it(tmp_path: Path) -> None:
    file = str(tmp_path / "resnet18-f37072fd.pth")
    torch.save(torchvision.models.resnet18().state_dict(), file)
    with pytest.raises(ConfigError, match=r"is of another network: .*; type model=timm model\.backbone=resnet18$"):
        build("resnet50", weights=file)
    assert build("resnet18", weights=file).num_classes == 7  # what it says to type


def keras_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "{}")


def tar_of_text(path: Path) -> None:
    path.with_name("notes.txt").write_text("notes")
    with tarfile.open(path, "w") as archive:
        archive.add(path.with_name("notes.txt"), "notes.txt")


FOREIGN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "model.h5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200)), "an HDF5 file, as Keras writes"),
    "weights.hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200)), "an HDF5 file"),
    "model.keras": (keras_zip, "a Keras model and holds no PyTorch weights"),
    "net.onnx": (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "an ONNX graph"),
    "net.tflite": (lambda path: path.write_bytes(b"\x1c\x00\x00\x00TFL3"), "a TensorFlow Lite model"),
    "net.ckpt.data-00000-of-00001": (lambda path: path.write_bytes(bytes(64)), "a part of a TensorFlow checkpoint"),
    "net.npz": (lambda path: np.savez(path, a=np.ones(3)), "a file of NumPy arrays"),
    "net.npy": (lambda path: np.save(path, np.ones(3)), "an array of NumPy"),
    "page.pth": (
        lambda path: path.write_text("\n<!DOCTYPE html><html>404</html>"),
        "a web page, .*: download it again",
    ),
    "lfs.pth": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "net.tar.gz": (lambda path: path.write_bytes(b"\x1f\x8b\x08" + bytes(99)), "compressed archive: unpack it"),
    "net.tar": (tar_of_text, "an archive of other files: unpack it"),
    "folder": (lambda path: path.mkdir(), "it is a folder: type the path of"),
    "pipe.pth": (os.mkfifo, "it is no regular file"),
    "pickle.pkl": (
        lambda path: path.write_bytes(pickle.dumps(argparse.Namespace(a=1))),
        "a pickle, whose",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_files_that_hold_no_weights_are_called_what_they_are(tmp_path: Path, name: str) -> None:
    write, message = FOREIGN[name]
    write(tmp_path / name)
    with pytest.raises(ConfigError, match=f"model.weights=.*{name} cannot be read: .*{message}") as caught:
        load_weights(nn.Linear(1, 1), tmp_path / name, 1)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_leads_to_the_file_in_it(donor: nn.Module, tmp_path: Path) -> None:
    safetensors.torch.save_file(donor.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match=r"it is a folder: type model\.weights=.*/model\.safetensors$"):
        build("test_efficientnet", weights=str(tmp_path))
    shutil.copytree(tmp_path, tmp_path / "saved")
    (tmp_path / "saved" / "saved_model.pb").touch()
    with pytest.raises(ConfigError, match="it is a SavedModel of TensorFlow"):
        build("test_efficientnet", weights=str(tmp_path / "saved"))


def test_safetensors_are_known_by_their_content(donor: nn.Module, tmp_path: Path) -> None:
    safetensors.torch.save_file(donor.state_dict(), tmp_path / "pytorch_model.bin")
    assert has_loaded(
        build("test_efficientnet", in_channels=3, weights=str(tmp_path / "pytorch_model.bin")), ours(donor)
    )


@pytest.mark.parametrize("form", ["script", "export"])
def test_what_is_said_of_a_program_works(tmp_path: Path, form: str) -> None:
    network, image = build("small_cnn").eval(), torch.zeros(1, 1, 48, 48)
    file = tmp_path / "some net.pt2"
    if form == "script":
        torch.jit.trace(network, image).save(file)
    else:
        torch.export.save(torch.export.export(network, (image,)), file)
    with pytest.raises(ConfigError, match=r"if you trust it, type python -c .* and then model\.weights=") as caught:
        build("small_cnn", weights=str(file))
    command, _, new = str(caught.value).partition("type ")[2].partition(" and then model.weights=")
    exec(shlex.split(command)[2], {})
    assert has_loaded(build("small_cnn", weights=new), network.state_dict())
