"""Sums over time: exact averages, however often bins are merged; bounded memory; what is plotted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_lightning.evaluation.canvas import save
from fer_lightning.inference.face import Face, Faces
from fer_lightning.inference.video.timeline import MOST_BINS, MOST_FACES, Timeline
from fer_lightning.inference.video.timeline_figure import plot_timeline

CLASSES = ["happy", "sad"]


def frame(number: int, time: float, **happy: float) -> Faces:
    """Return a frame whose faces `f1=0.3` have the track 1 and this probability of happy."""
    faces = [
        Face("happy" if p >= 0.5 else "sad", max(p, 1 - p), {"happy": p, "sad": 1 - p}, track=int(name[1:]))
        for name, p in happy.items()
    ]
    return Faces(faces or [Face(status="no_face")], None, "clip", None, number, time)


@pytest.mark.parametrize(("rate", "seconds"), [(25, 10), (25, 400), (0.5, 4000)])
def test_each_bin_is_the_average_of_its_frames(rate: float, seconds: int) -> None:
    timeline, count = Timeline(CLASSES), round(rate * seconds)
    shares = np.random.default_rng(0).random(count)
    for k in range(count):
        timeline.add(frame(k, k / rate, f1=shares[k]))
    (curve,) = timeline.curves(6)
    bins = (np.arange(count) / rate / timeline.width).astype(int)
    expected = np.bincount(bins, shares) / np.bincount(bins)
    assert len(expected) <= MOST_BINS
    np.testing.assert_allclose(curve.probabilities[:, 0], expected)
    np.testing.assert_allclose(curve.probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(curve.labels[:, 0], np.bincount(bins, shares >= 0.5) / np.bincount(bins))
    assert curve.frames == count


def test_a_face_that_is_not_seen_leaves_a_gap() -> None:
    timeline = Timeline(CLASSES)
    for k in range(100):
        timeline.add(frame(k, k / 10, f1=0.9) if k < 30 or k >= 70 else frame(k, k / 10))
    (curve,) = timeline.curves(6)
    middles = (np.arange(len(curve.probabilities)) + 0.5) * timeline.width
    seen = ~np.isnan(curve.probabilities[:, 0])
    assert seen[(middles < 2.5) | (middles > 7.5)].all()
    assert not seen[(middles > 3.5) & (middles < 6.5)].any()


def test_memory_does_not_grow_with_faces_or_frames() -> None:
    timeline = Timeline(CLASSES)
    for k in range(3000):  # one that stays, and many that pass, as passengers do
        timeline.add(frame(k, k / 3, f1=0.9, **{f"f{k // 10 + 2}": 0.2}))
    assert len(timeline._sums) <= MOST_FACES
    assert sum(map(len, timeline._sums.values())) < MOST_BINS + 10 * MOST_FACES
    assert timeline.faces == 301
    first, *_ = timeline.curves(6)
    assert (first.number, first.frames) == (1, 3000)


def test_faces_that_were_seen_longest_have_a_panel(tmp_path: Path) -> None:
    timeline = Timeline(CLASSES)
    for k in range(200):
        timeline.add(frame(k, k / 25, **{f"f{n}": 0.1 * n for n in range(1, 10) if k < 20 * n}))
    figure = plot_timeline(timeline, "clip.mp4")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"Face {n}, mostly {'sad' if n < 5 else 'happy'}" for n in range(4, 10)]
    texts = [text.get_text() for text in figure.texts]
    assert texts[:2] == ["clip.mp4", "200 frames, 9 faces: the 6 that were seen longest"]
    assert save(figure, tmp_path / "timeline.png").stat().st_size > 10_000


def test_a_video_without_faces_says_so() -> None:
    timeline = Timeline(CLASSES)
    timeline.add(frame(0, 0.0))
    assert [text.get_text() for text in plot_timeline(timeline, "clip.mp4").texts][1:] == [
        "1 frame",
        "no face was found",
    ]


def test_a_plot_imports_no_pandas() -> None:
    """Which, with what the scores need, takes longer than the plot."""
    program = "import sys, fer_lightning.inference.video.timeline_figure; print({'pandas', 'sklearn'} & {*sys.modules})"
    answer = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert answer.stdout == "set()\n"
