"""Draws boxes and labels on copies of pictures."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_lightning.core.atomic_write import atomic_write, make_folder
from fer_lightning.inference.face import Face, Faces

# Okabe and Ito (2008), distinct under every common colour blindness; one a class, in the order of the model
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
GREY, INK, PAPER = "#BDBDBD", "#000000", "#FFFFFF"
SMALLEST = 240  # pixels of the shorter side of a copy: there is no room for labels in less
SMALLEST_LETTERS = 12  # pixels
LONGEST_NAME = 230  # bytes; file systems take 255, and suffixes follow
JPEG_QUALITY = 95
NO_LETTER = "\U0010ffff"  # which no font has
MAGIC = re.compile(r"[*?\[]")  # of globs
log = logging.getLogger(__name__)


def draw_faces(
    picture: np.ndarray, faces: Sequence[Face], classes: Sequence[str], *, smallest: int = SMALLEST
) -> np.ndarray:
    """Return a copy with the box and the label of each face, uint8 `(H, W, 3)` RGB.

    Args:
        picture: uint8 `(H, W)` grey or `(H, W, 3)` RGB.
        faces: with boxes in its pixels; one without a box gets a label only.
        classes: of the model; the place of a label among them decides its colour.
        smallest: pixels of the shorter side; a copy of less is enlarged by a whole number. 1 keeps the size.
    """
    scale = max(1, -(-smallest // min(picture.shape[:2])))
    picture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    picture = np.repeat(np.repeat(picture, scale, axis=0), scale, axis=1) if scale > 1 else picture
    image = Image.fromarray(np.ascontiguousarray(picture))
    draw = ImageDraw.Draw(image)
    shown = [face for face in faces if face.label is not None]
    for face in reversed(shown):  # the largest last, above the others
        if face.box is not None:
            _draw_box(draw, image.size, [value * scale for value in face.box], _colour(face, classes))
    for face in reversed(shown):
        box = None if face.box is None else [value * scale for value in face.box]
        label = _drawable(str(face.label), tuple(classes))
        _draw_label(draw, image.size, box, f"{label} {face.confidence:.0%}", _colour(face, classes))
    return np.asarray(image)


class AnnotatedCopies:
    """Writes annotated copies of photographs to a folder, in the folders that they have below all their sources.

    Args:
        folder: where they are written.
        names: the sources, as they were typed.
        classes: of the model.
    """

    def __init__(self, folder: Path, names: Sequence[str], classes: Sequence[str]) -> None:
        self.folder, self.classes, self.written = folder, classes, 0
        places = [os.path.abspath(os.path.expanduser(MAGIC.split(name)[0])) for name in names if "://" not in name]
        folders = [place if os.path.isdir(place) else os.path.dirname(place) for place in places]
        self._root = os.path.commonpath(folders or ["/"])

    def add(self, faces: Faces) -> None:
        """Write the copy of a photograph in which a face was found."""
        if faces.picture is None or faces.frame is not None or faces[0].label is None:
            return
        path = self.folder / self.name(faces.source)
        make_folder(path.parent)
        drawn = draw_faces(faces.picture, faces, self.classes)
        suffix = ".jpg" if path.suffix.lower() in (".jpg", ".jpeg") else ".png"
        _, data = cv2.imencode(suffix, cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        with atomic_write(path) as new:
            new.write_bytes(data.tobytes())
        self.written += 1

    def name(self, source: str) -> str:
        """Return the name of a photograph's copy below the folder; no two sources have the same."""
        name = self.place(source)
        suffix = "" if name.lower().endswith((".jpg", ".jpeg", ".png")) else ".png"
        while suffix and os.path.lexists(source + suffix):  # whose copy has that name
            suffix = f"_{suffix}"
        return name + suffix

    def place(self, source: str) -> str:
        """Return where copies of a source are below the folder, without the suffix that tells their format."""
        if "://" in source:
            return _short(re.sub(r"[^\w.-]+", "_", source.partition("://")[2]), source)
        folder, name = os.path.split(os.path.relpath(os.path.abspath(source), self._root))
        return os.path.join(folder, name if len(os.fsencode(name)) <= LONGEST_NAME else _short(name, source))


def _short(name: str, source: str) -> str:
    """Return the end of a name behind what tells its source from others."""
    return f"{hashlib.sha256(os.fsencode(source)).hexdigest()[:8]}_{name[-50:]}"


def _draw_box(draw: ImageDraw.ImageDraw, size: tuple[int, int], box: Sequence[int], colour: str) -> None:
    """Draw a rectangle in a colour between two dark lines, so that it can be seen on every background."""
    x, y, w, h = box
    line = max(2, round(max(size) / 350))
    edge = max(1, line // 2)
    draw.rectangle((x - edge, y - edge, x + w + edge, y + h + edge), outline=INK, width=line + 2 * edge)
    draw.rectangle((x, y, x + w, y + h), outline=colour, width=line)


def _draw_label(
    draw: ImageDraw.ImageDraw, size: tuple[int, int], box: Sequence[int] | None, text: str, colour: str
) -> None:
    """Write above a box, or below where there is no room; at the upper edge of a picture without a box."""
    width, height = size
    x, y, w, h = box or (0, 0, width, 0)
    letters = round(max(min(w / 6, min(size) / 14), max(size) / 80, SMALLEST_LETTERS))
    font = _font(letters)
    if (needed := font.getlength(text) + letters) > width:
        font = _font(letters := max(6, int(letters * width / needed)))
    wide, high = round(font.getlength(text) + 0.6 * letters), round(1.45 * letters)
    top = y - high if y >= high else min(y + h, height - high) if box else 0
    left = min(max(x, 0), max(width - wide, 0))
    draw.rectangle((left, top, left + wide, top + high), fill=colour, outline=INK)
    ink = INK if sum(w * v for w, v in zip((0.3, 0.6, 0.1), _rgb(colour), strict=True)) > 110 else PAPER
    draw.text((left + wide / 2, top + high / 2), text, fill=ink, font=font, anchor="mm")


def _colour(face: Face, classes: Sequence[str]) -> str:
    return dict(zip(classes, itertools.cycle(PALETTE), strict=False)).get(str(face.label), GREY)


@functools.cache
def _drawable(label: str, classes: tuple[str, ...]) -> str:
    """Return a label, or the number of its class where the font lacks letters of it and would draw boxes."""
    font = _font(SMALLEST_LETTERS)
    unknown = bytes(font.getmask(NO_LETTER))
    if label not in classes or all(bytes(font.getmask(letter)) != unknown for letter in label):
        return label
    number = f"class {classes.index(label) + 1}"
    log.warning(f"copies of pictures show {label} as {number}: the font of labels, DejaVu Sans, lacks its letters")
    return number


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which has the letters of most languages and comes with matplotlib, which is not imported."""
    found = importlib.util.find_spec("matplotlib")
    (place,) = (found.submodule_search_locations if found else None) or [""]
    file = Path(place, "mpl-data", "fonts", "ttf", "DejaVuSans-Bold.ttf")
    return ImageFont.truetype(str(file), size)  # Pillow 10.0 takes no Path
