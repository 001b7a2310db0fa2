"""Frames of video files, cameras and addresses, each with its number and time."""

from __future__ import annotations

import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.inference.pictures import Picture
from fer_lightning.inference.video.read_ahead import read_ahead

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".mts", ".m2ts", ".wmv", ".flv"),
    *(".3gp", ".ogv", ".mjpg", ".mjpeg"),
)
PLAYLISTS = (".m3u8", ".mpd")  # of a stream in parts: HLS, DASH
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "tcp", "srt")  # schemes of addresses
TIMEOUT = 10_000  # milliseconds that an address may take to answer, and to send the next frame
USUAL_RATE = 25.0  # frames a second, where neither a file nor its times say
CUT_SHORT = 0.9  # less than this part of the promised length is said
AHEAD = 4  # frames that are decoded while others are worked on

log = logging.getLogger(__name__)

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what is wrong with a video is said below


@dataclass
class Reading:
    """How videos are read.

    Attributes:
        every: only each so many frames are yielded.
        seconds: how much of each video is read; None for all.
        stop: ends the reading when it returns True.
        live: whether what is read now, or was read last, is a camera or stream, which has no end of its own.

    Raises:
        ConfigError: a number is out of its range.
    """

    every: int = 1
    seconds: float | None = None
    stop: Callable[[], bool] = bool
    live: bool = False

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"every={self.every} is a number of frames: type 1 for each frame, or more")
        if self.seconds is not None and not self.seconds > 0:
            raise ConfigError(f"seconds={self.seconds} must be above 0, or null for all")


@dataclass(frozen=True)
class Video:
    """A video file, a camera or an address; see `sources.Source`.

    Attributes:
        file: path or address; of a camera, its number.
        reading: how it is read.
    """

    file: str
    reading: Reading = field(default_factory=Reading)

    def __iter__(self) -> Iterator[Picture]:
        """Yield the frames, uint8 `(H, W, 3)` RGB; a file that holds none yields one picture that says so.

        Raises:
            DataError: a camera or an address cannot be opened.
        """
        capture = open_capture(self.file)
        count, rate, reading = frame_count(capture), frame_rate(capture), self.reading
        if not capture.isOpened():
            if not os.path.isfile(self.file):
                raise DataError(_why_not_opened(self.file))
            yield Picture(None, self.file, _why_unreadable(self.file))
            return
        live = reading.live = count == 0 and not os.path.isfile(self.file)
        times = _clock() if live else _times(capture, rate)
        frames = read_ahead(self._read(capture, times), 1 if live else AHEAD, newest=live, stop=reading.stop)
        length = count / rate if reading.seconds is None else min(count / rate, reading.seconds)
        total = math.ceil(length * rate / reading.every) or None
        last = None
        # `disable=None` shows it on a terminal only
        with tqdm(desc=Path(self.file).name, total=total, unit=" frames", leave=False, disable=None) as bar:
            for picture in frames:
                yield picture
                bar.update()
                last = picture.time
        if reading.stop():
            return
        if last is None:
            yield Picture(None, self.file, _why_unreadable(self.file))
        elif last < CUT_SHORT * length - reading.every / rate:
            log.warning(f"{self.file} is cut short: {last:.1f} of {length:.1f} s could be read")

    def _read(self, capture: Any, times: Iterator[float]) -> Iterator[Picture]:
        """Yield frames until there are no more; the capture is closed then, in the thread that reads."""
        number = -1
        try:
            while capture.grab():
                number, seconds = number + 1, next(times)
                if self.reading.seconds is not None and seconds >= self.reading.seconds:
                    break
                if number % self.reading.every == 0:
                    read, frame = capture.retrieve()
                    if not read:
                        break
                    pixels = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                    yield Picture(pixels, self.file, None, number, seconds)
        finally:
            capture.release()


def is_video(name: str) -> bool:
    """Return whether a source is a video by its name: a file, an address, or the number of a camera.

    >>> is_video("clip.MP4"), is_video("https://example.org/clip.mp4?id=3"), is_video("rtsp://10.0.0.7/live")
    (True, True, True)
    >>> is_video("photo.jpg"), is_video("https://example.org/photo.jpg")
    (False, False)
    """
    scheme, separator, rest = name.partition("://")
    if separator and scheme.lower() in STREAMS:
        return True
    if separator:
        return re.split("[?#]", rest)[0].lower().endswith((*VIDEO_SUFFIXES, *PLAYLISTS))
    return name.lower().endswith(VIDEO_SUFFIXES) or is_camera(name)


def is_camera(name: str) -> bool:
    """Return whether a source is the number of a camera, and not a file that is called so."""
    return name.isdecimal() and not os.path.lexists(name)


def open_capture(file: str) -> Any:
    """Return OpenCV's reader of a file, an address or the camera of a number, opened or not; it says nothing."""
    if is_camera(file):
        return cv2.VideoCapture(int(file))
    if os.path.exists(file):
        capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG)
        capture = capture if capture.isOpened() else cv2.VideoCapture(file)  # OpenCV may be built without FFmpeg
    else:
        timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT]
        capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, timeouts)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # phones write upright videos lying, with a note
    return capture


def frame_count(capture: Any) -> int:
    """Return how many frames a file promises; 0 if it does not say, as cameras and streams."""
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if 0 < count < 1e9 else 0


def frame_rate(capture: Any) -> float:
    """Return the frames a second of an open video; `USUAL_RATE` where it does not say."""
    rate = capture.get(cv2.CAP_PROP_FPS)
    return float(rate) if 1 <= rate <= 1000 else USUAL_RATE


def rate_of(file: str) -> float:
    """Return the frames a second of a file; of a camera or stream, which comes as fast as it does, `USUAL_RATE`."""
    capture = open_capture(file) if os.path.isfile(file) else cv2.VideoCapture()
    try:
        return frame_rate(capture)
    finally:
        capture.release()


def _times(capture: Any, rate: float) -> Iterator[float]:
    """Yield the time of each frame that was grabbed, in seconds since the first, by the timestamps in the file.

    A frame without one (a raw stream, an old container) comes one step of the rate after the frame before.
    """
    first, before = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0
    yield before
    while True:
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 - first
        before = stamp if stamp > before else before + 1 / rate
        yield before


def _clock() -> Iterator[float]:
    """Yield the seconds since the first frame."""
    start = time.monotonic()
    while True:
        yield time.monotonic() - start


def _why_not_opened(name: str) -> str:
    if is_camera(name):
        cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
        return f"camera {name} cannot be opened: " + (f"there are {', '.join(cameras)}" if cameras else "there is none")
    return f"{name} does not answer with a video that OpenCV can read: see that it plays in a browser or in VLC"


def _why_unreadable(file: str) -> str:
    if os.path.isfile(file) and os.path.getsize(file) == 0:
        return "empty file (0 bytes)"
    return (
        "no video that can be read: damaged, cut short, only sound, or encoded as OpenCV cannot decode; "
        "ffmpeg -i FILE out.mp4 converts what ffmpeg can read"
    )
