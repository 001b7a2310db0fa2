"""The verb on clips of a photograph that moves, with a network that was really trained."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fer_lightning import predict

RATE = 10
COUNT, LONG = 16, 5000
HIDDEN = range(10, 13)  # frames without a face


def moving(portrait: np.ndarray) -> list[np.ndarray]:
    """Return frames, uint8 `(360, 640, 3)`, in which a portrait moves to the right by 8 pixels each."""
    frames = []
    for k in range(COUNT):
        frame = np.full((360, 640, 3), 90, np.uint8)
        if k not in HIDDEN:
            frame[20:340, 8 * k : 8 * k + 320] = portrait
        frames.append(frame)
    return frames


@pytest.fixture(scope="session")
def encoded(tmp_path_factory: pytest.TempPathFactory, portrait: np.ndarray, clips: Any) -> Path:
    path: Path = clips.encode(
        tmp_path_factory.mktemp("clip") / "clip.mp4", moving(cv2.resize(portrait, (320, 320))), RATE
    )
    return path


@pytest.fixture
def clip(encoded: Path, tmp_path: Path) -> Path:
    """The clip, in a folder of its own."""
    return Path(shutil.copy(encoded, tmp_path))


@pytest.fixture(scope="session")
def long_clip(encoded: Path, clips: Any) -> Path:
    """The same face in 5,000 small frames."""
    frames = [cv2.resize(frame[20:340], (160, 120), interpolation=cv2.INTER_AREA) for frame in clips.decode(encoded)]
    path: Path = clips.encode(encoded.with_name("long.mp4"), (frames[k % 10] for k in range(LONG)))
    return path


def run(*arguments: object, folder: Path) -> list[dict[str, str]]:
    assert predict.main([*map(str, arguments), f"hydra.run.dir={folder}"]) == folder
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_frame_has_its_rows_and_the_copy_its_boxes(
    clip: Path, checkpoint: Path, clips: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = clip.parent / "out"
    rows = run(clip, f"ckpt_path={checkpoint}", folder=folder)
    assert [int(row["frame"]) for row in rows] == list(range(COUNT))
    assert [float(row["time"]) for row in rows] == pytest.approx([k / RATE for k in range(COUNT)], abs=1e-3)
    assert [int(row["frame"]) for row in rows if row["status"] == "no_face"] == list(HIDDEN)
    found = [row for row in rows if row["status"] == "ok"]
    assert {row["face"] for row in found} == {"1"}
    centres = np.array([int(row["x"]) + int(row["w"]) / 2 - 8 * int(row["frame"]) for row in found])
    assert np.ptp(centres) < 16  # it moves as the portrait does
    original, copy = clips.decode(clip), clips.decode(folder / "annotated" / "clip.mp4")
    assert [frame.shape for frame in copy] == [(360, 640, 3)] * COUNT
    for row, before, after in zip(rows, original, copy, strict=True):
        changed = (np.abs(before.astype(int) - after).max(axis=2) > 60).sum()
        assert changed > 300 if row["status"] == "ok" else changed < 30
    assert (folder / "annotated" / "clip.mp4.timeline.png").stat().st_size > 5000
    pictures = json.loads((folder / "predictions.json").read_text())["pictures"]
    assert [picture["frame"] for picture in pictures] == list(range(COUNT))
    assert "16 frames: 13 faces, 3 without a face" in capsys.readouterr().out


def test_smoothing_is_a_setting_and_the_rest_stays(clip: Path, checkpoint: Path) -> None:
    command = (clip, f"ckpt_path={checkpoint}", "annotate=false", "timeline=false", "seconds=1")
    raw = run(*command, "smooth=0", "hold=0", folder=clip.parent / "raw")
    slow = run(*command, "smooth=2", "hold=60", folder=clip.parent / "slow")
    for row in raw:
        if row["status"] == "ok":
            assert float(row["confidence"]) == max(float(row[name]) for name in list(row)[10:-2])
    assert [row["x"] for row in raw] == [row["x"] for row in slow]
    first = {row["label"] for row in raw[:1]}
    assert {row["label"] for row in slow if row["status"] == "ok"} == first
    steps = [np.ptp([float(row["happy"]) for row in rows if row["status"] == "ok"]) for rows in (raw, slow)]
    assert 0 < steps[1] < steps[0]
    assert {path.name for path in (clip.parent / "raw").glob("[!.]*")} - {"predict.log"} == {
        *("predictions.csv", "predictions.json")
    }


def test_some_frames_of_a_folder_of_videos_and_photographs(
    clip: Path, tiny_onnx: Path, portrait_file: Path, clips: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    source = clip.parent / "in"
    (source / "more").mkdir(parents=True)
    (source / "more" / "clip.mp4").write_bytes(clip.read_bytes())
    (source / "clip.mp4").write_bytes(clip.read_bytes())
    (source / "photo.png").write_bytes(portrait_file.read_bytes())
    (source / "text.mkv").write_text("no video")
    folder = clip.parent / "out"
    rows = run(source, f"model={tiny_onnx}", "every=5", "seconds=1.2", folder=folder)
    frames = Counter((str(Path(row["file"]).relative_to(source)), row["frame"]) for row in rows)
    assert set(frames) == {
        *((name, frame) for name in ("clip.mp4", "more/clip.mp4") for frame in ("0", "5", "10")),
        *(("photo.png", ""), ("text.mkv", "")),
    }
    assert {row["status"] for row in rows if row["file"].endswith(".mkv")} == {"unreadable"}
    for name in ("clip.mp4", "more/clip.mp4"):
        assert len(clips.decode(folder / "annotated" / name)) == 3
    codec = cv2.VideoCapture(str(folder / "annotated" / name)).get(cv2.CAP_PROP_FOURCC)
    h264 = codec == cv2.VideoWriter.fourcc(*"avc1")
    said = capsys.readouterr().out.count("VLC plays them, browsers do not")
    assert said == (0 if h264 else 1)


def test_the_copy_of_a_small_video_has_its_size(
    portrait: np.ndarray, tiny_onnx: Path, clips: Any, tmp_path: Path
) -> None:
    frame = np.full((96, 128, 3), 90, np.uint8)
    frame[:, 16:112] = cv2.resize(portrait, (96, 96), interpolation=cv2.INTER_AREA)
    clip = clips.encode(tmp_path / "small.mp4", [frame] * 3, RATE)
    row, *_ = run(clip, f"model={tiny_onnx}", "timeline=false", folder=tmp_path / "out")
    copy = clips.decode(tmp_path / "out" / "annotated" / "small.mp4")
    assert [one.shape for one in copy] == [(96, 128, 3)] * 3
    x, y, w, h = (int(row[key]) for key in "xywh")
    changed = np.abs(copy[0].astype(int) - clips.decode(clip)[0]).max(axis=2) > 60
    for edge in (x, x + w):  # of the box are where the table says
        assert changed[y : y + h, edge - 2 : edge + 3].any(axis=1).mean() > 0.8


def test_a_camera_of_the_network_is_read_for_some_seconds(server: str, tiny_onnx: Path, tmp_path: Path) -> None:
    """Its address does not tell that it is one."""
    rows = run(f"{server}/camera", f"model={tiny_onnx}", "faces=whole", "seconds=0.4", folder=tmp_path / "out")
    assert {(row["file"], row["face"], row["status"]) for row in rows} == {(f"{server}/camera", "1", "ok")}
    times = [float(row["time"]) for row in rows]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 0.4  # rounded; the very first frame may have been dropped for a newer one
    assert len(list((tmp_path / "out" / "annotated").glob("*_camera.mp4"))) == 1


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["text.mp4"], 3, "text.mp4: no video that can be read"),
        (["every=0", "clip.mp4"], 2, "every=0 must be at least 1"),
        (["smooth=-1", "clip.mp4"], 2, "smooth=-1.0 must be at least 0"),
        (["hold=long", "clip.mp4"], 2, "hold=long is not a number"),
        (["seconds=0", "clip.mp4"], 2, "seconds=0.0 must be above 0"),
        (["rtsp://127.0.0.1:9/camera"], 3, "rtsp://127.0.0.1:9/camera does not answer"),
        (["source=77"], 3, "camera 77 cannot be opened"),
    ],
)
def test_mistakes_are_one_message(
    typed: list[str],
    code: int,
    said: str,
    clip: Path,
    tiny_onnx: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    Path("text.mp4").write_text("no video")
    with pytest.raises(SystemExit) as end:
        predict.main([*typed, f"model={tiny_onnx}"])
    assert end.value.code == code
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def interrupt(command: list[str], folder: Path, wait: float) -> tuple[int, str]:
    """Start the verb, send Ctrl-C when its table has grown, and return the exit code and what stderr says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "fer_lightning.predict", *command, f"hydra.run.dir={folder}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.stat().st_size for path in folder.glob(".predictions.csv.*")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=wait)
    return process.returncode, error


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_recognised_and_finishes_the_files(
    long_clip: Path, tiny_onnx: Path, clips: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    code, error = interrupt([str(long_clip), f"model={tiny_onnx}"], folder, wait=120)
    assert (code, "Traceback" in error) == (130, False)
    with (folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) < LONG
    assert json.loads((folder / "predictions.json").read_text())["pictures"][-1]["frame"] == int(rows[-1]["frame"])
    assert len(clips.decode(folder / "annotated" / "long.mp4")) == int(rows[-1]["frame"]) + 1
    assert (folder / "annotated" / "long.mp4.timeline.png").is_file()


@pytest.mark.slow
def test_ctrl_c_is_the_normal_end_of_a_camera(server: str, tiny_onnx: Path, clips: Any, tmp_path: Path) -> None:
    command = [f"{server}/camera", f"model={tiny_onnx}", "faces=whole"]
    code, error = interrupt(command, tmp_path / "out", wait=120)
    assert (code, "Traceback" in error) == (0, False)
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) > 0
    (copy,) = (tmp_path / "out" / "annotated").glob("*.mp4")
    assert clips.decode(copy)


@pytest.mark.slow
def test_memory_is_flat_over_a_long_video(long_clip: Path, tiny_onnx: Path, tmp_path: Path) -> None:
    program = f"""
import psutil
from pathlib import Path
from fer_lightning.inference.annotate import draw_faces
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.video.frames import Video
from fer_lightning.inference.video.outputs import open_video_outputs
from fer_lightning.inference.video.smoothing import smoothed

predictor = Predictor.load({str(tiny_onnx)!r}, faces="whole", threads=1)
classes = predictor.recognizer.classes
draw = lambda picture, faces: draw_faces(picture, faces, classes, smallest=1)
name = lambda source: Path({str(tmp_path)!r}, "copy")
with open_video_outputs(name, classes, every=1, draw=draw, timeline=True) as outputs:
    for faces in smoothed(predictor.stream(Video({str(long_clip)!r})), 0.5, 0.5, 0.0):
        outputs.add(faces)
        if faces.frame in (500, {LONG - 1}):
            print(psutil.Process().memory_info().rss)
"""
    answer = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    early, late = map(int, answer.stdout.split())
    assert (late - early) / 2**20 < 12
