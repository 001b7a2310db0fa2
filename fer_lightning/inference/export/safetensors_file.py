"""`format=safetensors`: weights by name, with all that is needed to load, score, use or fine-tune them."""

from __future__ import annotations

from pathlib import Path

from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError
from fer_lightning.data.seen_images import SeenImages
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.trained import Classify, Trained
from fer_lightning.models.safetensors_file import write_safetensors

SUFFIX = ".safetensors"


def check(trained: Trained, output: Path) -> None:
    """Raise a ConfigError for a LightningModule of the user's own, whose code no file may name to be run."""
    if trained.checkpoint.own_class is not None:
        raise ConfigError(
            f"format=safetensors is for networks of fer_lightning, and {trained.backbone} is none: "
            "type format=torch_export"
        )


def write(trained: Trained, path: Path) -> None:
    """Write the weights, what they are loaded with, and the identities of the images that they have seen."""
    checkpoint = trained.checkpoint
    content, seen = checkpoint.content, SeenImages.from_checkpoint(checkpoint.content)
    told = {
        **{key: content[key] for key in ("epoch", "global_step", "fer_lightning")},
        "hyper_parameters": checkpoint.hyper_parameters | {"weights": None},  # a path on the machine that trained it
        "selection": checkpoint.selection,
        "facts": trained.facts,
    }
    try:
        write_safetensors(
            path, told, content["state_dict"], {} if seen is None else seen.state(), half=trained.storage == "float16"
        )
    except (TypeError, ValueError) as error:  # a checkpoint may hold more than JSON can
        raise ConfigError(f"{checkpoint.path} cannot be written as safetensors ({error}): type format=onnx") from error


def load(path: Path) -> Classify:
    """Return what classifies by the file."""
    return CheckpointRecognizer.load(path)


def usage(path: Path) -> str:
    """Return a command that uses the file."""
    return f"python -m fer_lightning.predict {path_setting('model', path)} source=photo.jpg"
