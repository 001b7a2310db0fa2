"""Which file a model is in that is named by a path, by the name of one that ships with the package, or not at all."""

from __future__ import annotations

import json
import logging
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fer_lightning.core.errors import ConfigError
from fer_lightning.core.home import expand_user
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.models.views import in_words

FOLDER = Path(__file__).parent
DEFAULT = "compact"
GRAPH, WEIGHTS, CARD, MANIFEST = "model.onnx", "model.safetensors", "MODEL_CARD.md", "model.json"
log = logging.getLogger(__name__)


def shipped_models() -> list[str]:
    """Return the names of the models that ship, the default first."""
    names = (manifest.parent.name for manifest in FOLDER.glob(f"*/{MANIFEST}"))
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def find_model(path: str | Path | None, *, graph: bool = False) -> Path:
    """Return the file of a model, and log which one that is where no path tells.

    Args:
        path: of a file; or a name of `shipped_models`, also where a file is called so; None for the default.
        graph: of a model that ships, prefer the ONNX file, where onnxruntime is installed, to the weights for torch.

    Raises:
        ConfigError: it is a word that names neither a file nor a model that ships, or None, and none ships.
    """
    names = shipped_models()
    name = DEFAULT if path is None else str(path)
    if name in names:
        log.info(describe(name))
        return FOLDER / name / (GRAPH if graph and find_spec("onnxruntime") is not None else WEIGHTS)
    if path is None:
        raise ConfigError(
            "no model is named, and none ships with this copy of the package: type "
            "ckpt_path=<run folder>/checkpoints/best.ckpt, or model=FILE.onnx of python -m fer_lightning.export"
        )
    found = expand_user(path)
    if re.fullmatch(r"\w[\w-]*", name) and not found.exists():
        raise ConfigError(
            f"{name} is neither a file nor a model that ships with the package, which are "
            f"{', '.join(names) or 'none'}{did_you_mean(name, names, prefix='model=')}"
        )
    return found


def weights_file(path: str | Path) -> Path:
    """Return the file of weights for torch that is named by its path, or as a model that ships."""
    return FOLDER / str(path) / WEIGHTS if str(path) in shipped_models() else expand_user(path)


def read_manifest(name: str) -> dict[str, Any]:
    """Return what is recorded of a model that ships."""
    manifest: dict[str, Any] = json.loads((FOLDER / name / MANIFEST).read_text(encoding="utf-8"))
    return manifest


def describe(name: str) -> str:
    """Return one line on a model that ships: who made it when, and its score."""
    told = read_manifest(name)
    line, scores = f"model {name} of fer_lightning {told['version']}, {told['date']}", told.get("scores")
    if scores is None:
        return line
    images = f"{scores['count']:,} {scores['split']} images{in_words(scores)}"
    return f"{line}: accuracy {100 * scores['accuracy']:.1f} % on {images}"


def model_name(path: Path) -> str:
    """Return what a message calls a model: the name of one that ships, the path of any other."""
    return path.parent.name if path.parent.parent == FOLDER else str(path)
