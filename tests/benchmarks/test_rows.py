"""Figures, ratios and goals of a row, and how they are shown."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fer_lightning.benchmarks.rows import Goal, Row, Spread, number, unmet
from fer_lightning.benchmarks.table import HEADINGS, cells, markdown, notes, print_rows, write_rows

MEASURED = Row(
    "train",
    "small_cnn, batch 128",
    "expert loop",
    goal=Goal("ratio", "least", 0.97),
    memory=(1234.5, 900.0),
    notes=("loud machine",),
).filled([800.0, 900.0, 850.0], [1000.0, 1000.0, 850.0])
SKIPPED = Row("train", "keras_cnn", "Keras fit", goal=Goal("ratio", "least", 1.6), skipped="needs TensorFlow")
FAILED = Row("inference", "evaluate", "bare loop", failed="ours: out of memory")


def test_a_spread_is_median_and_range() -> None:
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3, 3)
    assert Spread.of([1, 2, 4, 9]).median == 3


def test_ratios_are_taken_within_pairs() -> None:
    """A machine that slows down half-way changes both of a pair, and the median of ratios not at all."""
    assert SKIPPED.filled([100, 100, 10, 10], [50, 50, 5, 5]).ratio == Spread(2, 2, 2, 4)
    with pytest.raises(ValueError, match="zip"):
        SKIPPED.filled([1], [1, 2])


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("ratio", "least", 0.9), True),
        (Goal("ratio", "least", 0.95), False),
        (Goal("ratio", "most", 0.9), True),
        (Goal("ratio", "most", 0.8), False),
        (Goal("ours", "least", 850), True),
        (Goal("ours", "most", 849), False),
        (Goal("difference", "most", -150), True),
        (Goal("difference", "most", -151), False),
        (Goal("fraction", "least", 0.35), None),
        (None, None),
    ],
)
def test_a_goal_is_judged_by_the_median(goal: Goal | None, met: bool | None) -> None:
    assert replace(MEASURED, goal=goal).met is met


def test_a_goal_that_means_nothing_here_is_not_judged() -> None:
    row = replace(MEASURED, goal=Goal("ratio", "least", 0.1, unmet((True, "a CPU"), (False, "2 cores"))))
    assert row.met is row.judged is None
    assert cells(row)[5] == "n/a (needs 2 cores)"
    assert row.as_dict()["goal"]["needs"] == "2 cores"


def test_a_share_of_the_peak_is_judged_by_itself() -> None:
    row = replace(MEASURED, goal=Goal("fraction", "least", 0.35), fraction=0.3)
    assert row.met is False
    assert "fraction of the peak ≥ 0.35 (0.300): missed" in cells(row)


def test_a_difference_is_shown_beside_its_goal() -> None:
    row = replace(MEASURED, unit="MB", goal=Goal("difference", "most", 300))
    assert cells(row)[5] == "≤ 300 MB more (-150.0): met"
    assert row.as_dict()["judged"] == -150
    assert cells(replace(SKIPPED, unit="MB", goal=row.goal))[5] == "≤ 300 MB more"


@pytest.mark.parametrize(
    ("value", "text"), [(28695.4, "28,695"), (99.99, "100"), (3.14159, "3.14"), (0.0456789, "0.0457"), (100, "100")]
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert number(value) == text


def test_cells_say_figure_range_goal_and_memory() -> None:
    assert cells(MEASURED) == (
        "small_cnn, batch 128",
        "850 images/s (800–900)",
        "expert loop",
        "1,000 images/s (850–1,000)",
        "0.9 (0.8–1)",
        "ratio ≥ 0.97: missed",
        "1,234 / 900",
    )
    assert cells(SKIPPED) == ("keras_cnn", "skipped", "Keras fit", "", "", "ratio ≥ 1.6", "")
    assert cells(FAILED)[1] == "failed"
    assert cells(replace(MEASURED, unit="s", goal=Goal("ours", "most", 1)))[5] == "≤ 1 s: missed"


def test_reasons_are_told_below() -> None:
    assert notes([MEASURED, SKIPPED, FAILED]) == [
        "train: small_cnn, batch 128: loud machine",
        "train: keras_cnn: skipped: needs TensorFlow",
        "inference: evaluate: failed: ours: out of memory",
    ]


def test_the_screen_shows_every_row_once_under_its_suite() -> None:
    screen = io.StringIO()
    print_rows([MEASURED, SKIPPED, FAILED], Console(width=200, file=screen))
    text = screen.getvalue()
    lines = [line.split(" ┃ ")[0].split(" │ ")[0].strip() for line in text.splitlines()]
    assert [line for line in lines if line in ("train", "inference", "keras_cnn", "evaluate")] == [
        "train",
        "keras_cnn",
        "inference",
        "evaluate",
    ]
    assert "Keras fit: the same network in Keras" in text


def test_markdown_is_a_table_of_equal_rows() -> None:
    text = markdown([MEASURED, SKIPPED, FAILED], "CPU with 2 cores")
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert text.startswith("CPU with 2 cores\n")
    assert {line.count("|") for line in table} == {len(HEADINGS) + 2}
    assert len(table) == 2 + 3


def test_json_holds_everything(tmp_path: Path) -> None:
    write_rows([MEASURED, SKIPPED, FAILED], tmp_path, "CPU", environment={"python": "3.11"}, windows=3)
    record = json.loads((tmp_path / "benchmark.json").read_text())
    assert record["environment"] == {"python": "3.11"}
    first, second, third = record["rows"]
    assert first["ratio"] == {"median": 0.9, "low": 0.8, "high": 1.0, "count": 3}
    assert (first["met"], second["met"]) == (False, None)
    assert (second["skipped"], third["failed"]) == ("needs TensorFlow", "ours: out of memory")
    assert (tmp_path / "benchmark.md").read_text().startswith("CPU\n")
