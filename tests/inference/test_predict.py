"""The verb from the command line, on real photographs."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer_lightning import predict
from fer_lightning.core.csv_cells import unguard
from fer_lightning.inference import address
from fer_lightning.inference.face import Faces
from fer_lightning.inference.terminal import Summary


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [{key: unguard(cell) for key, cell in row.items()} for row in csv.DictReader(file)]


def run(*arguments: object, folder: Path) -> list[dict[str, str]]:
    """Run the verb in a folder and return the rows of its table."""
    assert predict.main([*map(str, arguments), f"hydra.run.dir={folder}"]) == folder
    return rows_of(folder)


def refused(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return the exit code and the message."""
    with pytest.raises(SystemExit) as end:
        predict.main([*map(str, arguments)])
    assert isinstance(end.value.code, int)
    return end.value.code, capsys.readouterr().err


@pytest.fixture
def album(portrait: np.ndarray, tmp_path: Path) -> Path:
    """Two photographs with the same name, one without a face, and three files that are no pictures."""
    folder = tmp_path / "album"
    (folder / "more").mkdir(parents=True)
    for name in ("10.jpg", "more/10.jpg"):
        Image.fromarray(portrait[:256, 64:384]).save(folder / name)
    Image.new("L", (300, 300), 128).save(folder / "2.png")
    (folder / "cut.jpg").write_bytes((folder / "10.jpg").read_bytes()[:5000])
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("not a photograph")
    (folder / "notes.txt").touch()
    return folder


def test_a_face_has_a_row_with_its_box_and_probabilities(checkpoint: Path, portrait_file: Path, tmp_path: Path) -> None:
    (row,) = run(portrait_file, f"ckpt_path={checkpoint}", folder=tmp_path / "out")
    assert list(row)[:10] == ["file", "frame", "time", "face", "x", "y", "w", "h", "label", "confidence"]
    assert list(row)[-2:] == ["status", "note"]
    probabilities = {name: float(row[name]) for name in list(row)[10:-2]}
    assert row["file"] == str(portrait_file)
    assert (row["frame"], row["time"], row["face"], row["status"], row["note"]) == ("", "", "1", "ok", "")
    x, y, w, h = (int(row[key]) for key in "xywh")
    assert 150 < x + w / 2 < 300
    assert 50 < y + h / 2 < 200  # the face of the portrait
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert float(row["confidence"]) == max(probabilities.values()) == probabilities[row["label"]]


def test_a_batch_goes_on_past_broken_files(
    tiny_onnx: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = run(album, f"model={tiny_onnx}", folder=tmp_path / "out")
    found = [(os.path.relpath(row["file"], album), row["status"]) for row in rows]
    broken = [(name, "unreadable") for name in ("cut.jpg", "empty.png", "text.jpg")]
    assert found == [("2.png", "no_face"), ("10.jpg", "ok"), *broken, ("more/10.jpg", "ok")]
    assert [row["note"].partition(" (4")[0] for row in rows if row["status"] == "unreadable"] == [
        "damaged image: image file is truncated",
        "empty file (0 bytes)",
        "not an image of a known format",
    ]
    without = [row for row in rows if row["status"] != "ok"]
    assert all(row[key] == "" for row in without for key in ("face", "x", "label", "confidence", "happy"))
    assert "6 pictures: 2 faces, 1 without a face, 3 unreadable" in capsys.readouterr().out
    pictures = json.loads((tmp_path / "out" / "predictions.json").read_text())["pictures"]
    assert [(one["file"], one["status"], one["note"] or "") for one in pictures] == [
        (row["file"], row["status"], row["note"]) for row in rows
    ]
    assert [face["probabilities"]["sad"] for one in pictures for face in one["faces"]] == [
        float(row["sad"]) for row in rows if row["sad"]
    ]
    copies = sorted(str(path.relative_to(tmp_path / "out")) for path in tmp_path.glob("out/annotated/**/*.*"))
    assert copies == ["annotated/10.jpg", "annotated/more/10.jpg"]


def test_strict_and_nothing_readable_exit_with_3(
    tiny_onnx: Path, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (f"model={tiny_onnx}", "annotate=false", f"hydra.run.dir={tmp_path / 'out'}")
    code, said = refused(album, "strict=true", *settings, capsys=capsys)
    assert (code, len(rows_of(tmp_path / "out"))) == (3, 6)
    assert "3 of 6 pictures cannot be read: the column note of" in said
    assert not (tmp_path / "out" / "annotated").exists()
    code, said = refused(album / "empty.png", *settings, capsys=capsys)
    assert (code, rows_of(tmp_path / "out")[0]["status"]) == (3, "unreadable")
    assert said == f"error: {album / 'empty.png'}: empty file (0 bytes)\n"


def test_small_square_pictures_are_whole_faces_and_that_is_said(
    tiny_onnx: Path, portrait: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "faces").mkdir()
    for number in range(3):
        Image.fromarray(portrait[62:172, 169:279]).resize((48, 48)).save(tmp_path / f"faces/{number}.png")
    rows = run(tmp_path / "faces", f"model={tiny_onnx}", folder=tmp_path / "out")
    assert [(row["x"], row["h"], row["status"]) for row in rows] == [("", "", "ok")] * 3
    said = "each picture is taken as a face that is cut out (faces=whole)"
    assert said in (tmp_path / "out" / "predict.log").read_text()
    assert Image.open(tmp_path / "out" / "annotated" / "0.png").size == (240, 240)  # room for a label
    Image.fromarray(portrait).save(tmp_path / "faces" / "9.jpg")
    rows = run(tmp_path / "faces", f"model={tiny_onnx}", folder=tmp_path / "again")
    assert not (tmp_path / "again" / "predict.log").exists()
    assert rows[3]["x"] != ""


def test_a_threshold_makes_labels_uncertain(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    (row,) = run(portrait_file, f"model={tiny_onnx}", "threshold=1", folder=tmp_path / "out")
    assert (row["label"], row["status"]) == ("uncertain", "uncertain")
    assert float(row["confidence"]) == max(float(row[name]) for name in ("angry", "happy", "sad", "neutral", "fear"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_batch_and_loses_nothing(
    number: signal.Signals, code: int, tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for at in range(300):
        Image.new("L", (48, 48), at % 256).save(tmp_path / "in" / f"{at}.png")
    add, before = Summary.add, signal.getsignal(number)

    def interrupted_add(summary: Summary, faces: Faces) -> None:
        add(summary, faces)
        if faces.source.endswith("/7.png"):
            signal.raise_signal(number)

    monkeypatch.setattr(Summary, "add", interrupted_add)
    with pytest.raises(SystemExit) as end:
        predict.main([str(tmp_path / "in"), f"model={tiny_onnx}", "annotate=false", f"output_dir={tmp_path / 'out'}"])
    assert end.value.code == code
    assert signal.getsignal(number) is before
    rows = rows_of(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["file"] for row in rows] == [one["file"] for one in content["pictures"]]
    assert 8 <= len(rows) < 300
    assert content["statuses"] == {"ok": len(rows)}
    assert [path.name for path in (tmp_path / "out").iterdir() if path.name[0] == "."] == []


def test_an_error_in_the_middle_loses_nothing_either(
    tiny_onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for at in range(3):
        Image.new("L", (48, 48), at).save(tmp_path / "in" / f"{at}.png")
    add = Summary.add

    def blocking_add(summary: Summary, faces: Faces) -> None:
        add(summary, faces)
        (tmp_path / "out" / "annotated" / "1.png").mkdir(exist_ok=True)  # in the way of the second copy

    monkeypatch.setattr(Summary, "add", blocking_add)
    code, said = refused(tmp_path / "in", f"model={tiny_onnx}", f"output_dir={tmp_path / 'out'}", capsys=capsys)
    assert (code, len(rows_of(tmp_path / "out"))) == (1, 2)
    assert "annotated/1.png" in said


def test_copies_of_two_runs_are_not_mixed(
    tiny_onnx: Path, portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, model = tmp_path / "out", f"model={tiny_onnx}"
    run(portrait_file, model, folder=out)
    before = {path: path.read_bytes() for path in out.rglob("*.*") if ".hydra" not in path.parts}
    Image.open(portrait_file).save(tmp_path / "other.png")
    code, said = refused(tmp_path / "other.png", model, f"hydra.run.dir={out}", capsys=capsys)
    assert (code, "out/annotated holds pictures already" in said) == (2, True)
    assert {path: path.read_bytes() for path in before} == before
    assert "type another output_dir=FOLDER" in said
    predict.main([str(tmp_path / "other.png"), model, f"hydra.run.dir={out}", f"output_dir={tmp_path / 'new'}"])
    assert [path.name for path in (tmp_path / "new" / "annotated").iterdir()] == ["other.png"]


def test_a_folder_can_be_source_and_output_at_once(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    album, logs = portrait_file.parent, f"hydra.run.dir={tmp_path / 'logs'}"
    predict.main([str(album), f"model={tiny_onnx}", f"output_dir={album}", logs])
    assert [row["file"] for row in rows_of(album)] == [str(portrait_file)]
    assert (album / "annotated" / portrait_file.name).is_file()
    rows = run(album, f"model={tiny_onnx}", folder=tmp_path.with_name("second"))
    assert [row["file"] for row in rows] == [str(portrait_file)], "copies are no photographs"


@pytest.mark.parametrize("setting", ["output_dir", "hydra.run.dir"])
def test_a_folder_that_cannot_be_written_names_the_setting_that_helps(
    setting: str, tiny_onnx: Path, portrait_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = [str(portrait_file), f"model={tiny_onnx}"]
    logs = [f"hydra.run.dir={tmp_path / 'logs'}"] if setting == "output_dir" else []
    code, said = refused(*typed, *logs, f"{setting}={portrait_file}", capsys=capsys)
    assert (code, f"choose another with {setting}=FOLDER" in said) == (1, True), said
    predict.main([*typed, *logs, f"{setting}={tmp_path / 'free'}"])
    assert len(rows_of(tmp_path / "free")) == 1


@pytest.fixture
def server(portrait_file: Path) -> Iterator[str]:
    """A server of one photograph, a page, a photograph without a type, and a way to a local file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = self.path.partition("?")[0]
            if place == "/away":
                self.send_response(302)
                self.send_header("Location", f"file://{portrait_file}")
                self.end_headers()
                return
            if place == "/slow":
                self.send_response(200)
                self.send_header("Content-Type", "image/jpeg")
                self.end_headers()
                with contextlib.suppress(OSError):  # who waited has gone
                    for byte in portrait_file.read_bytes():
                        self.wfile.write(bytes([byte]))
                        time.sleep(0.05)
                return
            kinds = {"/face.jpg": "image/jpeg", "/page": "text/html", "/untyped": "application/octet-stream"}
            self.send_response(200 if place in kinds else 404)
            self.send_header("Content-Type", kinds.get(place, "text/plain"))
            self.end_headers()
            self.wfile.write(portrait_file.read_bytes() if place != "/page" else b"<html>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        serving.daemon_threads = True
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_addresses_of_images_are_fetched(tiny_onnx: Path, server: str, tmp_path: Path) -> None:
    places = ("face.jpg", "face.jpg?size=2", "untyped", "page", "nothing.jpg", "away")
    names = [*(f"{server}/{place}" for place in places), "ftp://127.0.0.1/x.jpg"]
    rows = run(*names, f"model={tiny_onnx}", folder=tmp_path / "out")
    assert [row["file"] for row in rows] == names
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["unreadable"] * 4
    notes = [row["note"] for row in rows[3:]]
    assert notes[:2] == ["no image there but text/html", "the server answers 404 Not Found"]
    assert "file://" in notes[2]  # a server does not choose what is read here
    assert notes[3] == "no address of an image: it begins with http:// or https://"
    assert len(list((tmp_path / "out" / "annotated").iterdir())) == 3


def test_a_server_that_sends_byte_after_byte_is_not_waited_for(
    tiny_onnx: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(address, "LONGEST", 0.3)
    slow, quick = run(f"{server}/slow", f"{server}/face.jpg", f"model={tiny_onnx}", folder=tmp_path / "out")
    assert (slow["status"], slow["note"]) == ("unreadable", "not complete after 0.3 seconds")
    assert quick["status"] == "ok"


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["x.jpg", "ckpt_path=a", "model=b"], 2, "model and ckpt_path both name the model: type one of them"),
        (["x.jpg", "threshold=1.5"], 2, "threshold=1.5 must be at most 1: type threshold=1"),
        (["x.jpg", "faces=yunnet"], 2, "did you mean faces=yunet?"),
        (["x.jpg", "strict=perhaps"], 2, "strict=perhaps is not true or false"),
        (["x.jpg", "a.onnx"], 2, "a.onnx is a model and no picture: type model=a.onnx"),
        (["x.jpg", "modle=a.onnx"], 2, "there is no setting 'modle'; did you mean model=a.onnx?"),
        (["x.jpg", "ckpt_path=a", "output_dir=null"], 2, "output_dir=null is not text"),
        (["x.jpg", "ckpt_path=a", "output_dir="], 2, "output_dir is empty, as if a variable had no value"),
        (["ckpt_path=a"], 2, "no source is named: type a photograph or a folder, as in fer predict photo.jpg"),
        (["photos", "ckpt_path=a"], 3, "no picture in photos (left out: .txt (1))"),
        (["photo", "notes.tx", "ckpt_path=a"], 3, "there is no photo; did you mean photos?; there is no notes.tx"),
        (["photos", "x/*.jpg", "ckpt_path=a"], 3, "there is no x/*.jpg"),
        (["x.jpg", "model=compct"], 2, "did you mean model=compact?"),
        (["x.jpg", "a.safetensors"], 2, "a.safetensors is a model and no picture: type model=a.safetensors"),
        (["x.jpg", "model=nowhere.onnx"], 2, "no model at nowhere.onnx"),
        (["", "ckpt_path=a"], 2, "a word is empty, as if a variable had no value"),
        (["x.jpg", "--model", "a.onnx"], 2, "settings are typed without dashes: type model=a.onnx"),
        (["-x.jpg"], 2, "there is no flag -x.jpg: type ./-x.jpg for the file"),
    ],
)
def test_mistakes_are_refused(
    typed: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "notes.txt").touch()
    (tmp_path / "x.jpg").touch()
    (tmp_path / "-x.jpg").touch()
    (tmp_path / "a.onnx").touch()
    (tmp_path / "a.safetensors").touch()
    got, message = refused(*typed, capsys=capsys)
    assert (got, said in message) == (code, True), message
    assert not (tmp_path / "outputs" / "predict").exists()


def test_a_network_in_an_onnx_file_needs_no_heavy_library(tiny_onnx: Path, portrait_file: Path, tmp_path: Path) -> None:
    heavy = {"torch", "lightning", "pandas", "matplotlib", "scipy", "sklearn", "timm", "albumentations", "torchvision"}
    program = f"import sys; from fer_lightning import predict; predict.main(); print(*{heavy} & {{*sys.modules}})"
    command = [sys.executable, "-c", program, str(portrait_file), f"model={tiny_onnx}", f"hydra.run.dir={tmp_path}/o"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""
    assert "1 picture: 1 face" in done.stdout
