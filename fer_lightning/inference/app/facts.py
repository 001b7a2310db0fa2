"""What is known of a model, for people who look at the page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_lightning.evaluation.html import percent
from fer_lightning.inference.onnx_recognizer import OnnxRecognizer
from fer_lightning.inference.recognizer import Recognizer
from fer_lightning.models.views import in_words


def model_facts(recognizer: Recognizer) -> list[tuple[str, str]]:
    """Return names and values of facts about a model."""
    told = _recorded(recognizer)
    kind = "grey" if recognizer.channels == 1 else "colour"
    facts = [
        ("File", _files(recognizer.path, told.get("weights"))),
        ("Network", told.get("backbone")),
        ("Expressions", ", ".join(recognizer.classes)),
        ("Input", f"{recognizer.image_size} × {recognizer.image_size} pixels, {kind}"),
        ("Score", _score(told.get("scores"))),
        ("Trained for", f"{told['epoch']} epochs" if "epoch" in told else None),
        ("Training images", recognizer.fingerprint and f"fingerprint {recognizer.fingerprint}"),
    ]
    return [(name, str(value or "not recorded")) for name, value in facts]


def _files(path: Path, weights: str | None) -> str:
    """Return the name and the size of a file, together with the one beside it that holds its weights."""
    files = [path] if weights is None else [path, path.with_name(weights)]
    return f"{' and '.join(file.name for file in files)}, {sum(file.stat().st_size for file in files) / 1e6:.1f} MB"


def _recorded(recognizer: Recognizer) -> Mapping[str, Any]:
    """Return what the file says of itself, as `export.facts.describe` names it."""
    if isinstance(recognizer, OnnxRecognizer):
        texts: dict[str, str] = recognizer.session.get_modelmeta().custom_metadata_map
        return {key: _plain(text) for key, text in texts.items()}
    from fer_lightning.inference.export.facts import describe  # with torch
    from fer_lightning.models.checkpoint import Checkpoint

    return describe(Checkpoint.read(recognizer.path))


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _score(scores: Any) -> str | None:
    """Return an accuracy with its interval, and on which images."""
    if not isinstance(scores, Mapping) or "accuracy" not in scores:
        return None
    interval = scores.get("accuracy_interval")
    between = f" ({percent(interval[0])} to {percent(interval[1])})" if interval else ""
    images = f"{scores.get('count', '?')} {scores['split']} images{in_words(scores)}"
    return f"accuracy {percent(scores['accuracy'])}{between} on {images}"
