"""What becomes of uploaded files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.requests import Request

from fer_lightning.inference.app import uploads as module
from fer_lightning.inference.app.uploads import Uploads

BODY = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\nhello\r\n--x--\r\n'


def post() -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    headers = [(b"content-type", b"multipart/form-data; boundary=x")]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def test_an_upload_is_read_once(tmp_path: Path) -> None:
    uploads = Uploads(tmp_path, 100)
    assert asyncio.run(uploads.receive(post())).status_code == 200
    (file,) = tmp_path.iterdir()
    told = {"path": str(file), "orig_name": "a.jpg"}
    assert uploads.take(told) == (b"hello", "a.jpg")
    assert list(tmp_path.iterdir()) == []
    for nothing in (told, {"path": "/etc/hostname"}, {}, None, "a.jpg"):
        with pytest.raises(FileNotFoundError):
            uploads.take(nothing)


def test_an_upload_that_nobody_asks_for_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forget() -> None:
        monkeypatch.setattr(module, "UNUSED_SECONDS", 0.2)
        assert (await Uploads(tmp_path, 100).receive(post())).status_code == 200
        assert len(list(tmp_path.iterdir())) == 1
        await asyncio.sleep(0.4)
        assert list(tmp_path.iterdir()) == []

    asyncio.run(forget())
