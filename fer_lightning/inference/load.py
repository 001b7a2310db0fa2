"""The settings that predict, app and explain share, as a Predictor."""

from __future__ import annotations

from omegaconf import DictConfig

from fer_lightning.config.allowed import allowed_modules
from fer_lightning.inference.predictor import Predictor


def load_predictor(cfg: DictConfig) -> Predictor:
    """Return the predictor that `ckpt_path`, `faces`, `detector_file`, `threshold` and `security.allow` describe.

    Raises:
        CheckpointError: the file is no model of fer_lightning.
        ConfigError: no model is named, or the detector or onnxruntime is not installed.
    """
    return Predictor.load(
        cfg.ckpt_path,
        faces=cfg.faces,
        detector_file=cfg.detector_file,
        threshold=float(cfg.threshold),
        allow=allowed_modules(cfg),
    )
