"""Uploaded files, in place of Gradio's own way.

Gradio names an upload by its content, so that two people with the same picture would share a file, and keeps what was
broken off or never used. Here each upload has a name that nobody can guess, is read once, and is then gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

UNUSED_SECONDS = 60.0  # after which an upload that nobody asks for is removed


class Uploads:
    """The folder of uploads, and Gradio's two routes that fill it.

    Args:
        folder: for nothing else.
        max_bytes: of one file.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    async def receive(self, request: Request) -> Response:
        """Answer `POST /gradio_api/upload`, a form with a file, with a list of its path."""
        try:
            async with request.form(max_files=1, max_fields=1) as form:
                file = form.get("files")
                content = await file.read() if isinstance(file, UploadFile) else None
        except Exception:  # broken off, or not a form
            content = None
        if content is None:
            return PlainTextResponse("send a form with one file", 400)
        if len(content) > self.max_bytes:
            return PlainTextResponse(f"more than {self.max_bytes:,} bytes: make the picture smaller", 413)
        path = self.folder / secrets.token_hex(16)
        await run_in_threadpool(path.write_bytes, content)
        asyncio.get_running_loop().call_later(UNUSED_SECONDS, path.unlink, True)  # where it is missing, it was read
        return JSONResponse([str(path)])

    async def progress(self, request: Request) -> Response:
        """Answer `GET /gradio_api/upload_progress`: a picture is there at once."""
        return PlainTextResponse(f"data: {json.dumps({'msg': 'done'})}\n\n", media_type="text/event-stream")

    def take(self, upload: Any) -> tuple[bytes, str]:
        """Return the content and the name of an upload as Gradio's page names it, and delete the file.

        Raises:
            FileNotFoundError: there is none.
        """
        told = upload if isinstance(upload, dict) else {}
        file = self.folder / os.path.basename(str(told.get("path")))
        try:
            return file.read_bytes(), str(told.get("orig_name") or "picture")[:255]
        except OSError as error:
            raise FileNotFoundError from error
        finally:
            file.unlink(missing_ok=True)
