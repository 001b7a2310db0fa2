"""Writes the copy of a video with boxes and labels: same size, rate and duration; OpenCV writes no sound.

Of an odd number of rows or columns the last is left out, as OpenCV's encoder takes even sizes only.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.core.errors import StorageError
from fer_lightning.inference.face import Faces
from fer_lightning.inference.video.frames import frame_count, open_capture

# H.264, which browsers play, where OpenCV has an encoder: macOS, Windows, builds of distributions. MPEG-4 part 2, which
# VLC and most other players do, is in every build. VP8 and VP9 would play in browsers, too, but OpenCV cannot set their
# speed, and a frame of 1280 x 720 takes longer than the rest of the work.
CODECS = ("avc1", "mp4v")
WAITING = 4  # frames that may wait for the encoder
Draw = Callable[[np.ndarray, Faces], np.ndarray]


class VideoCopy:
    """Draws and encodes frames in a thread, in the order in which they are added.

    Attributes:
        path: of the file.
        rate: frames a second, constant, as OpenCV writes them; each moment shows the frame that the video shows then.
        codec: which of `CODECS` it is encoded with; known after the first frame.
        written: how many frames are in the file.
    """

    def __init__(self, path: Path, rate: float, draw: Draw) -> None:
        self.path, self.rate, self.draw = path, rate, draw
        self.codec, self.written = "", 0
        self._writer: Any = None
        self._size, self._first = (0, 0), 0.0
        self._shown: np.ndarray = np.empty((0, 0, 3), np.uint8)
        self._thread = ThreadPoolExecutor(1, "video_copy")
        self._waiting: deque[Future[None]] = deque()

    def add(self, faces: Faces) -> None:
        """Append a frame; what went wrong with an earlier one is raised here.

        Raises:
            OSError: the file cannot be written.
        """
        while len(self._waiting) >= WAITING or (self._waiting and self._waiting[0].done()):
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._encode, faces))

    def close(self) -> None:
        """Finish the file."""
        try:
            while self._waiting:
                self._waiting.popleft().result()
        finally:
            self._thread.shutdown(cancel_futures=True)
            if self._writer is not None:
                self._writer.release()

    def _encode(self, faces: Faces) -> None:
        assert faces.picture is not None
        assert faces.time is not None
        drawn = cv2.cvtColor(self.draw(faces.picture, faces), cv2.COLOR_RGB2BGR)
        if self._writer is None:
            self._size, self._first = (drawn.shape[1], drawn.shape[0]), faces.time
            self._open()
        elif drawn.shape[1::-1] != self._size:  # a stream that changes it
            drawn = cv2.resize(drawn, self._size, interpolation=cv2.INTER_AREA)
        due = round((faces.time - self._first) * self.rate)  # its number at a constant rate
        while 0 < self.written < due:  # a video of varying rate shows the one before until now
            self._write(self._shown)
        if self.written == due:
            self._write(drawn)
        self._shown = drawn

    def _write(self, frame: np.ndarray) -> None:
        self._writer.write(frame)
        self.written += 1

    def _open(self) -> None:
        for self.codec in CODECS:
            self._writer = cv2.VideoWriter(
                str(self.path), cv2.CAP_ANY, cv2.VideoWriter.fourcc(*self.codec), self.rate, self._size
            )
            if self._writer.isOpened():
                return
        raise OSError("OpenCV cannot write a video there")


@contextmanager
def video_copy(path: Path, rate: float, draw: Draw) -> Iterator[VideoCopy]:
    """Yield what writes the copy of a video, an .mp4 file that is at `path` when the block ends; none without frames.

    Args:
        path: of the file; its folder is there.
        rate: frames a second.
        draw: returns a frame, uint8 `(H, W, 3)` RGB, with the boxes of its faces.

    Raises:
        StorageError: it cannot be written as a whole.
    """
    part = path.with_name(f".{path.stem[:60]}.new.mp4")  # OpenCV takes the format from the end of the name
    copy = VideoCopy(part, rate, draw)
    try:
        try:
            yield copy
        finally:
            copy.close()
        if copy.written:
            check_complete(part, copy.written)
            with atomic_write(path) as new:
                os.replace(part, new)
    except OSError as error:
        raise StorageError.writing(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def check_complete(file: Path, frames: int) -> None:
    """Raise an OSError if a video does not hold its frames: OpenCV's writer says nothing on a full disk."""
    capture = open_capture(str(file))
    count = frame_count(capture)
    capture.release()
    if count != frames:
        raise OSError(f"{count:,} of {frames:,} frames are in it: the disk may be full")
