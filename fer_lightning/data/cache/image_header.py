"""How large a picture is, from the first bytes of its file; nothing is decoded.

A decoder reserves memory for what a header promises, so the promise is read here first. Where this file knows no
answer, Pillow's plugin reads the header.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_PIXELS = 64_000_000
"""Of one picture, unless `data.max_pixels` says otherwise; decoding takes about 10 bytes of memory for each."""

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without tables and reserved markers
_PNM = re.compile(rb"P[1-6](?:\s+|#[^\n]*\n)+(\d+)(?:\s+|#[^\n]*\n)+(\d+)")
_MOST_PIXELS_PER_BYTE = 1032 * 8  # in a PNG: deflate's highest ratio, at 1 bit a pixel


class JpegFrame(NamedTuple):
    """What the frame header of a JPEG says, and the offset of its first scan."""

    width: int
    height: int
    components: int
    scan: int


def read_jpeg_frame(data: bytes) -> JpegFrame | None:
    """Return the frame of a JPEG; None of other data, or where the markers do not lead from one to the next.

    This runs once for nearly every image of a data set, hence the shifts.
    """
    if data[:3] != b"\xff\xd8\xff":
        return None
    frame, at, last = 0, 2, len(data) - 9
    while at < last and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            frame = at
        elif marker == 0xDA:
            height, width, components = struct.unpack_from(">HHB", data, frame + 5) if frame else (0, 0, 0)
            return JpegFrame(width, height, components, at)
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def read_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels as the header states them, or None where the format is not known here.

    Known are PNG, GIF, BMP, WebP, PGM and its kin, and TIFF; of a TIFF in tiles, the size of a tile where that is
    larger. The file may be damaged all the same.
    """
    for begin, read in _READERS:
        if data.startswith(begin):
            try:
                return read(data)
            except (struct.error, IndexError):  # cut short
                return None
    return None


def promises_too_much(data: bytes, size: tuple[int, int]) -> bool:
    """Return whether a PNG of this size cannot have been compressed to so few bytes."""
    return data.startswith(b"\x89PNG") and size[0] * size[1] > _MOST_PIXELS_PER_BYTE * len(data)


def _png(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    if data[14] == 12:  # the header of OS/2
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)  # negative: from the top row down
    return abs(width), abs(height)


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[8:16]
    if kind == b"WEBPVP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"WEBPVP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"WEBPVP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _pnm(data: bytes) -> tuple[int, int] | None:
    match = _PNM.match(data[:4096])
    return None if match is None else (int(match[1]), int(match[2]))


def _tiff(data: bytes) -> tuple[int, int] | None:
    """Return the size that the first directory states; tags 256 and 257 are the picture's, 322 and 323 a tile's."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2 if order == "<" else 3] == 43  # BigTIFF
    count, entry, values = ("Q", "HHQ", "HIQ") if big else ("H", "HHI", "HIQ")
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (tags,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize("=" + count)
    sides: dict[int, int] = {}
    for _ in range(min(tags, 4096)):
        tag, kind, _ = struct.unpack_from(order + entry, data, at)
        if tag in (256, 257, 322, 323):
            form = {3: values[0], 4: values[1], 16: values[2]}.get(kind)
            if form is None:
                return None
            (sides[tag],) = struct.unpack_from(order + form, data, at + struct.calcsize("=" + entry))
        at += 20 if big else 12
    if 256 not in sides or 257 not in sides:
        return None
    return max((sides[256], sides[257]), (sides.get(322, 0), sides.get(323, 0)), key=lambda size: size[0] * size[1])


_READERS: tuple[tuple[Any, Callable[[bytes], tuple[int, int] | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"BM", _bmp),
    (b"RIFF", _webp),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _tiff),
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), _pnm),
)
