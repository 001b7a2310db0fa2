"""What a file of weights is, told by its first bytes and the names inside it; nothing in it is run."""

from __future__ import annotations

import shlex
import tarfile
import zipfile
from pathlib import Path

TORCH_ZIP, TORCH_LEGACY, SAFETENSORS = "torch zip", "torch legacy", "safetensors"
CONVERT = "convert it to a state dict first (.safetensors, or .pth of torch.save(model.state_dict(), …))"
SUFFIXES = {
    ".onnx": "an ONNX graph",
    ".tflite": "a TensorFlow Lite model",
    ".pb": "a TensorFlow graph",
    ".index": "a part of a TensorFlow checkpoint",
    ".meta": "a part of a TensorFlow checkpoint",
    ".mlmodel": "a Core ML model",
    ".mlpackage": "a Core ML model",
    ".pdparams": "a PaddlePaddle model",
    ".pdmodel": "a PaddlePaddle model",
    ".caffemodel": "a Caffe model",
    ".msgpack": "a Flax model",
    ".engine": "a TensorRT engine",
    ".plan": "a TensorRT engine",
    ".gguf": "a GGUF file",
    ".mat": "a MATLAB file",
}


def file_kind(path: Path) -> str:
    """Return `TORCH_ZIP`, `TORCH_LEGACY` or `SAFETENSORS` for a file that can hold PyTorch weights.

    Raises:
        ValueError: the file is something else; the message says what, and what to do.
    """
    if path.is_dir():
        raise ValueError(_describe_folder(path))
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no regular file: type the path of a .pth, .pt or .safetensors file")
    if is_safetensors(path):
        return SAFETENSORS
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"PK"):
        return _zip_kind(path)
    what = _foreign(path, start)
    if what is not None:
        raise ValueError(what)
    return TORCH_LEGACY


def is_safetensors(path: Path) -> bool:
    """Return whether a file begins with the length of a JSON object, and its brace."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def _foreign(path: Path, start: bytes) -> str | None:
    """Say what a file is that is neither zip nor safetensors; None if torch may have written it before 1.6."""
    text = start.lstrip().lower()
    if not start:
        return "it is empty: copy or download it again"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a web page, not the file behind its link: download it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, not the file itself: type git lfs pull where it lies"
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return f"it is an HDF5 file, as Keras writes its models, and holds no PyTorch weights: {CONVERT}"
    if path.suffix.lower() in SUFFIXES or ".data-0000" in path.name:
        what = SUFFIXES.get(path.suffix.lower(), "a part of a TensorFlow checkpoint")
        return f"it is {what} and holds no PyTorch weights: {CONVERT}"
    if start.startswith(b"\x93NUMPY"):
        return f"it is an array of NumPy and holds no PyTorch weights by name: {CONVERT}"
    if start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!", b"\x28\xb5\x2f\xfd")):
        return "it is a compressed archive: unpack it, and type the file inside"
    if start[257:262] == b"ustar" or _is_tar(path):
        return _describe_tar(path)
    if not start.startswith(b"\x80"):  # how each pickle begins, and with it what torch.save wrote before 1.6
        return "it is of no format that weights come in: type the path of a .pth, .pt or .safetensors file"
    return None


def _zip_kind(path: Path) -> str:
    """Return `TORCH_ZIP`, or raise a ValueError that says what else is in the zip."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is cut short: copy or download it again")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inner = {name.partition("/")[2] for name in names}
    if "model.weights.h5" in names:
        raise ValueError(f"it is a Keras model and holds no PyTorch weights: {CONVERT}")
    if "constants.pkl" in inner:
        raise ValueError(f"it is a TorchScript model, which is a program: {_converting('torch.jit.load', path)}")
    if "archive_format" in inner or "serialized_exported_program.json" in names:
        raise ValueError(f"it is a program of torch.export: {_converting('torch.export.load', path)}")
    if "data.pkl" in inner:
        check_size(path)
        return TORCH_ZIP
    if names and all(name.endswith(".npy") for name in names):
        raise ValueError(f"it is a file of NumPy arrays and holds no PyTorch weights: {CONVERT}")
    raise ValueError("it is an archive of other files: unpack it, and type the file inside")


def check_size(path: Path) -> None:
    """Raise a ValueError if a zip would unpack to more than its own size, which no `torch.save` writes."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > path.stat().st_size:
        raise ValueError(f"it would unpack to {unpacked / 2**20:,.0f} MiB: save it anew with torch.save")


def _converting(load: str, path: Path) -> str:
    """Return what takes the tensors out of a program, for the shell."""
    new, call = path.with_name(f"{path.stem}_weights.pth"), "()" if load == "torch.jit.load" else ""
    program = f"import torch; torch.save(dict({load}({str(path)!r}).state_dict{call}), {str(new)!r})"
    return f"if you trust it, type {shlex.join(['python', '-c', program])} and then model.weights={new}"


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except OSError:
        return False


def _describe_tar(path: Path) -> str:
    with tarfile.open(path) as archive:
        names = archive.getnames()
    if {"pickle", "storages", "tensors"} <= {*names}:
        return "torch 0.1 wrote it, which is no longer read: load it with that version and save its state dict anew"
    return "it is an archive of other files: unpack it, and type the file inside"


def _describe_folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return f"it is a SavedModel of TensorFlow and holds no PyTorch weights: {CONVERT}"
    files = sorted(file for ending in ("safetensors", "pth", "pt", "ckpt", "bin") for file in path.glob(f"*.{ending}"))
    hint = f"model.weights={files[0]}" if files else "the path of a .pth, .pt or .safetensors file"
    return f"it is a folder: type {hint}"
