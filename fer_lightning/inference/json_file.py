"""`predictions.json`: the model, the settings and the faces of each picture, written as pictures come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.inference.face import Face, Faces


class JsonWriter:
    """Writes the pictures; see `open_json`."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._between, self.statuses = file, "", Counter[str]()

    def add(self, faces: Faces) -> None:
        """Write one picture on a line of its own."""
        self.statuses.update(face.status for face in faces)
        self._file.write(f"{self._between}\n  {_encode(describe_picture(faces))}")
        self._between = ","


@contextmanager
def open_json(path: Path, facts: Mapping[str, Any]) -> Iterator[JsonWriter]:
    """Yield the writer of a file that is at `path` when the block ends; `facts` come first in it."""
    with atomic_write(path) as new, new.open("w", encoding="utf-8", newline="") as file:
        file.write("{" + "".join(f"\n {_encode(key)}: {_encode(value)}," for key, value in facts.items()))
        file.write('\n "pictures": [')
        writer = JsonWriter(file)
        yield writer
        file.write(f'\n ],\n "statuses": {_encode(dict(writer.statuses))}\n}}\n')


def describe_picture(faces: Faces) -> dict[str, Any]:
    """Return one picture and its faces as values that JSON knows."""
    height, width = (None, None) if faces.picture is None else faces.picture.shape[:2]
    found = [face for face in faces if face.label is not None]
    return {
        "file": faces.source,
        "frame": faces.frame,
        "time": None if faces.time is None else round(faces.time, 3),
        "width": width,
        "height": height,
        "status": "ok" if any(face.status == "ok" for face in faces) else faces[0].status,
        "note": faces.note,
        "faces": [_describe(face.track or number, face) for number, face in enumerate(found, 1)],
    }


def _describe(number: int, face: Face) -> dict[str, Any]:
    return {
        "face": number,
        "box": None if face.box is None else dict(zip("xywh", map(int, face.box), strict=True)),
        "label": face.label,
        "confidence": round(face.confidence, 6),
        "probabilities": {name: round(share, 6) for name, share in face.probabilities.items()},
        "status": face.status,
    }


def _encode(value: Any) -> str:
    """Return JSON; names of files that are not UTF-8 with the escapes that Python's `json` reads again."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(value)
    return text
