"""What stands between the network and Gradio: only what the page needs comes through.

Gradio serves files, fetches addresses and reads paths for whoever asks; in an app that is mounted into another, as
here, it does not check such paths at all. So the routes of the page are listed, payloads may name no file but an
upload, and the browser is told to load nothing from elsewhere. Pages of other addresses may neither post pictures nor
read answers, also where their name is made to lead here (DNS rebinding).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

API = "/gradio_api/"
ROUTES = re.compile(
    r"(GET|HEAD) /(config|theme\.css|favicon\.ico|manifest\.json|(assets|static|svelte)(/[\w-][\w.-]*)+)?"
    rf"|GET {API}(app_id|startup-events|queue/data|upload_progress|heartbeat/\w+)"
    rf"|POST {API}(upload|queue/join|cancel|reset|stream/\w+(/close)?)"
    r"|(GET|POST) /predict"
)
JSON = re.compile(rf"{API}(queue/join|stream/\w+|cancel|reset)")  # routes whose payload is checked
LOCAL = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)  # a Host of this machine
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; worker-src 'self' blob:; object-src 'none'; form-action 'self'; base-uri 'self'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware; see the top of this file.

    Args:
        app: what is guarded.
        uploads: the folder of uploaded files, the only ones that a payload may name.
        max_bytes: of one picture.
        local: whether only this machine reaches the server; then requests must be for a name of it.
    """

    def __init__(self, app: App, uploads: str, max_bytes: int, local: bool) -> None:
        self.app, self.uploads, self.max_bytes, self.local = app, os.path.realpath(uploads), max_bytes, local

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close"})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        if self.local and not LOCAL.fullmatch(headers.get(b"host", b"").decode("latin-1")):
            return await _refuse(send, 403, "only this machine is answered, as localhost; host=0.0.0.0 lets others in")
        if not ROUTES.fullmatch(f"{method} {path}"):
            return await _refuse(send, 404, "there is nothing here")
        if method == "POST":
            if not _is_own(headers):
                return await _refuse(send, 403, "pages of other addresses may not send pictures here")
            length = headers.get(b"content-length", b"")
            if not length.isdigit():
                return await _refuse(send, 411, "send the size of the picture: curl --data-binary @photo.jpg")
            # base64 of a picture takes a third more, and a form has headers
            if int(length) > self.max_bytes * 4 // 3 + 2**16:
                await _discard(receive, 10 * self.max_bytes)
                return await _refuse(send, 413, f"more than {self.max_bytes:,} bytes: make the picture smaller")
            if JSON.fullmatch(path):
                body = await _read(receive)
                if not self._names_uploads_only(body):
                    return await _refuse(send, 400, "the payload names a file that was not uploaded here")
                receive = _replay(body, receive)
        return await self.app(scope, receive, send)

    def _names_uploads_only(self, body: bytes) -> bool:
        try:
            paths = list(_paths(json.loads(body)))
        except (ValueError, RecursionError):
            return False
        return all(isinstance(path, str) and self._is_upload(path) for path in paths)

    def _is_upload(self, path: str) -> bool:
        if "\0" in path or not os.path.isabs(path):
            return False
        real = os.path.realpath(path)
        return os.path.isfile(real) and os.path.commonpath([real, self.uploads]) == self.uploads


def _is_own(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request comes from no page or from one of this server, as Go's `CrossOriginProtection` decides.

    Browsers let no page write these headers. Proxies may replace Host, and old browsers lack `Sec-Fetch-Site`.
    """
    if (site := headers.get(b"sec-fetch-site")) is not None:
        return site in (b"same-origin", b"none")
    origin = headers.get(b"origin")
    return origin is None or origin.partition(b"://")[2] == headers.get(b"host")


def _paths(value: Any) -> Iterator[Any]:
    """Yield what stands at a key `path` anywhere in a payload."""
    if isinstance(value, dict):
        if value.get("path") is not None:
            yield value["path"]
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from _paths(item)


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
            # Gradio lets pages of every other server of this machine read its answers
            kept = [item for item in message.get("headers", []) if not item[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": [*kept, *own]}
        await send(message)

    return sending


async def _read(receive: Receive) -> bytes:
    """Return a body; the server lets none be longer than its header says."""
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _discard(receive: Receive, most: int) -> None:
    """Read a body and keep nothing, as many clients read no answer before they have sent all; `most` in bytes."""
    more = True
    while more and most > 0:
        message = await receive()
        most -= len(message.get("body", b""))
        more = message.get("more_body", False)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read once more, and then what comes after it."""
    pending = [body]

    async def receiving() -> Message:
        return {"type": "http.request", "body": pending.pop(), "more_body": False} if pending else await receive()

    return receiving


async def _refuse(send: Send, status: int, why: str) -> None:
    content = json.dumps({"error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
