"""The formats of an export, by the value of `format`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fer_lightning.inference.export import onnx_file, release, safetensors_file, timm_folder, torch_program
from fer_lightning.inference.export.trained import Classify, Trained


@dataclass(frozen=True)
class Format:
    """How a format is written and read again.

    Attributes:
        suffix: of the file; empty for a folder.
        check: raises a ConfigError where it cannot hold a model, or the path is taken, before work.
        write: writes what is not there yet; a UserError if the network has what the format has not.
        load: returns what classifies by the file alone.
        usage: returns a command that uses the file.
    """

    suffix: str
    check: Callable[[Trained, Path], None]
    write: Callable[[Trained, Path], None]
    load: Callable[[Path], Classify]
    usage: Callable[[Path], str]


FORMATS = {
    name: Format(module.SUFFIX, module.check, module.write, module.load, module.usage)
    for name, module in (
        ("onnx", onnx_file),
        ("safetensors", safetensors_file),
        ("torch_export", torch_program),
        ("timm", timm_folder),
        ("release", release),
    )
}
