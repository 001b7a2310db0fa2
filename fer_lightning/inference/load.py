"""The settings that predict, app and explain share, as a Predictor."""

from __future__ import annotations

from omegaconf import DictConfig

from fer_lightning.config.allowed import allowed_modules
from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.predictor import Predictor
from fer_lightning.models.shipped.find import find_model

MODELS = (".ckpt", ".onnx", ".safetensors")  # how their files end


def load_predictor(cfg: DictConfig, *, threads: int | None = None) -> Predictor:
    """Return the predictor that `ckpt_path`, `faces`, `detector_file`, `threshold` and `security.allow` describe.

    Args:
        threads: see `load_recognizer`.

    Raises:
        CheckpointError: the file is no model of fer_lightning.
        ConfigError: no such model ships with the package, or the detector or onnxruntime is not installed.
    """
    source = cfg.get("source") or []
    for name in [source] if isinstance(source, (str, int)) else source:
        if cfg.ckpt_path is None and str(name).endswith(MODELS):
            key = "ckpt_path" if str(name).endswith(".ckpt") else "model"
            raise ConfigError(f"{name} is a model and no picture: type {path_setting(key, str(name))}")
    gradients = cfg.get("method") == "gradcam"  # which no ONNX file gives
    return Predictor.load(
        find_model(cfg.ckpt_path, graph=not gradients),
        faces=cfg.faces,
        detector_file=cfg.detector_file,
        threshold=float(cfg.threshold),
        views=cfg.get("views", "single"),  # which only `predict` has
        threads=threads,
        allow=allowed_modules(cfg),
    )
