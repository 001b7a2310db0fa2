"""The copy of a video, read back: size, rate, duration, order, and what happens when it cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_lightning.core.errors import StorageError
from fer_lightning.inference.face import Faces
from fer_lightning.inference.video.copy import video_copy


def add(copy: Any, frames: list[np.ndarray], times: list[float]) -> None:
    for k, (frame, time) in enumerate(zip(frames, times, strict=True)):
        copy.add(Faces([], frame, "clip", None, k, time))


def draw(picture: np.ndarray, faces: Faces) -> np.ndarray:
    """Draw a red square where the frame's number says."""
    drawn = picture.copy()
    assert faces.frame is not None
    drawn[8:24, 4 * faces.frame : 4 * faces.frame + 16] = (255, 0, 0)
    return drawn


def test_a_copy_has_each_frame_drawn_in_order_at_the_same_size_and_rate(tmp_path: Path, clips: Any) -> None:
    frames = clips.shades(30, height=96, width=160)
    with video_copy(tmp_path / "copy.mp4", 29.97, draw) as copy:
        add(copy, frames, [k / 29.97 for k in range(30)])
    capture = cv2.VideoCapture(str(tmp_path / "copy.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(29.97, abs=0.01)
    read = clips.decode(tmp_path / "copy.mp4")
    assert [frame.shape for frame in read] == [(96, 160, 3)] * 30
    for k, frame in enumerate(read):
        assert frame[60:].mean() == pytest.approx(frames[k].mean(), abs=4)
        red = frame[12:20, 4 * k + 4 : 4 * k + 12].reshape(-1, 3).mean(axis=0)
        assert red[0] > 180
        assert red[1:].max() < 80
    assert [path.name for path in tmp_path.iterdir()] == ["copy.mp4"]


def test_of_odd_sides_the_last_row_and_column_are_left_out(tmp_path: Path, clips: Any) -> None:
    frames = clips.shades(3, height=97, width=161)
    for frame in frames:
        frame[:, -1], frame[-1] = (0, 255, 0), (255, 0, 0)
    with video_copy(tmp_path / "copy.mp4", 25, lambda picture, _: picture) as copy:
        add(copy, frames, [0, 0.04, 0.08])
    for frame, read in zip(frames, clips.decode(tmp_path / "copy.mp4"), strict=True):
        assert read.shape == (96, 160, 3)
        assert np.abs(read.astype(int) - frame[:-1, :-1]).max() < 10


def test_frames_of_a_varying_rate_are_shown_when_the_video_shows_them(tmp_path: Path, clips: Any) -> None:
    frames, times = clips.shades(4), [0.0, 0.1, 0.5, 0.51]  # at 10 a second: 0, 1 until 5, 5, and again 5
    with video_copy(tmp_path / "copy.mp4", 10, lambda picture, _: picture) as copy:
        add(copy, frames, times)
    shown = [frame.mean() for frame in clips.decode(tmp_path / "copy.mp4")]
    expected = [frames[k].mean() for k in (0, 1, 1, 1, 1, 2)]
    assert shown == pytest.approx(expected, abs=4)


def test_an_error_in_the_drawing_is_raised_and_leaves_no_file(tmp_path: Path, clips: Any) -> None:
    def fail(picture: np.ndarray, faces: Faces) -> np.ndarray:
        raise ZeroDivisionError(f"frame {faces.frame}")

    with pytest.raises(ZeroDivisionError, match="frame 0"), video_copy(tmp_path / "copy.mp4", 25, fail) as copy:
        add(copy, clips.shades(20), [k / 25 for k in range(20)])
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_is_cut_by_a_full_disk_is_an_error(tmp_path: Path, clips: Any, at_most: Any) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (40, 240, 320, 3), dtype=np.uint8))
    with (
        pytest.raises(StorageError, match=r"copy\.mp4"),
        at_most(200_000),
        video_copy(tmp_path / "copy.mp4", 25, lambda picture, _: picture) as copy,
    ):
        add(copy, noise, [k / 25 for k in range(40)])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_nothing_can_be_written_is_an_error(tmp_path: Path, clips: Any) -> None:
    with (
        pytest.raises(StorageError, match=r"cannot write to .*copy\.mp4"),
        video_copy(tmp_path / "missing" / "copy.mp4", 25, lambda picture, _: picture) as copy,
    ):
        add(copy, clips.shades(3), [0, 0.04, 0.08])


def test_a_video_without_frames_has_no_copy(tmp_path: Path) -> None:
    with video_copy(tmp_path / "copy.mp4", 25, draw):
        pass
    assert list(tmp_path.iterdir()) == []
