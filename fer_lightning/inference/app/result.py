"""What is shown of a picture, as HTML: the picture with boxes, and for each face a bar for each expression.

Pictures and the table are inside the HTML, so that no file has to be written for a client to fetch.
"""

from __future__ import annotations

import base64
import functools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_lightning.evaluation.html import percent
from fer_lightning.inference.explain.overlay import overlay
from fer_lightning.inference.face import Face, Faces

LONGEST = 1280  # pixels of the longer side of the picture that is shown
SHOWN_FACES = 12  # the largest; the table has all
CROP_SIDE = 144  # pixels


def render_faces(
    faces: Faces, *, crops: np.ndarray, maps: np.ndarray | None = None, table: str = "", seconds: float | None = None
) -> str:
    """Return the HTML of the faces of one picture.

    Args:
        faces: of the picture.
        crops: uint8 `(B, C, S, S)`, what the model saw of each face.
        maps: float32 `(B, S, S)` in [0, 1], where it looked; None for not asked.
        table: the content of the CSV file to download; empty for none.
        seconds: that it took.
    """
    found = [face for face in faces if face.label is not None]
    cards = [
        {
            "number": number,
            "title": _title(face),
            "status": face.status,
            "bars": sorted(face.probabilities.items(), key=lambda item: -item[1]),
            "crop": as_address(_enlarged(crop)),
            "map": None if maps is None else as_address(overlay(crop, maps[number - 1], CROP_SIDE)),
        }
        for number, (face, crop) in enumerate(zip(found[:SHOWN_FACES], crops, strict=False), 1)
    ]
    return render(
        "result.html",
        faces=faces,
        found=len(found),
        cards=cards,
        boxes=[] if faces.picture is None else _boxes(found, faces.picture.shape),
        picture=None if faces.picture is None else as_address(_reduced(faces.picture), ".jpg"),
        size=None if faces.picture is None else faces.picture.shape[1::-1],
        table=base64.b64encode(table.encode("utf-8", "surrogateescape")).decode(),
        milliseconds=None if seconds is None else max(1, round(1000 * seconds)),
        with_maps=maps is not None,
    )


def render(template: str, **values: Any) -> str:
    """Return the HTML of a template beside this file; what is put in is escaped."""
    return _environment().get_template(template).render(**values)


def as_address(picture: np.ndarray, kind: str = ".png") -> str:
    """Return a picture, uint8 `(H, W)` grey or `(H, W, 3)` RGB, as an address that holds it."""
    done, data = cv2.imencode(kind, picture if picture.ndim == 2 else picture[..., ::-1])
    assert done
    return f"data:image/{'jpeg' if kind == '.jpg' else 'png'};base64,{base64.b64encode(data.tobytes()).decode()}"


@functools.cache
def _environment() -> Environment:
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(
        loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = percent
    return environment


def _title(face: Face) -> str:
    return f"{face.label}, {percent(face.confidence)}"


def _boxes(found: list[Face], shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the boxes of faces in percent of the picture."""
    height, width = shape[:2]
    return [
        {
            "number": number,
            "label": face.label,
            "status": face.status,
            "left": 100 * face.box.x / width,
            "top": 100 * face.box.y / height,
            "width": 100 * face.box.w / width,
            "height": 100 * face.box.h / height,
        }
        for number, face in enumerate(found, 1)
        if face.box is not None
    ]


def _reduced(picture: np.ndarray) -> np.ndarray:
    scale = LONGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def _enlarged(crop: np.ndarray) -> np.ndarray:
    """Return `(C, S, S)` as a picture of `CROP_SIDE` pixels."""
    picture = crop[0] if len(crop) == 1 else crop.transpose(1, 2, 0)
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_LINEAR))
