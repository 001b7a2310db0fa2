"""The verb `export`: from a checkpoint to a file for other programs."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from fer_lightning.core.atomic_write import atomic_write, make_folder
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError, UserError
from fer_lightning.core.home import expand_user
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.compare import Comparison, compare
from fer_lightning.inference.export.facts import as_metadata, describe
from fer_lightning.inference.export.images import Images, find_images, stand_ins
from fer_lightning.inference.export.onnx_graph import to_onnx
from fer_lightning.inference.export.probabilities import Probabilities
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.models.checkpoint import Checkpoint

SUFFIX = ".onnx"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A file, and how it compares with its checkpoint."""

    path: Path
    comparison: Comparison


def export(cfg: DictConfig) -> Path:
    """Export `cfg.ckpt_path` as `cfg.format`, compare both, and return the file.

    A UserError says if the checkpoint, the images or the output cannot be used, or what was exported is not the same.
    """
    silence_libraries()
    if OmegaConf.is_missing(cfg, "ckpt_path") or cfg.ckpt_path is None:
        raise ConfigError("ckpt_path has no value: type ckpt_path=<run folder>/checkpoints/best.ckpt")
    checkpoint = Checkpoint.read(expand_user(cfg.ckpt_path))
    output = _output(cfg, checkpoint)
    images = find_images(cfg, checkpoint)
    done = export_onnx(checkpoint, output, images)
    print(f"compared on {images.what}:\n  {done.comparison}")
    size = done.path.stat().st_size / 1e6
    print(f"written to {done.path} ({size:.1f} MB)")
    print(f"\npython -m fer_lightning.predict {path_setting('model', done.path)} source=photo.jpg")
    return done.path


def export_onnx(checkpoint: Checkpoint | str | Path, output: str | Path, images: Images | None = None) -> Exported:
    """Write a checkpoint as one ONNX file, compared on `images` or, without them, on drawn faces and noise.

    Raises:
        CheckpointError: the file is no checkpoint of fer_lightning.
        UserError: the network cannot be exported, or does not give the same; `output` is as it was.
    """
    checkpoint = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.read(checkpoint)
    original, output = CheckpointRecognizer.load(checkpoint.path), Path(output)
    size, channels = original.image_size, original.channels
    images = stand_ins(size, channels) if images is None else images
    example = torch.zeros((2, channels, size, size), dtype=torch.uint8)
    model = to_onnx(Probabilities(original.model, size), example, as_metadata(describe(checkpoint)))
    make_folder(output.parent)
    with atomic_write(output) as new:
        new.write_bytes(model.SerializeToString())
        comparison = compare(OnnxRecognizer.load(new), original, images.images)
        if not comparison.equal:
            raise UserError(f"nothing was written: the exported model is not the same ({comparison})")
    return Exported(output, comparison)


def _output(cfg: DictConfig, checkpoint: Checkpoint) -> Path:
    """Return the file to write; a ConfigError if its name says another format."""
    name = re.sub(r"[^\w.-]+", "_", checkpoint.hyper_parameters["backbone"]) + SUFFIX
    if cfg.output is None:
        return Path(cfg.output_dir) / name
    output = expand_user(cfg.output)
    if output.is_dir():
        return output / name
    if output.suffix != SUFFIX:
        raise ConfigError(f"output={cfg.output} is no name of an ONNX file: type output={output.name}{SUFFIX}")
    return output
