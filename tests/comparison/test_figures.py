"""What the figures of a comparison draw."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_lightning.comparison.figures import MAX_FAINT, STYLES, plot_importance, plot_overlaid
from fer_lightning.comparison.importance import Importance
from fer_lightning.comparison.parallel_coordinates import plot_parallel
from fer_lightning.evaluation.canvas import save
from fer_lightning.runs.read import RecordedRun
from fer_lightning.runs.settings import Settings


def run(value: float, history: pd.DataFrame | None = None, mode: str = "max", **typed: object) -> RecordedRun:
    settings = {"mode": mode, **{key.replace("__", "."): item for key, item in typed.items()}}
    metrics = {"monitor": "val/acc" if mode == "max" else "val/loss", "monitored": value}
    return RecordedRun(Path("x"), "x", metrics=metrics, settings=Settings(settings), history=history)


def curves(epochs: int) -> pd.DataFrame:
    at = np.arange(1, epochs + 1)
    return pd.DataFrame({"epoch": at, "val/acc": at / 10, "train/loss": 1 / at})


def texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]  # type: ignore[attr-defined]


def test_a_learning_rate_gets_a_logarithmic_axis_and_names_their_places() -> None:
    runs = [run(0.9, lr=1e-3, model="b"), run(0.8, lr=1e-4, model="a"), run(0.5, lr=1e-2, model="a")]
    figure = plot_parallel(runs, {"lr": "lr", "model": "model"})
    assert {"lr (log)", "model", "val/acc", "0.001", "a", "b"} <= set(texts(figure))
    lines = [line.get_ydata() for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 3]
    heights = np.array(lines)[[-1, 1, 0]]  # drawn worst first, the best on top
    np.testing.assert_allclose(heights[:, 0], [0.5, 0, 1])  # equal steps for equal ratios
    np.testing.assert_allclose(heights[:, 1], [0.25, 0.75, 0.75])
    np.testing.assert_allclose(heights[:, 2], [1, 0.75, 0])


def test_a_lower_loss_is_drawn_higher() -> None:
    runs = [run(0.2, mode="min", lr=1), run(0.6, mode="min", lr=2)]
    figure = plot_parallel(runs, {"lr": "lr"})
    best = [line.get_ydata() for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    np.testing.assert_allclose(best, [[0, 1]])
    assert "lr" in texts(figure)  # 1 to 2 is no matter of decades


def test_no_two_labels_overlap() -> None:
    names = {f"k{at}": name for at, name in enumerate(["backbone_kwargs.drop_path_rate", "label_smoothing", "a" * 40])}
    values = ["resnet50_with_a_long_name", "mobilenetv3_large_100", "small_cnn"]
    runs = [run(0.9 - at / 10, **dict.fromkeys(names, value)) for at, value in enumerate(values)]
    figure = plot_parallel(runs, names)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert [(one, other) for one, other in itertools.combinations(boxes, 2) if one.overlaps(other)] == []
    assert all(figure.bbox.y0 <= box.y0 for box in boxes)


@pytest.mark.parametrize("values", [[None, 0.3], [True, False], [0.5, 0.5], [-1.0, 100.0], ["$x", "a_b"]])
def test_odd_values_can_be_drawn(tmp_path: Path, values: list[object]) -> None:
    runs = [run(0.5, key=values[0]), run(0.5, key=values[1])]
    save(plot_parallel(runs, {"key": "k_$"}), tmp_path / "x.png", dpi=40)
    assert (tmp_path / "x.png").stat().st_size > 1000


def test_good_runs_are_coloured_and_the_others_thinned() -> None:
    runs = [run(1 - at / 400, curves(3)) for at in range(300)]
    figure = plot_overlaid(runs, [f"run {at}" for at in range(300)])
    assert figure is not None
    for axes in figure.axes:
        assert len(axes.get_lines()) == MAX_FAINT + len(STYLES)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "1. run 0"
    assert names[-1] == f"the other 295, of which {MAX_FAINT} are drawn"
    colours = [line.get_color() for line in figure.axes[0].get_lines()[-len(STYLES) :]]
    assert colours == [colour for colour, _ in reversed(STYLES)]  # the best on top


def test_runs_without_curves_keep_their_rank() -> None:
    figure = plot_overlaid([run(0.9), run(0.8, curves(2)), run(0.7, curves(4))], ["a", "b", "c"])
    assert figure is not None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["2. b", "3. c"]
    assert plot_overlaid([run(0.9)], ["a"]) is None


def test_curves_with_gaps_and_without_validation_are_drawn(tmp_path: Path) -> None:
    odd = pd.DataFrame({"epoch": [1, 2, 2], "train/loss": [np.nan, np.inf, 0.5]})
    figure = plot_overlaid([run(0.9, odd)], ["a"])
    assert figure is not None
    assert [text.get_text() for text in figure.axes[0].texts] == ["not recorded"]
    (line,) = figure.axes[1].get_lines()
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([2], [0.5])


def test_importance_is_drawn_from_the_top() -> None:
    figure = plot_importance(
        Importance(("a", "b"), np.array([0.5, 0.1]), np.array([0.1, 0.0]), 0.7), {"a": "A", "b": "B"}
    )
    axes = figure.axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["A", "B"]
    assert [bar.get_width() for bar in axes.patches] == [0.5, 0.1]
    assert axes.yaxis_inverted()
