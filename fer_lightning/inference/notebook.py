"""How faces and predictors show themselves in a notebook: HTML in one piece, in the colours of its theme."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

PICTURES, FACES = 12, 3  # shown of a list, and of a picture
SIDE = 192  # pixels of the longer side of a thumbnail
MOST_BYTES = 36_000  # of a thumbnail, a third less than in the page
BAR, BOX = "#4285d4", "#ffb000"  # seen on white, on black, and on photographs
FAINT = "opacity:.65"


def show_pictures(pictures: Sequence[Any]) -> str:
    """Return HTML of some `Faces`: thumbnails with boxes, and a bar for each class beside them."""
    cards = [_card(faces) for faces in pictures[:PICTURES]]
    more = len(pictures) - len(cards)
    cards += [f'<div style="align-self:center;{FAINT}">… and {more:,} more</div>'] if more else []
    cards += [] if pictures else [f'<div style="{FAINT}">no pictures</div>']
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:16px 28px;font-size:13px;line-height:1.35">{"".join(cards)}</div>'
    )


def show_facts(title: str, facts: Mapping[str, str]) -> str:
    """Return HTML of a title and a list of facts."""
    rows = "".join(
        f'<div style="{FAINT}">{escape(name)}</div><div style="overflow-wrap:anywhere">{escape(value)}</div>'
        for name, value in facts.items()
    )
    grid = "display:grid;grid-template-columns:max-content 1fr;gap:2px 14px;font-size:13px"
    return f'<div style="{grid}"><div style="grid-column:1/3;font-weight:600">{escape(title)}</div>{rows}</div>'


def _card(faces: Any) -> str:
    found = [face for face in faces if face.label is not None]
    numbered = len(found) > 1
    boxes = [] if faces.picture is None else [face.box for face in found]
    shown = [_face(face, f"{number} " if numbered else "") for number, face in enumerate(found[:FACES], start=1)]
    if len(found) > FACES:
        shown.append(f'<div style="{FAINT}">… and {len(found) - FACES} more faces</div>')
    name = faces.source.replace("\\", "/").rsplit("/", 1)[-1]
    missing = [face.status.replace("_", " ") for face in faces if face.label is None]
    lines = [escape(text) for text in (name, ": ".join(filter(None, (*missing, faces.note)))) if text]
    if lines:
        shown.append(f'<div style="overflow-wrap:anywhere;{FAINT}">{"<br>".join(lines)}</div>')
    picture = "" if faces.picture is None else _thumbnail(faces.picture, boxes, numbered=numbered)
    column = f"display:flex;flex-direction:column;gap:8px;width:{SIDE}px;max-width:100%"
    return (
        f'<div style="display:flex;gap:10px;flex-wrap:wrap">{picture}<div style="{column}">{"".join(shown)}</div></div>'
    )


def _face(face: Any, number: str) -> str:
    """Return the label of a face, and a bar for each class, the most probable in bold."""
    top = max(face.probabilities.values())
    bars = "".join(
        f'<div style="{"font-weight:600" if probability == top else FAINT}">{escape(name)}</div>'
        '<div style="position:relative;min-width:60px">'
        '<div style="position:absolute;inset:4px 0;border-radius:2px;background:currentColor;opacity:.12"></div>'
        f'<div style="position:absolute;inset:4px auto 4px 0;border-radius:2px;background:{BAR};'
        f'width:{100 * probability:.1f}%"></div></div>'
        f'<div style="text-align:right;font-variant-numeric:tabular-nums">{100 * probability:.0f} %</div>'
        for name, probability in face.probabilities.items()
    )
    grid = "display:grid;grid-template-columns:max-content 1fr 3.2em;gap:0 8px"
    title = f'<div style="font-weight:600">{number}{escape(face.label)} {100 * face.confidence:.0f} %</div>'
    return f'<div>{title}<div style="{grid}">{bars}</div></div>'


def _thumbnail(picture: np.ndarray, boxes: Iterable[Any], *, numbered: bool) -> str:
    """Return a picture with boxes, which are drawn by the browser, sharp at every zoom."""
    height, width = picture.shape[:2]
    scale = SIDE / max(height, width)
    frames = "".join(
        f'<div style="position:absolute;box-sizing:border-box;border:2px solid {BOX};border-radius:3px;'
        f"left:{100 * box.x / width:.2f}%;top:{100 * box.y / height:.2f}%;"
        f'width:{100 * box.w / width:.2f}%;height:{100 * box.h / height:.2f}%">{_number(at) if numbered else ""}</div>'
        for at, box in enumerate(boxes, start=1)
        if box is not None
    )
    shown = f"width:{max(1, round(width * scale))}px;height:{max(1, round(height * scale))}px"
    image = f'<img src="{_as_url(picture, min(1.0, scale))}" alt="" style="width:100%;height:100%;margin:0">'
    return f'<div style="position:relative;flex:none;{shown}">{image}{frames}</div>'


def _number(number: int) -> str:
    place, look = "position:absolute;left:-2px;bottom:100%;padding:0 3px", "font-size:10px;line-height:1.2;color:#000"
    return f'<div style="{place};{look};background:{BOX}">{number}</div>'


def _as_url(picture: np.ndarray, scale: float) -> str:
    """Return a picture, scaled down, as the address of a JPEG that holds it."""
    if scale < 1:
        sides = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
        picture = cv2.resize(picture, sides, interpolation=cv2.INTER_AREA)
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    for quality in (90, 70, 40, 10):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= MOST_BYTES:
            break
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
