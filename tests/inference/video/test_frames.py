"""Frames and times of real files: of varying rate, turned, without timestamps, broken; of addresses; of no camera."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.inference.video.frames import Reading, Video


@pytest.fixture
def clip(tmp_path: Path, clips: Any) -> Path:
    """Ten frames at 25 a second."""
    path: Path = clips.encode(tmp_path / "clip.mp4", clips.shades(10))
    return path


def seconds(video: Video) -> list[float | None]:
    return [None if picture.time is None else round(picture.time, 3) for picture in video]


def test_frames_come_in_order_with_number_time_and_colours(tmp_path: Path, clips: Any) -> None:
    red = [np.full((48, 64, 3), (200, 20 + 10 * k, 20), np.uint8) for k in range(10)]
    pictures = list(Video(str(clips.encode(tmp_path / "red.mp4", red))))
    assert [(picture.frame, picture.time) for picture in pictures] == [(k, pytest.approx(k / 25)) for k in range(10)]
    for picture, frame in zip(pictures, red, strict=True):
        assert picture.pixels is not None
        assert np.abs(picture.pixels.astype(int) - frame).max() < 20  # red is first, and the right frame


def test_times_are_those_in_the_file_where_the_rate_varies(clip: Path, clips: Any) -> None:
    durations = [40, 100, 20, 500, 40, 40, 1000, 40, 40, 40]
    times = [sum(durations[:k]) / 1000 for k in range(10)]
    assert seconds(Video(str(clips.with_durations(clip, durations)))) == pytest.approx(times, abs=2e-3)


def test_a_frame_whose_timestamp_opencv_gets_wrong_goes_by_the_rate(tmp_path: Path, clips: Any) -> None:
    raw = clips.encode(tmp_path / "raw.m2v", clips.shades(10, 144, 176), codec="mpg2")
    capture = cv2.VideoCapture(str(raw))
    assert [capture.grab() and capture.get(cv2.CAP_PROP_POS_MSEC) for _ in range(10)][-2:] == [360, 0]
    assert seconds(Video(str(raw))) == pytest.approx([k / 25 for k in range(10)], abs=1e-3)


def test_a_video_that_a_phone_wrote_lying_is_turned_upright(clip: Path, clips: Any) -> None:
    assert {picture.pixels.shape for picture in Video(str(clip)) if picture.pixels is not None} == {(48, 64, 3)}
    turned = Video(str(clips.turned(clip)))
    assert {picture.pixels.shape for picture in turned if picture.pixels is not None} == {(64, 48, 3)}


def test_only_some_frames_are_taken_with_their_own_numbers_and_times(clip: Path) -> None:
    pictures = list(Video(str(clip), Reading(every=3)))
    assert [picture.frame for picture in pictures] == [0, 3, 6, 9]
    assert [picture.time for picture in pictures] == pytest.approx([0, 0.12, 0.24, 0.36])
    assert [picture.frame for picture in Video(str(clip), Reading(every=2, seconds=0.2))] == [0, 2, 4]


@pytest.mark.parametrize("settings", [{"every": 0}, {"seconds": 0.0}, {"seconds": -1.0}])
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(settings))}="):
        Reading(**settings)


@pytest.mark.parametrize("content", ["text", "empty", "cut", "sound"])
def test_what_is_no_video_is_one_picture_that_says_so(
    content: str, clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = {
        "text": b"hello\n" * 1000,
        "empty": b"",
        "cut": clip.read_bytes()[: clip.stat().st_size // 2],
        "sound": b"RIFF\x24\x08\x00\x00WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\0\x08\0\0"
        + bytes(2048),
    }
    clip.write_bytes(data[content])
    (picture,) = Video(str(clip))
    assert (picture.pixels, picture.source, picture.frame) == (None, str(clip), None)
    assert picture.note == "empty file (0 bytes)" if content == "empty" else "no video that can be read" in picture.note
    assert capfd.readouterr().err == ""  # neither OpenCV's nor FFmpeg's


def test_a_video_that_ends_early_is_said(tmp_path: Path, clips: Any, caplog: pytest.LogCaptureFixture) -> None:
    whole = clips.encode(tmp_path / "clip.avi", clips.shades(100), codec="MJPG")
    with caplog.at_level(logging.WARNING):
        assert len(list(Video(str(whole)))) == 100
        assert not caplog.messages
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        assert 30 < len(list(Video(str(whole)))) < 60
    (message,) = caplog.messages
    assert "clip.avi is cut short" in message


@pytest.mark.skipif(bool(list(Path("/dev").glob("video*"))), reason="this machine has a camera")
def test_a_missing_camera_is_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="camera 0 cannot be opened: there is none"):
        list(Video("0"))
    assert capfd.readouterr().err == ""


def test_a_file_at_an_address_has_the_times_of_the_file(server: str) -> None:
    assert seconds(Video(f"{server}/clip.mp4")) == pytest.approx([k / 25 for k in range(10)], abs=1e-3)


def test_a_stream_goes_by_the_clock_and_drops_what_there_is_no_time_for(server: str) -> None:
    reading, numbers, times, started = Reading(), list[int](), list[float](), time.monotonic()
    for picture in Video(f"{server}/camera", reading):
        assert picture.frame is not None
        assert picture.time is not None
        numbers.append(picture.frame)
        times.append(picture.time)
        if len(numbers) == 5:
            break
        time.sleep(0.1)  # in which about ten frames come
    assert reading.live
    assert numbers == sorted(numbers)
    assert numbers[-1] - numbers[0] > 8
    assert 0.2 < times[-1] - times[0] < time.monotonic() - started


def test_a_stream_ends_when_it_is_stopped_or_its_seconds_are_over(server: str) -> None:
    stopping = threading.Event()
    threading.Timer(0.5, stopping.set).start()
    assert list(Video(f"{server}/camera", Reading(stop=stopping.is_set)))
    times = seconds(Video(f"{server}/camera", Reading(seconds=0.3)))
    assert times
    assert all(time is not None and time < 0.3 for time in times)


def test_an_address_where_nothing_answers_is_one_message(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    for address in ("http://127.0.0.1:9/clip.mp4", "rtsp://127.0.0.1:9/camera"):
        with pytest.raises(DataError, match=f"{address} does not answer"):
            list(Video(address))
    assert capfd.readouterr().err == ""
