"""What the page answers, without a browser."""

from __future__ import annotations

import asyncio
import base64
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fer_lightning.inference.app.page import _Handlers
from fer_lightning.inference.app.samples import sample
from fer_lightning.inference.app.service import Choice, Service
from fer_lightning.inference.app.uploads import Uploads
from fer_lightning.inference.predictor import Predictor


def test_frames_of_the_camera_are_smoothed_for_each_visitor(tmp_path: Path, tiny_onnx: Path) -> None:
    service = Service(Predictor.load(tiny_onnx))
    handlers = _Handlers(service, Uploads(tmp_path, 1))

    async def show(name: str, visitor: str) -> str:
        frame = {"url": f"data:image/png;base64,{base64.b64encode(sample(name)).decode()}"}
        request: Any = SimpleNamespace(session_hash=visitor)
        found = re.search(r"<b>([a-z]+), ", await handlers.frame(frame, 0, "auto", request))
        assert found
        return found[1]

    async def visit() -> None:
        first, last = await show("happy", "a"), await show("surprise", "b")
        assert first != last  # or the frames show nothing
        assert await show("surprise", "a") == first  # one frame is no change
        handlers.sessions.forget("a")
        assert await show("surprise", "a") == last

    labels = {name: service.recognize(sample(name), "", Choice("auto", 0.0))[0].label for name in ("happy", "surprise")}
    assert len({*labels.values()}) == 2
    asyncio.run(visit())


@pytest.mark.parametrize(
    "payload", [None, "x", {}, {"url": None}, {"url": "http://127.0.0.1/"}, {"url": "data:image/png;base64,é"}]
)
def test_what_is_no_frame_is_a_line(tmp_path: Path, tiny_onnx: Path, payload: Any) -> None:
    handlers = _Handlers(Service(Predictor.load(tiny_onnx)), Uploads(tmp_path, 1))
    request: Any = SimpleNamespace(session_hash="a")
    assert "cannot be read: empty file" in asyncio.run(handlers.frame(payload, 0, "auto", request))
