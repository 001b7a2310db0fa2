"""What a program prints at its end: a table of results and the paths of what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import markup
from rich.console import Console
from rich.table import Table

from fer_lightning.core.counts import count_images
from fer_lightning.core.file_names import shown
from fer_lightning.evaluation.score_name import name_score
from fer_lightning.runs.files import BEST_CHECKPOINT, LAST_CHECKPOINT, METRICS, PREDICTIONS, REPORT


def print_results(metrics: dict[str, Any], folder: Path) -> None:
    """Print the results as a table, what was scored, and where the files are."""
    console = Console(highlight=False)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("class")
    for name in ("precision", "recall", "F1", "ROC-AUC", "images"):
        table.add_column(name, justify="right")
    for name, row in metrics["per_class"].items():
        scores = (_number(row[key]) for key in ("precision", "recall", "f1", "roc_auc"))
        table.add_row(escape(name), *scores, f"{row['support']:,}")
    console.print(f"\n[bold]{headline(metrics)}[/bold]\n")
    console.print(table)
    console.print(f"\n{name_score(metrics)[1]}")
    console.print(f"\nwritten to {escape(str(folder))}", soft_wrap=True)
    for name in (REPORT, METRICS, PREDICTIONS, BEST_CHECKPOINT, LAST_CHECKPOINT):
        if (folder / name).exists():
            console.print(f"  {name}")
    console.print(f"\ntensorboard --logdir {escape(str(folder))}" if (folder / "tensorboard").exists() else "")


def escape(text: str) -> str:
    """Return text for Rich, in which nothing is markup and nothing steers the terminal."""
    return markup.escape(shown(text))


def headline(metrics: dict[str, Any]) -> str:
    """Return lines: which split, accuracy in percent with its interval; macro-F1 and others; duplicates, if any."""
    low, high = (f"{100 * bound:.1f}" for bound in metrics["accuracy_interval"])
    accuracy = f"{100 * metrics['accuracy']:.2f} % (95 % interval {low}–{high})"
    named = {"macro-F1": "f1_macro", "balanced accuracy": "balanced_accuracy", "ECE": "ece"}
    others = ", ".join(f"{name} {_number(metrics[key])}" for name, key in named.items())
    images = count_images(metrics["count"], metrics["split"])
    lines = [f"{name_score(metrics)[0]}: accuracy {accuracy}", f"{others}, {images}"]
    if metrics.get("accuracy_without_duplicates") is not None:
        low, high = (f"{100 * bound:.1f}" for bound in metrics["accuracy_without_duplicates_interval"])
        without = f"{100 * metrics['accuracy_without_duplicates']:.2f} % (95 % interval {low}–{high})"
        count = metrics["duplicates_in_train"] + metrics["duplicates_in_validation"]
        seen = "image" if count == 1 else f"{count:,} images"
        lines.append(f"without the {seen} that the network has seen: accuracy {without}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
