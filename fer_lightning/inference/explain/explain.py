"""The verb `explain`: where a model looked in pictures, or where it looks for each class."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fer_lightning.core.errors import ConfigError
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.inference.batch import open_batch
from fer_lightning.inference.explain.explanations import open_explanations
from fer_lightning.inference.explain.heat_maps import check_method

TABLE, FIGURES = "explanations.csv", "heat_maps"


def explain(cfg: DictConfig) -> Path:
    """Explain the faces of `cfg.source`, or without a source each class; return the folder that was written to.

    Raises:
        UserError: model, method, sources or data cannot be used.
    """
    if cfg.source not in ("", []):
        return explain_pictures(cfg)
    from fer_lightning.inference.explain.explain_classes import explain_classes  # with Lightning

    return explain_classes(cfg)


def explain_pictures(cfg: DictConfig) -> Path:
    """Write `explanations.csv` and a figure of each face in `cfg.source`."""
    batch, wanted = open_batch(cfg, FIGURES), cfg["class"]
    recognizer, folder = batch.predictor.recognizer, batch.folder
    classes = list(recognizer.classes)
    if wanted is not None and wanted not in classes:
        near = did_you_mean(wanted, classes, prefix="class=")
        raise ConfigError(f"class={wanted} is not one of the model's, {', '.join(classes)}{near}")
    check_method(recognizer, cfg.method)
    places = (folder / TABLE, folder / FIGURES, batch.sources.names)
    batch.run(open_explanations(*places, recognizer, cfg.method, wanted), [TABLE, f"{FIGURES}/"])
    return folder
