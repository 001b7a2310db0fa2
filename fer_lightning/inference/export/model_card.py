"""The model card of a release (Mitchell et al., 2019): Markdown with the YAML header that Hugging Face reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_lightning.core.file_names import shown
from fer_lightning.evaluation.calibration import reliability
from fer_lightning.evaluation.html import percent
from fer_lightning.evaluation.metrics import confusion
from fer_lightning.evaluation.score_name import name_score
from fer_lightning.inference.export.run_record import RunRecord

TEMPLATE = "MODEL_CARD.md.j2"
METRICS = {"accuracy": "accuracy", "f1": "f1_macro"}  # Hugging Face's types of metrics, and ours


def render_card(manifest: Mapping[str, Any], run: RunRecord, dataset: str | None) -> str:
    """Return the card as Markdown.

    Args:
        manifest: what `model.json` holds.
        run: all numbers are of its results.
        dataset: data whose terms and faults the card tells: a file `templates/data_<dataset>.md.j2`; None for others.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"percent": percent, "number": lambda value: "–" if value is None else f"{value:.3f}"}
    classes: list[str] = manifest["classes"]
    name, reason = name_score(run.metrics)
    text = environment.get_template(TEMPLATE).render(
        model=manifest,
        run=run,
        metrics=run.metrics,
        dataset=dataset,
        header=yaml.safe_dump(_header(manifest, run, dataset), sort_keys=False, allow_unicode=True).strip(),
        score_name=name,
        score_reason=reason,
        per_class=[(name, run.metrics["per_class"][name]) for name in classes if name in run.metrics["per_class"]],
        confusion=list(zip(classes, confusion(run.table[_columns(run, classes)]).tolist(), strict=True)),
        bins=reliability(run.table).to_dict("records"),
    )
    return shown(text)


def _columns(run: RunRecord, classes: list[str]) -> list[str]:
    """Return the columns of the table, probabilities in the order of the classes."""
    return [name for name in run.table if name not in classes] + classes


def _header(manifest: Mapping[str, Any], run: RunRecord, dataset: str | None) -> dict[str, Any]:
    views = run.metrics.get("views", "single")
    how = "" if views == "single" else f", views={views}"
    measured = [
        {"type": kind, "value": round(run.metrics[key], 4), "name": f"{key}{how}"}
        for kind, key in METRICS.items()
        if run.metrics.get(key) is not None
    ]
    data = {"name": dataset or "images of the run", "type": dataset or "image-folder", "split": run.metrics["split"]}
    result = {"task": {"type": "image-classification"}, "dataset": data, "metrics": measured}
    return {
        "license": "mit",
        "library_name": "fer_lightning",
        "pipeline_tag": "image-classification",
        "tags": ["facial-expression-recognition", "pytorch", "onnx", manifest["backbone"]],
        "model-index": [{"name": f"fer_lightning {manifest['name']}", "results": [result]}],
    }
