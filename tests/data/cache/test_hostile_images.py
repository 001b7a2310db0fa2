"""Files that promise more than they hold, mutated ones, and what is no file: refused at once and in little memory."""

from __future__ import annotations

import io
import os
import random
import re
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.decode import DecodeError, decode_image
from fer_lightning.data.cache.image_cache import open_cache
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.source import Source, read_source

GREY = np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "JPEG2000", "TGA", "PCX", "SGI")


def encode(picture: np.ndarray, fmt: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, fmt, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes, length: int | None = None) -> bytes:
    stated = len(body) if length is None else length
    return struct.pack(">I", stated) + name + body + struct.pack(">I", zlib.crc32(name + body))


def files_of_false_size() -> dict[str, bytes]:
    header = struct.pack(">IIBBBBB", 48, 48, 8, 0, 0, 0, 0)
    wide = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    start, rows = b"\x89PNG\r\n\x1a\n", zlib.compress(bytes(20_000 * 20_000 // 8))
    jpeg = bytearray(encode(GREY, "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    tiff, rows_tag = encode(GREY, "TIFF", compression="tiff_deflate"), struct.pack("<HHIHxx", 257, 3, 1, 40)
    return {
        "a PNG chunk of 4 GB": start + chunk(b"IHDR", header) + chunk(b"IDAT", b"abc", 0xFFFFFFFF),
        "a first PNG chunk of 4 GB": start + chunk(b"IHDR", header, 0xFFFFFFFF) + chunk(b"IDAT", b"abc"),
        # the next two were OpenCV's, as Pillow knows neither, and took seconds and gigabytes
        "an odd PNG chunk of 4 GB": start + chunk(b"IHDR", header) + chunk(b"fdAT", b"abc", 0xFFFFFFFF),
        "a PNG chunk of 4 GB after a false sum": start
        + chunk(b"IHDR", header)[:-4]
        + bytes(4)
        + chunk(b"IDAT", b"abc", 0xFFFFFFFF),
        "a PNG of 20,000 pixels a side": start + chunk(b"IHDR", wide) + chunk(b"IDAT", rows) + chunk(b"IEND", b""),
        "a JPEG of 65,500 pixels a side": bytes(jpeg),
        "a GIF of 65,535 pixels a side": b"GIF89a\xff\xff\xff\xff" + encode(GREY, "GIF")[10:],
        "a WebP of 16,383 pixels a side": encode(COLOUR, "WEBP")[:26] + b"\xff\x3f\xff\x3f" + bytes(300),
        "a BMP of 30,000 pixels a side": encode(GREY, "BMP")[:18] + struct.pack("<ii", 30_000, -30_000) + bytes(2000),
        "a PGM of 99,999 pixels a side": b"P5 99999 99999 255\n" + bytes(500),
        "a TIFF of 2 million rows": tiff.replace(rows_tag, struct.pack("<HHII", 257, 4, 1, 2**21)),
    }


def test_false_sizes_are_refused_at_once_and_in_little_memory(tmp_path: Path) -> None:
    """One of 82 bytes took 4.2 GB and 5 s in OpenCV."""
    program = (
        "import resource, sys, time\n"
        "from pathlib import Path\n"
        "from fer_lightning.data.cache.decode import DecodeError, decode_image\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()\n"
        "    try:\n        decode_image(path.read_bytes(), 48, 1)\n"
        "    except DecodeError as error:\n        reason = error\n"
        "    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "    print(used // 1024, time.process_time() - start, reason)\n"
    )
    files = files_of_false_size()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    for name, line in zip(sorted(files), done.stdout.splitlines(), strict=True):
        megabytes, seconds, reason = line.split(" ", 2)
        assert re.search("data.max_pixels|damaged|not an image of a known format", reason), name
        assert float(megabytes) < 60, name
        assert float(seconds) < 1, name


def mutate(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(min(len(changed), chance.choice((40, 200, len(changed)))))
        big = struct.pack(chance.choice((">I", "<I")), chance.choice((0, 8000, 30_000, 2**31 - 1, 2**32 - 1)))
        way = chance.randrange(4)
        if way == 0:
            changed[at] = chance.randrange(256)
        elif way == 1:
            changed[at : at + 4] = big
        elif way == 2:
            del changed[at + 1 : chance.choice((at + 2, at + 20, len(changed)))]
        else:
            changed[at:at] = changed[: chance.randrange(50)]
    return bytes(changed)


@pytest.mark.parametrize("fmt", FORMATS)
def test_mutated_files_are_decoded_or_refused(fmt: str) -> None:
    chance, stored = random.Random(fmt), encode(GREY, fmt)
    refused, worst = 0, 0.0
    for _ in range(30):
        data, start = mutate(stored, chance), time.process_time()
        try:
            assert decode_image(data, 24, 1).shape == (1, 24, 24)
        except DecodeError:
            refused += 1
        worst = max(worst, time.process_time() - start)
    assert refused > 3
    assert worst < 1


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50), "a HEIC image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"\n<!DOCTYPE html><p>Not found", "a web page"),
        (b"root:secret:19000:0:99999:7:::", "not an image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image of a known format"),
    ],
)
def test_other_files_are_named_by_kind_and_not_by_content(data: bytes, kind: str) -> None:
    with pytest.raises(DecodeError, match=kind) as caught:
        decode_image(data, 48, 1)
    assert "secret" not in str(caught.value)


def read(root: Path, **options: Any) -> Source:
    settings: dict[str, Any] = {"aliases": None, "code_order": None, "on_error": "raise"} | options
    return read_source(root, "folders", cache_dir=root.parent / "cache", image_size=24, channels=1, **settings)


def test_the_advice_to_raise_the_limit_works(tmp_path: Path, write_tree_of: Callable[..., Path]) -> None:
    root = write_tree_of(tmp_path / "faces", {"train/happy": 2, "train/sad": 2})
    Image.fromarray(np.zeros((100, 90), np.uint8)).save(root / "train" / "sad" / "large.png")
    with pytest.raises(DataError, match=r"sad/large\.png \(90 x 100 pixels .* data\.max_pixels=9000 accepts it\)"):
        read(root, max_pixels=5000)
    assert len(read(root, max_pixels=5000, on_error="skip").table) == 4
    assert len(read(root, max_pixels=9000).table) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_is_no_file_is_not_opened(tmp_path: Path, write_tree_of: Callable[..., Path]) -> None:
    """A pipe that takes the place of an image after the folder was listed."""
    root = write_tree_of(tmp_path / "faces", {"train/happy": 2, "train/sad": 2})
    table = read_layout(root)
    (root / "train" / "sad" / "1.png").unlink()
    os.mkfifo(root / "train" / "sad" / "1.png")
    (root / "train" / "sad" / "0.png").unlink()
    (root / "train" / "sad" / "0.png").symlink_to("/dev/zero")
    cache = open_cache(table, image_size=24, channels=1, cache_dir=tmp_path / "cache", progress=False)
    assert set(cache.failures.values()) == {"not a file but a pipe, socket or device"}
    assert len(cache.failures) == 2


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path, write_tree_of: Callable[..., Path]) -> None:
    root = write_tree_of(tmp_path / "faces", {"train/happy": 2, "train/sad": 2})
    with (root / "train" / "sad" / "film.png").open("wb") as film:
        film.truncate(2**34)
    with pytest.raises(DataError, match=r"film\.png \(17,179,869,184 bytes, too many for an image"):
        read(root)
