"""Clips that OpenCV encodes, and the changes to an MP4 file that its writer cannot make."""

from __future__ import annotations

import http.server
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import fer_lightning.inference.video.frames  # noqa: F401  # which silences FFmpeg, as long as nothing has used it before


class Clips:
    def encode(self, path: Path, frames: Iterable[np.ndarray], rate: float = 25, codec: str = "mp4v") -> Path:
        """Write frames, uint8 `(H, W, 3)` RGB, as a video."""
        writer = None
        for frame in frames:
            if writer is None:
                size = frame.shape[1::-1]
                writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*codec), rate, size)
                assert writer.isOpened()
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        assert writer is not None
        writer.release()
        return path

    def shades(self, count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
        """Return grey frames, each a little brighter than the one before."""
        return [np.full((height, width, 3), 20 + 200 * k // count, np.uint8) for k in range(count)]

    def decode(self, path: Path) -> list[np.ndarray]:
        """Return the frames of a video, uint8 `(H, W, 3)` RGB."""
        capture, frames = cv2.VideoCapture(str(path)), []
        while (read := capture.read())[0]:
            frames.append(cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB))
        return frames

    def change_box(self, path: Path, names: Sequence[bytes], change: Callable[[bytes], bytes]) -> Path:
        """Replace the content of a box of an MP4 file whose index lies at its end, as OpenCV writes it.

        Args:
            path: of the file.
            names: of the boxes around it and its own, from the outermost.
            change: function from the old content to the new one.
        """
        data, at, end, parents = path.read_bytes(), 0, path.stat().st_size, []
        for name in names:
            while data[at + 4 : at + 8] != name:
                at += struct.unpack(">I", data[at : at + 4])[0]
                assert at < end
            parents.append(at)
            end, at = at + struct.unpack(">I", data[at : at + 4])[0], at + 8
        new = change(data[at:end])
        changed = bytearray(data[:at] + new + data[end:])
        for box in parents:
            size = struct.unpack(">I", data[box : box + 4])[0] + len(new) - (end - at)
            changed[box : box + 4] = struct.pack(">I", size)
        path.write_bytes(changed)
        return path

    def with_durations(self, path: Path, milliseconds: Sequence[int]) -> Path:
        """Give each frame of an MP4 file a duration of its own: a varying frame rate."""
        boxes = [b"moov", b"trak", b"mdia"]
        scale = []
        path.write_bytes(path.read_bytes().replace(b"edts", b"free"))  # which says how long the old one was

        def read_scale(content: bytes) -> bytes:
            scale.append(struct.unpack(">I", content[12:16])[0])
            return content

        self.change_box(path, [*boxes, b"mdhd"], read_scale)
        entries = b"".join(struct.pack(">II", 1, round(one * scale[0] / 1000)) for one in milliseconds)
        table = struct.pack(">II", 0, len(milliseconds)) + entries
        return self.change_box(path, [*boxes, b"minf", b"stbl", b"stts"], lambda _: table)

    def turned(self, path: Path) -> Path:
        """Note in an MP4 file that it is to be shown turned clockwise by 90 degrees, as phones do."""
        one = 1 << 16
        matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
        return self.change_box(path, [b"moov", b"trak", b"tkhd"], lambda old: old[:40] + matrix + old[76:])


@pytest.fixture(scope="session")
def clips() -> Clips:
    return Clips()


@pytest.fixture
def server(tmp_path: Path, clips: Clips) -> Iterator[str]:
    """Serves ten frames at 25 a second as /clip.mp4, and as /camera again and again, in MJPEG, as cameras do."""
    clip = clips.encode(tmp_path / "served.mp4", clips.shades(10))
    frames = [cv2.imencode(".jpg", np.full((48, 64, 3), 20 * k, np.uint8))[1].tobytes() for k in range(10)]

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path == "/clip.mp4":
                self.send_header("Content-Length", str(clip.stat().st_size))
                self.end_headers()
                self.wfile.write(clip.read_bytes())
                return
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for k in range(30_000):
                    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(frames[k % 10])
                    self.wfile.write(head + frames[k % 10] + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass  # who watched has gone

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = True
        threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
