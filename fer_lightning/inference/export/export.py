"""The verb `export`: from a checkpoint to a file for other programs."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from omegaconf import DictConfig

from fer_lightning.config.allowed import allowed_modules
from fer_lightning.core.atomic_write import atomic_folder, atomic_write, make_folder
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError, StorageError, UserError
from fer_lightning.core.file_names import shown
from fer_lightning.core.home import expand_user
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.inference.export.compare import ROUNDED, TOLERANCE, Comparison, compare
from fer_lightning.inference.export.formats import FORMATS
from fer_lightning.inference.export.images import Images, Splits, stand_ins
from fer_lightning.inference.export.quantize import CALIBRATED, Cost, quantize
from fer_lightning.inference.export.trained import Trained
from fer_lightning.models.shipped.find import find_model

STORED = ("onnx", "safetensors", "release")  # formats whose weights may be stored in two bytes


@dataclass(frozen=True)
class Exported:
    """A file or folder, how it compares with its checkpoint, and what its quantization costs."""

    path: Path
    comparison: Comparison
    cost: Cost | None = None


def export(cfg: DictConfig) -> Path:
    """Export `cfg.ckpt_path` as `cfg.format`, compare both, and return the file.

    A UserError says if the checkpoint, the images or the output cannot be used, or what was exported is not the same.
    """
    silence_libraries()
    if cfg.quantize is not None and cfg.format != "onnx":
        raise ConfigError(f"quantize={cfg.quantize} is for format=onnx: leave it out, or leave out format={cfg.format}")
    if cfg.storage != "float32" and (cfg.quantize is not None or cfg.format not in STORED):
        other = f"quantize={cfg.quantize}" if cfg.quantize is not None else f"format={cfg.format}"
        raise ConfigError(
            f"storage={cfg.storage} is for format={', '.join(STORED)}: leave it out, or leave out {other}"
        )
    trained = Trained.read(find_model(cfg.ckpt_path), allowed_modules(cfg), cfg.storage)
    output = _output(cfg, trained)
    trained = replace(trained, name=output.name, dataset=cfg.dataset)
    FORMATS[cfg.format].check(trained, output)
    splits = Splits.find(cfg, trained)
    if cfg.quantize is not None and splits is None:
        raise ConfigError("quantize=int8 needs images to calibrate on and to measure its cost on: type data.root=PATH")
    print(f"exporting {trained.backbone} of epoch {trained.checkpoint.epoch} as {cfg.format}", flush=True)
    size, channels = trained.original.image_size, trained.original.channels
    images = stand_ins(size, channels) if splits is None else splits.to_compare(cfg.split)
    try:
        done = write(trained, output, cfg.format, images, splits if cfg.quantize else None, cfg.split)
    except StorageError as error:
        if cfg.output is None:
            raise
        raise error.advising("output=PATH") from error
    lines = [f"compared on {images.what}:", f"  {done.comparison}"]
    lines += [] if done.cost is None else [str(done.cost)]
    lines += [f"written to {output} ({_size(output) / 1e6:.1f} MB)", "", FORMATS[cfg.format].usage(output)]
    print(shown("\n".join(lines)))
    return output


def export_checkpoint(path: str | Path, output: str | Path, format: str = "onnx") -> Exported:
    """Write a checkpoint in a format, a key of `FORMATS`, compared with it on drawn faces and noise.

    Raises:
        CheckpointError: the file is no checkpoint of fer_lightning.
        UserError: the network cannot be exported, or does not give the same; `output` is as it was.
    """
    trained = Trained.read(path)
    FORMATS[format].check(trained, Path(output))
    return write(trained, Path(output), format, stand_ins(trained.original.image_size, trained.original.channels))


def write(
    trained: Trained,
    output: Path,
    format: str,
    images: Images,
    quantized_on: Splits | None = None,
    split: str = "validation",
) -> Exported:
    """Write a model that was checked; what was at `output` is replaced if the new one gives the same probabilities.

    An ONNX file is then quantized on `quantized_on`, and scored on `split` of it.
    """
    chosen, cost = FORMATS[format], None
    make_folder(output.parent)
    with (atomic_write if chosen.suffix else atomic_folder)(output) as new:
        chosen.write(trained, new)
        tolerance = ROUNDED if trained.storage == "float16" else TOLERANCE
        comparison = compare(chosen.load(new), trained.original, images.faces, tolerance)
        if not comparison.equal:
            raise UserError(f"nothing was written: the exported model is not the same ({comparison})")
        if quantized_on is not None:
            with TemporaryDirectory() as folder:
                fp32 = Path(folder, "fp32.onnx")
                shutil.move(new, fp32)
                calibration = quantized_on.to_calibrate(split, CALIBRATED)
                cost = quantize(fp32, new, calibration, quantized_on.of(split))
    return Exported(output, comparison, cost)


def _size(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder."""
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def _output(cfg: DictConfig, trained: Trained) -> Path:
    """Return the file or folder to write; a ConfigError if its name says another format."""
    suffix = FORMATS[cfg.format].suffix
    kind = f"_{cfg.quantize}" if cfg.quantize else "" if suffix else f"_{cfg.format}"
    name = re.sub(r"[^\w.-]+", "_", trained.backbone) + kind + suffix
    if cfg.output is None:
        return Path(cfg.output_dir) / name
    if not cfg.output.strip():  # the path would be the current folder
        raise ConfigError("output is empty, as if a variable had no value: type output=PATH")
    output = expand_user(cfg.output)
    if suffix and output.is_dir():
        return output / name
    others = {other.suffix for other in FORMATS.values()} - {""}
    if output.suffix == suffix or (not suffix and output.suffix not in others):
        return output
    fitting = next((name for name, other in FORMATS.items() if other.suffix == output.suffix), None)
    named = output.with_suffix(suffix) if fitting else output.with_name(output.name + suffix)
    other = f", or format={fitting}" if fitting else ""
    typed = path_setting("output", named)
    raise ConfigError(f"output={cfg.output} is no name for format={cfg.format}: type {typed}{other}")
