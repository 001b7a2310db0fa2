"""The verb from the command line, with a network that was really trained."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image

from fer_lightning import predict


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def run(*arguments: object, folder: Path) -> list[dict[str, str]]:
    """Run the verb in a folder and return the rows of its table."""
    assert predict.main([*map(str, arguments), f"hydra.run.dir={folder}"]) == folder
    return rows_of(folder)


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


def test_pictures_without_faces_and_files_that_are_none_have_rows(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (300, 300), 128).save(tmp_path / "in" / "10.png")
    (tmp_path / "in" / "2.jpg").write_text("not a photograph")
    rows = run(tmp_path / "in", f"model={checkpoint}", folder=tmp_path / "out")
    assert [(Path(row["file"]).name, row["status"]) for row in rows] == [("2.jpg", "unreadable"), ("10.png", "no_face")]
    assert rows[0]["note"] == "not an image of a known format"
    assert all(row[key] == "" for row in rows for key in ("face", "x", "label", "confidence", "happy"))


def test_whole_pictures_have_no_box(checkpoint: Path, portrait_file: Path, tmp_path: Path) -> None:
    (row,) = run(portrait_file, f"ckpt_path={checkpoint}", "faces=whole", folder=tmp_path / "out")
    assert (row["face"], row["x"], row["h"], row["status"]) == ("1", "", "", "ok")


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (["x.jpg", "ckpt_path=a", "model=b"], 2, "model and ckpt_path both name the model: type one of them"),
        (["x.jpg", "threshold=1.5"], 2, "threshold=1.5 must be at most 1: type threshold=1"),
        (["x.jpg", "faces=yunnet"], 2, "did you mean faces=yunet?"),
        (["x.jpg", "strict=perhaps"], 2, "strict=perhaps is not true or false"),
        (["ckpt_path=a"], 2, "no source is named"),
        (["nowhere.jpg", "ckpt_path=a"], 3, "there is no nowhere.jpg"),
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
    with pytest.raises(SystemExit) as end:
        predict.main(typed)
    assert end.value.code == code
    assert said in capsys.readouterr().err
    assert list(tmp_path.rglob("*.csv")) == []
