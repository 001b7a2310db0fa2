"""Where a model is looked for that nobody named: the only place that knows."""

from __future__ import annotations

from pathlib import Path

from fer_lightning.core.errors import ConfigError


def find_model(path: str | Path | None) -> Path:
    """Return the file of a model; None asks for the one that ships with the package.

    Raises:
        ConfigError: none ships yet.
    """
    if path is None:
        raise ConfigError(
            "no model is named: type ckpt_path=<run folder>/checkpoints/best.ckpt of python -m fer_lightning.train, or "
            "model=FILE.onnx of python -m fer_lightning.export"
        )
    return Path(path)
