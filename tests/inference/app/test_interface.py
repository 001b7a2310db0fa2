"""`POST /predict`, and requests as an attacker sends them, by real HTTP to the real program."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_lightning.inference.predictor import Predictor
from tests.inference.app.conftest import Running, Start

pytestmark = pytest.mark.slow


def ask(address: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Return the status and the answer, read as JSON where it is."""
    request = urllib.request.Request(address, body, {name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, content = error.code, error.read()
    try:
        return status, json.loads(content)
    except ValueError:
        return status, content


def test_curl_as_documented_gets_what_the_predictor_says(
    page: Running, checkpoint: Path, portrait_file: Path, portrait: np.ndarray
) -> None:
    command = ["curl", "-sS", "--data-binary", f"@{portrait_file}", f"{page.address}/predict"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("no curl")
    answer = json.loads(done.stdout)
    ((face,),) = Predictor.load(checkpoint)(portrait_file)
    assert (answer["width"], answer["height"], answer["note"]) == (512, 512, None)
    (told,) = answer["faces"]
    assert told == {
        "face": 1,
        "status": "ok",
        "label": face.label,
        "confidence": pytest.approx(face.confidence, abs=1e-5),
        "box": face.box._asdict() if face.box else None,
        "probabilities": pytest.approx(dict(face.probabilities), abs=1e-5),
    }


def test_threshold_and_faces_may_be_chosen(page: Running, portrait_file: Path) -> None:
    status, answer = ask(f"{page.address}/predict?threshold=1&faces=whole", portrait_file.read_bytes())
    assert status == 200
    assert [(face["status"], face["label"], face["box"]) for face in answer["faces"]] == [
        ("uncertain", "uncertain", None)
    ]
    status, answer = ask(f"{page.address}/predict", bytes(cv2.imencode(".png", np.zeros((300, 400)))[1]))
    assert status == 200
    assert (answer["status"], answer["faces"]) == ("no_face", [])


def huge() -> bytes:
    """Return a PNG of 20,000 × 20,000 white pixels, some 50 kB."""
    file = io.BytesIO()
    Image.new("1", (20_000, 20_000), 1).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("query", "body", "status", "said"),
    [
        ("", b"hello", 422, "not an image of a known format"),
        ("", b"", 422, "empty file (0 bytes)"),
        ("", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422, "not an image but a web page"),
        ("", b"\xff\xd8\xff\xe0 cut short", 422, "damaged image"),
        ("", huge(), 422, "20,000 x 20,000 pixels by its header, more than 64,000,000 pixels: make it smaller"),
        ("", b"x" * 2_000_000, 413, "more than 1,000,000 bytes: make the picture smaller"),
        ("?threshold=2", b"x", 400, "threshold=2 is not a number from 0 to 1"),
        ("?faces=both", b"x", 400, "faces=both is not one of "),
        ("?treshold=0.5", b"x", 400, "treshold is unknown: faces and threshold may follow the question mark"),
        ("", None, 405, "send the picture as the body: curl --data-binary @photo.jpg http://127.0.0.1:"),
    ],
)
def test_a_mistake_has_a_status_and_a_line(
    page: Running, query: str, body: bytes | None, status: int, said: str
) -> None:
    code, answer = ask(f"{page.address}/predict{query}", body)
    assert (code, [*answer]) == (status, ["error"])
    assert answer["error"].startswith(said)


def test_a_form_is_told_what_to_send(page: Running) -> None:
    status, answer = ask(f"{page.address}/predict", b"--x--", Content_Type="multipart/form-data; boundary=x")
    assert status == 415
    assert answer["error"].startswith("this is a form: send the picture as the body: curl --data-binary @photo.jpg")


def test_eight_users_at_once_are_served(page: Running, portrait_file: Path) -> None:
    data = portrait_file.read_bytes()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(f"{page.address}/predict", data), range(40)))
    assert {status for status, _ in answers} == {200}
    assert len({json.dumps(answer["faces"][0]["box"]) for _, answer in answers}) == 1
    assert page.files() == []


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd",
        "gradio_api/file=http://127.0.0.1:1/",
        "gradio_api/proxy=http://127.0.0.1:1/",
        "static/../../../../../../etc/passwd",
        "static/..%2f..%2f..%2f..%2fetc%2fpasswd",
        "assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "gradio_api/info",
        "docs",
    ],
)
def test_no_file_and_no_address_is_read_for_a_client(page: Running, path: str) -> None:
    status, answer = ask(f"{page.address}/{path}")
    assert status == 404
    assert answer == {"error": "there is nothing here"}


@pytest.mark.parametrize("path", ["/etc/hostname", "http://127.0.0.1:{port}/secret", "{log}"])
def test_a_payload_that_names_a_file_or_an_address_is_refused(page: Running, path: str) -> None:
    named = path.format(port=1, log=page.log)
    body = {
        "data": [{"path": named, "meta": {"_type": "gradio.FileData"}}, 0, "auto"],
        "fn_index": 0,
        "session_hash": "abc",
    }
    status, answer = ask(
        f"{page.address}/gradio_api/queue/join", json.dumps(body).encode(), Content_Type="application/json"
    )
    assert (status, answer) == (400, {"error": "the payload names a file that was not uploaded here"})


def form(content: bytes, name: str = "a.jpg", field: str = "files") -> tuple[bytes, str]:
    """Return a form with a file, and the type to send it with."""
    head = f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + b"\r\n--x--\r\n", "multipart/form-data; boundary=x"


def test_an_upload_stays_in_the_folder_whatever_its_name_and_has_its_own(page: Running) -> None:
    seen = set()
    for name in ("../../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg", "a" * 500 + ".jpg", "a.jpg", "a.jpg"):
        body, kind = form(b"hello", name)
        status, (path,) = ask(f"{page.address}/gradio_api/upload", body, Content_Type=kind)
        assert status == 200
        assert Path(path).resolve().is_relative_to(page.temporary.resolve())
        seen.add(path)
        Path(path).unlink()
    assert len(seen) == 6


def test_what_is_no_upload_is_refused_and_leaves_nothing(page: Running) -> None:
    large, kind = form(b"x" * 1_000_001)
    two = form(b"1")[0].replace(b"--x--", b"") + form(b"2")[0]
    cases = [(large, 413), (two, 400), (form(b"1", field="other")[0], 400), (b"--x", 400), (b"", 400)]
    for body, code in cases:
        assert ask(f"{page.address}/gradio_api/upload", body, Content_Type=kind)[0] == code
    assert ask(f"{page.address}/gradio_api/upload", b"hello", Content_Type="text/plain")[0] == 400
    assert page.files() == []


def test_ctrl_c_ends_it_and_onnx_needs_no_torch(start: Start, tiny_onnx: Path, portrait_file: Path) -> None:
    with start(f"model={tiny_onnx}", "port=0", end=signal.SIGINT) as running:
        status, answer = ask(f"{running.address}/predict", portrait_file.read_bytes())
        assert status == 200
        assert len(answer["faces"]) == 1
        mapped = Path(f"/proc/{running.process.pid}/maps")
        if mapped.exists():
            assert "libtorch" not in mapped.read_text()
