"""Figures are rendered for real: texts must stay on the page and off each other, pixels must be the images."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.evaluation.canvas import save
from fer_lightning.evaluation.figures import describe_score, plot_confusion, plot_curves
from fer_lightning.evaluation.galleries import plot_batch, plot_gallery, plot_mistakes

LONG = tuple(
    f"{first} and weariness" for first in ("rage", "boredom", "scorn", "nausea", "joy", "terror", "guilt", "pride")
)


def make(count: int, classes: tuple[str, ...] = EMOTIONS, size: int = 48, channels: int = 1, right: float = 0.6):
    """A table and matching images whose pixels all hold their row number."""
    random = np.random.default_rng(count)
    probabilities = random.dirichlet(np.full(len(classes), 0.5), size=count)
    predicted = probabilities.argmax(axis=1)
    miss = (predicted + random.integers(1, len(classes), size=count)) % len(classes)
    labels = np.where(random.random(count) < right, predicted, miss)
    table = pd.DataFrame({"path": [f"{row}.png" for row in range(count)], "split": "test"})
    table["label"], table["predicted"] = [classes[k] for k in labels], [classes[k] for k in predicted]
    images = np.full((count, channels, size, size), np.arange(count)[:, None, None, None] % 256, dtype=np.uint8)
    return table.join(pd.DataFrame(probabilities, columns=list(classes))), images


def texts(figure: Figure) -> list[str]:
    found = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return [text.get_text() for text in found if text.get_text()]


def drawn_labels(axis: Axis) -> list[Text]:
    """Labels of the ticks inside the view; matplotlib keeps some outside, which it does not draw."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def check_layout(figure: Figure) -> None:
    """No text leaves the page, none lies on another (turned tick labels aside: their boxes are larger than they)."""
    figure.canvas.draw()
    renderer, page = figure.canvas.get_renderer(), figure.bbox
    boxes = []
    for axes in figure.axes:
        boxes += [*axes.texts, axes._left_title, axes._right_title]
        if axes.axison:
            boxes += [*drawn_labels(axes.xaxis), *drawn_labels(axes.yaxis), axes.xaxis.label]
    for legend in figure.legends:
        boxes += legend.get_texts()
    shown = [text for text in (*figure.texts, *boxes) if text.get_text() and text.get_visible()]
    extents = [(text, text.get_window_extent(renderer)) for text in shown]
    for text, box in extents:
        assert box.x0 >= -0.5, text
        assert box.y0 >= -0.5, text
        assert box.x1 <= page.x1 + 0.5, text
        assert box.y1 <= page.y1 + 0.5, text
    upright = [(text, box.shrunk(0.98, 0.9)) for text, box in extents if text.get_rotation() in (0, 90)]
    for (one, first), (other, second) in combinations(upright, 2):
        assert not first.overlaps(second), (one.get_text(), other.get_text())


@pytest.mark.parametrize("classes", [("happy", "sad"), EMOTIONS, LONG], ids=["two", "seven", "long names"])
@pytest.mark.parametrize("count", [1, 3000])
def test_confusion_layout(classes: tuple[str, ...], count: int) -> None:
    table, _ = make(count, classes)
    check_layout(plot_confusion(table))


def test_confusion_shows_counts_and_percent_of_the_row() -> None:
    table, _ = make(4, ("happy", "sad"))
    table["label"] = ["happy", "happy", "happy", "happy"]
    table["predicted"] = ["happy", "happy", "happy", "sad"]
    table["happy"], table["sad"] = [0.9, 0.9, 0.9, 0.1], [0.1, 0.1, 0.1, 0.9]
    figure = plot_confusion(table)
    counts, shares = ([text.get_text() for text in axes.texts] for axes in figure.axes)
    assert counts == ["3", "1", "0", "0"]
    assert shares == ["75", "25", "–", "–"]  # no sad image: undefined, not 0
    assert "Confusion matrix: 3 of 4 test images right (75.0 %)" in texts(figure)


@pytest.mark.parametrize(("count", "size", "channels"), [(1, 32, 1), (5, 224, 3), (60, 48, 1)])
def test_gallery_layout(count: int, size: int, channels: int) -> None:
    table, images = make(count, size=size, channels=channels)
    for plot in (plot_gallery, plot_mistakes):
        check_layout(plot(table, images))


def test_gallery_layout_of_long_names() -> None:
    table, images = make(60, LONG)
    check_layout(plot_gallery(table, images, columns=3))


def test_gallery_pairs_each_image_with_its_own_row_and_marks_misses_twice() -> None:
    table, images = make(100)
    axes = plot_gallery(table, images, columns=4).axes[0]
    captions = [text.get_text() for text in axes.texts][2:]
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(axes.images) == len(frames) == sum(min(4, n) for n in table["label"].value_counts())
    for image, headline, detail, frame in zip(axes.images, captions[::2], captions[1::2], frames, strict=True):
        row = table.iloc[int(image.get_array()[0, 0])]
        right = row["label"] == row["predicted"]
        mark, name = headline.split()[:2]
        assert (mark, name) == ("✓" if right else "✗", row["predicted"])
        assert detail.startswith(f"true: {row['label']}")
        assert (frame.get_linestyle() in ("-", "solid")) == right
    assert {image.get_clim() for image in axes.images} == {(0, 255)}


def test_gallery_shows_the_same_faces_whatever_the_predictions() -> None:
    table, images = make(100)
    other = make(100, right=0.0)[0].assign(label=table["label"])
    first, second = ([i.get_array()[0, 0] for i in plot_gallery(t, images).axes[0].images] for t in (table, other))
    assert first == second


def test_the_most_confident_mistakes_come_first() -> None:
    table, images = make(100)
    axes = plot_mistakes(table, images, limit=10).axes[0]
    rows = [int(image.get_array()[0, 0]) for image in axes.images]
    wrong = table[table["label"] != table["predicted"]]
    confidence = wrong[list(EMOTIONS)].max(axis=1).sort_values(ascending=False)
    assert rows == confidence.index[:10].tolist()


def test_no_mistakes() -> None:
    table, images = make(30, right=1.0)
    figure = plot_mistakes(table, images)
    check_layout(figure)
    assert texts(figure)[:2] == ["No mistakes", "all of 30 test images predicted right"]


def test_batch_shows_labels_and_colours(tmp_path: Path) -> None:
    images = np.zeros((3, 3, 64, 64), np.uint8)
    images[:, 0] = 200  # red: channels must not be swapped
    figure = plot_batch(images, np.array([6, 0, 3]), EMOTIONS)
    check_layout(figure)
    assert texts(figure)[2:] == ["surprise", "angry", "happy"]
    pixels = imread(save(figure, tmp_path / "new" / "batch.png", dpi=80))
    red = (abs(pixels[..., :3] - np.array([200, 0, 0]) / 255) < 0.01).all(axis=2)
    assert red.mean() > 0.15
    assert pixels.shape[:2] == tuple(int(inches * 80) for inches in figure.get_size_inches()[::-1])


def test_wrong_images_are_refused() -> None:
    table, images = make(10)
    with pytest.raises(ValueError, match="9 images for 10 labels"):
        plot_gallery(table, images[:9])
    with pytest.raises(ValueError, match="uint8"):
        plot_mistakes(table, images.astype(np.float32))
    with pytest.raises(ValueError, match="uint8"):
        plot_batch(images[:, 0], np.zeros(10, int), EMOTIONS)


def history(epochs: int) -> pd.DataFrame:
    steps = np.arange(epochs)
    falling, rising = np.exp(-steps / 4), 0.7 - 0.5 * np.exp(-steps / 4)
    columns = {"train/loss": falling, "val/loss": falling + 0.1, "train/acc": rising, "val/acc": rising - 0.05}
    return pd.DataFrame({"epoch": steps, **columns, "lr": 0.1})


@pytest.mark.parametrize("epochs", [0, 1, 2, 25, 300])
def test_curves_layout(epochs: int) -> None:
    check_layout(plot_curves(history(epochs)))


def test_curves_mark_the_best_epoch() -> None:
    table = history(6)
    table.loc[2, "val/acc"] = 0.95
    assert [axes._right_title.get_text() for axes in plot_curves(table).axes] == [
        "0.707 at epoch 2",
        "95.0 % at epoch 2",
    ]
    assert plot_curves(table, best_epoch=4).axes[1]._right_title.get_text().endswith("at epoch 4")
    only_loss = table[["epoch", "train/loss", "val/loss"]]
    figure = plot_curves(only_loss)
    assert figure.axes[0]._right_title.get_text().endswith("at epoch 5")
    assert "not recorded" in texts(figure)


def test_curves_join_rows_of_one_epoch_and_bear_gaps() -> None:
    table = history(4)
    table.loc[1, "val/loss"], table.loc[2, "train/loss"] = np.inf, np.nan
    apart = pd.concat([table[["epoch", "train/loss"]], table[["epoch", "val/loss", "val/acc"]]])
    lines = {line.get_label(): line for line in plot_curves(apart).axes[0].get_lines()}
    assert lines["training"].get_xdata().tolist() == [0, 1, 3]
    assert lines["validation"].get_xdata().tolist() == [0, 2, 3]


def test_curves_need_epochs() -> None:
    with pytest.raises(ValueError, match="no column epoch"):
        plot_curves(pd.DataFrame({"step": [1]}))


def test_score_in_words() -> None:
    table, _ = make(1, right=1.0)
    assert describe_score(table) == "1 of 1 test image right (100.0 %)"


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_save_knows_the_formats_of_a_thesis(tmp_path: Path, suffix: str) -> None:
    path = save(plot_curves(history(3)), tmp_path / f"curves{suffix}")
    assert path.stat().st_size > 1000


def test_pyplot_is_never_imported() -> None:
    code = "import sys, fer_lightning.evaluation.galleries; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
