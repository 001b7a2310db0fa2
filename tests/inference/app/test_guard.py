"""Requests as an attacker would send them, to the guard before an app that says what reaches it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fer_lightning.inference.app.guard import Guard

JOIN = "/gradio_api/queue/join"
GRADIO = [(b"Access-Control-Allow-Origin", b"http://localhost:3000")]  # as it answers pages of this machine


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the body, as an app behind the guard gets it."""
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": GRADIO})
    await send({"type": "http.response.body", "body": body})


def ask(
    uploads: Path,
    method: str,
    path: str,
    body: bytes | None = b"",
    length: int | None = None,
    local: bool = True,
    **more: str,
) -> Any:
    """Return the status, the headers and the body of the answer; the request comes in two parts."""
    size = len(body or b"") if length is None else length
    headers = [] if body is None else [(b"content-length", str(size).encode())]
    named = {"host": "127.0.0.1:7860"} | {name.replace("_", "-"): text for name, text in more.items()}
    headers += [(name.encode(), text.encode()) for name, text in named.items()]
    parts = [] if body is None else [(body[:7], True), (body[7:], False)]
    sent: list[Any] = []

    async def receive() -> Any:
        part, more = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": more}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(Guard(echo, str(uploads), 1000, local)(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/assets/index-Dph_v.js"),
        ("GET", "/static/fonts/a/b.woff2"),
        ("GET", "/gradio_api/heartbeat/abc123"),
        ("POST", "/gradio_api/upload"),
        ("POST", "/gradio_api/stream/0f00/close"),
        ("POST", "/predict"),
    ],
)
def test_what_the_page_needs_comes_through(tmp_path: Path, method: str, path: str) -> None:
    status, headers, _ = ask(tmp_path, method, path, b"{}")
    assert status == 200
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/file=/etc/passwd"),
        ("GET", "/gradio_api/file/etc/passwd"),
        ("GET", "/gradio_api/proxy=http://example.com"),
        ("GET", "/gradio_api/deep_link"),
        ("GET", "/static/../../../etc/passwd"),
        ("GET", "/assets/.env"),
        ("GET", "/static/a%2fb"),
        ("GET", "//etc/passwd"),
        ("GET", "/gradio_api/info"),
        ("GET", "/gradio_api/stream/a/0/1/playlist-file"),
        ("POST", "/gradio_api/call/upload"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/login"),
        ("POST", "/"),
        ("DELETE", "/predict"),
    ],
)
def test_all_else_is_not_there(tmp_path: Path, method: str, path: str) -> None:
    status, headers, body = ask(tmp_path, method, path, b"{}")
    assert (status, json.loads(body)) == (404, {"error": "there is nothing here"})
    assert b"content-security-policy" in headers


def test_a_payload_may_name_an_upload(tmp_path: Path) -> None:
    file = tmp_path / "0f00" / "photo.jpg"
    file.parent.mkdir()
    file.write_bytes(b"x")
    body = json.dumps({"data": [{"path": str(file), "meta": {"_type": "gradio.FileData"}}, 0.5, None]}).encode()
    assert ask(tmp_path, "POST", JOIN, body)[::2] == (200, body)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "http://example.com/a.jpg",
        "https://127.0.0.1/a.jpg",
        "file:///etc/passwd",
        "photo.jpg",
        "../photo.jpg",
        "{uploads}/../secret.txt",
        "{uploads}/link.txt",
        "{uploads}/none.jpg",
        "{uploads}",
        "{uploads}/photo.jpg\0.png",
        "",
        7,
        ["/etc/passwd"],
    ],
)
def test_a_payload_may_name_nothing_else(tmp_path: Path, path: Any) -> None:
    uploads, secret = tmp_path / "uploads", tmp_path / "secret.txt"
    uploads.mkdir()
    secret.write_text("secret")
    (uploads / "photo.jpg").write_bytes(b"x")
    (uploads / "link.txt").symlink_to(secret)
    path = path.format(uploads=uploads) if isinstance(path, str) else path
    for data in ({"path": path}, [[{"deep": {"path": path, "meta": {"_type": "gradio.FileData"}}}]]):
        status, _, body = ask(uploads, "POST", JOIN, json.dumps({"data": [data]}).encode())
        assert status == 400
        assert json.loads(body) == {"error": "the payload names a file that was not uploaded here"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 30_000 + b"]" * 30_000])
def test_a_payload_that_is_no_json_is_refused(tmp_path: Path, body: bytes) -> None:
    assert ask(tmp_path, "POST", JOIN, body)[0] == 400


def test_a_body_has_a_size_and_a_limit(tmp_path: Path) -> None:
    assert ask(tmp_path, "POST", "/predict", None)[0] == 411
    status, _, body = ask(tmp_path, "POST", "/predict", b"x", length=10**9)
    assert (status, json.loads(body)) == (413, {"error": "more than 1,000 bytes: make the picture smaller"})


def test_websockets_are_closed(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(echo, str(tmp_path), 1, local=True)({"type": "websocket", "path": "/"}, None, send))  # type: ignore[arg-type]
    assert sent == [{"type": "websocket.close"}]


@pytest.mark.parametrize("host", ["localhost:7860", "LOCALHOST", "127.0.0.1", "127.8.0.1:80", "[::1]:7860"])
def test_this_machine_may_be_named_in_several_ways(tmp_path: Path, host: str) -> None:
    assert ask(tmp_path, "GET", "/config", host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "::1", ""])
def test_a_foreign_name_that_leads_to_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    for method, path in (("GET", "/config"), ("POST", "/predict")):
        status, _, body = ask(tmp_path, method, path, b"{}", host=host)
        assert status == 403
        assert json.loads(body)["error"].startswith("only this machine is answered")
        assert ask(tmp_path, method, path, b"{}", host=host, local=False)[0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:3000"},
        {"origin": "http://127.0.0.1:78600"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": "http://127.0.0.1:7860"},
    ],
)
def test_a_page_of_another_address_may_not_post(tmp_path: Path, sent: dict[str, str]) -> None:
    for path in ("/predict", "/gradio_api/upload", JOIN):
        for local in (True, False):
            status, headers, body = ask(tmp_path, "POST", path, b"{}", local=local, **sent)
            assert (status, json.loads(body)) == (403, {"error": "pages of other addresses may not send pictures here"})
            assert b"access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"origin": "http://127.0.0.1:7860"},
        {"sec_fetch_site": "none"},
        {"sec_fetch_site": "same-origin", "origin": "https://faces.example"},  # a proxy has replaced Host
    ],
)
def test_the_page_itself_and_programs_may_post(tmp_path: Path, sent: dict[str, str]) -> None:
    assert ask(tmp_path, "POST", "/predict", b"{}", **sent)[0] == 200


def test_no_page_of_another_address_may_read_answers(tmp_path: Path) -> None:
    _, headers, _ = ask(tmp_path, "GET", "/config", origin="http://localhost:3000")
    assert not [name for name in headers if name.lower().startswith(b"access-control")]
    assert headers[b"cross-origin-resource-policy"] == b"same-origin"


@pytest.mark.parametrize(("parts", "read"), [(3, 3), (1000, 10)])
def test_who_sends_too_much_may_finish_before_the_answer_but_not_for_ever(
    tmp_path: Path, parts: int, read: int
) -> None:
    came, sent = list[int](), list[Any]()

    async def receive() -> Any:
        came.append(len(sent))
        return {"type": "http.request", "body": bytes(1000), "more_body": len(came) < parts}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost"), (b"content-length", b"1000000")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    asyncio.run(Guard(echo, str(tmp_path), 1000, local=True)(scope, receive, send))
    assert sent[0]["status"] == 413
    assert came == [0] * read
