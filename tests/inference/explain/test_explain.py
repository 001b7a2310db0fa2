"""The verb from the command line: pictures, the average of each class in a run's report, and mistakes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image

from fer_lightning import explain
from fer_lightning.inference.explain.regions import PARTS
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.runs.results import write_report

RUN = Path(__file__).parents[2] / "legacy" / "data" / "train"  # a run on drawn faces, as version 0.1 wrote it
Refused = Callable[..., str]


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(RUN, tmp_path / "run"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs the verb, expects an exit code and returns the message."""

    def run(*arguments: object, code: int = 2) -> str:
        with pytest.raises(SystemExit) as stopped:
            explain.main([*map(str, arguments)])
        assert stopped.value.code == code
        return capsys.readouterr().err

    return run


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "explanations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def with_a_map(tmp_path: Path) -> Path:
    """A checkpoint of a network whose last map has 8 × 8 cells, not trained."""
    torch.manual_seed(0)
    model = ExpressionClassifier("small_cnn", ["happy", "sad"], image_size=32, backbone_kwargs={"widths": [4, 8]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning, where SLURM is installed
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(tmp_path / "map.ckpt")
    return tmp_path / "map.ckpt"


@pytest.mark.parametrize("method", ["occlusion", "gradcam"])
def test_each_face_has_a_row_and_a_figure(
    method: str, checkpoint: Path, with_a_map: Path, portrait_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    checkpoint = with_a_map if method == "gradcam" else checkpoint
    explain.main([str(portrait_file), f"ckpt_path={checkpoint}", f"method={method}", f"hydra.run.dir={out}"])
    (row,) = rows_of(out)
    assert (row["status"], row["method"], row["class"]) == ("ok", method, row["label"])
    assert row["probability"] == row["confidence"]
    assert float(row["highest"]) > 0
    assert sum(float(row[part]) for part in PARTS) == pytest.approx(1, abs=1e-3)
    with Image.open(out / row["figure"]) as figure:
        assert figure.size == (1440, 615)


def test_an_onnx_file_is_explained_too_and_pictures_without_a_face_have_rows(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in ("in/face.png", "in/a/face.png", "in/face.jpg"):
        Image.fromarray(noise.integers(0, 256, (40, 40), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "in" / "broken.jpg").write_text("not a photograph")
    out = tmp_path / "out"
    explain.main([str(tmp_path / "in"), f"model={tiny_onnx}", "class=happy", f"hydra.run.dir={out}"])
    rows = {Path(row["file"]).relative_to(tmp_path / "in").as_posix(): row for row in rows_of(out)}
    assert rows["broken.jpg"]["status"] == "unreadable"
    assert rows["broken.jpg"]["note"] == "not an image of a known format"
    assert all(rows["broken.jpg"][key] == "" for key in ("face", "class", "mouth", "figure"))
    explained = [row for name, row in rows.items() if name != "broken.jpg"]
    assert {row["class"] for row in explained} == {"happy"}
    assert all(float(row["probability"]) <= float(row["confidence"]) for row in explained)
    figures = {row["figure"] for row in explained}
    assert len(figures) == 3
    assert all((out / figure).is_file() for figure in figures)


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of others refuse such names")
def test_names_that_are_no_text_of_one_line_are_explained(tiny_onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("caf\udce9.png", "two\nlines.png", "$x^$.png"):
        Image.new("L", (40, 40), 128).save(os.fsencode(tmp_path / "in" / name), "png")
    out = tmp_path / "out"
    explain.main([str(tmp_path / "in"), f"model={tiny_onnx}", f"hydra.run.dir={out}"])
    assert len(list((out / "heat_maps").iterdir())) == 3


def test_the_averages_of_a_run_stand_in_its_report(run_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    best = run_folder / "checkpoints" / "best.ckpt"
    assert explain.main([f"ckpt_path={best}", "split=all", "per_class=2", f"hydra.run.dir={out}"]) == run_folder
    record = json.loads((run_folder / "heat_maps.json").read_text())
    counts = [row["images"] for row in record["classes"].values()]
    assert len(counts) == 7
    assert 0 < max(counts) <= 2
    explained = [row for row in record["classes"].values() if row["images"]]
    assert all(sum(row[part] for part in PARTS) == pytest.approx(1, abs=1e-3) for row in explained)
    report = (run_folder / "report.html").read_text()
    assert report.count("Where the network looks") >= 2, "the table and the figure"
    assert "area of the part" in report
    assert "heat_maps.json is missing" not in report
    assert "explain the run again" not in report
    scores = json.loads((run_folder / "metrics.json").read_text())
    (run_folder / "metrics.json").write_text(json.dumps({**scores, "epoch": 99}))  # as if it was continued
    assert "(the scores are of epoch 99: explain the run again for that)" in write_report(run_folder).read_text()
    assert not (out / "heat_maps.json").exists()


def test_a_run_that_cannot_be_written_to_leaves_the_averages_in_the_output_folder(
    run_folder: Path, tmp_path: Path
) -> None:
    (run_folder / "heat_maps.json").mkdir()  # of what else may be in the way
    out, best = tmp_path / "out", run_folder / "checkpoints" / "best.ckpt"
    assert explain.main([f"ckpt_path={best}", "split=all", "per_class=1", f"hydra.run.dir={out}"]) == out
    assert (out / "heat_maps.json").is_file()
    assert (out / "heat_maps.png").is_file()


def test_a_model_without_gradients_is_told_what_to_type(
    tiny_onnx: Path, portrait_file: Path, tmp_path: Path, refused: Refused
) -> None:
    typed = (portrait_file, f"model={tiny_onnx}", f"hydra.run.dir={tmp_path / 'out'}")
    assert "has not: type method=occlusion" in refused(*typed, "method=gradcam")
    explain.main([*map(str, typed), "method=occlusion"])
    assert rows_of(tmp_path / "out")[0]["status"] == "ok"


def test_of_a_video_some_frames_are_explained(tiny_onnx: Path, tmp_path: Path) -> None:
    clip, out = tmp_path / "clip.avi", tmp_path / "out"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25, (160, 120))
    for seed in range(12):
        writer.write(np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8))
    writer.release()
    explain.main([str(clip), f"model={tiny_onnx}", "faces=whole", "every=5", f"hydra.run.dir={out}"])
    rows = rows_of(out)
    assert [row["frame"] for row in rows] == ["0", "5", "10"]
    assert [Path(row["figure"]).name for row in rows] == [f"clip.avi_frame{frame}_face1.png" for frame in (0, 5, 10)]


def test_mistakes_are_refused(
    tiny_onnx: Path, checkpoint: Path, portrait_file: Path, tmp_path: Path, refused: Refused
) -> None:
    model, out = f"model={tiny_onnx}", f"hydra.run.dir={tmp_path / 'out'}"
    assert "did you mean class=happy?" in refused(portrait_file, model, "class=hapy", out)
    assert "method=lime" in refused(portrait_file, model, "method=lime", out)
    assert "per_class=0 must be at least 1" in refused(model, "per_class=0", out)
    assert "type source=photo.jpg, or ckpt_path=<run" in refused(model, out)
    assert "class=happy is for a source" in refused(f"ckpt_path={checkpoint}", "class=happy", out)
    assert "data.root has no value" in refused(out)
    assert "did you mean model=compact?" in refused(portrait_file, "model=compact_", out)
    assert "there is no nowhere.jpg" in refused("nowhere.jpg", model, out, code=3)
    assert not (tmp_path / "out").exists()
