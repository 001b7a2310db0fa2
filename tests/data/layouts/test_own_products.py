"""Results of runs, pipes and loops of links inside a data folder are no images of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from fer_lightning.data.layouts.folder_search import State
from fer_lightning.data.layouts.recognize import read_layout

Plant = Callable[[Path, Mapping[str, str]], Path]
PICTURES = "batch.png curves.png confusion_matrix.png predictions.png mistakes.png"
RUN = {"": f"status.json {PICTURES}", ".hydra": "config.yaml", "checkpoints": "best.ckpt", "csv": "metrics.csv"}


def run_at(place: str) -> dict[str, str]:
    return {f"{place}/{inside}": names for inside, names in RUN.items()}


PLACES = {
    "first run": run_at("outputs/train/2026-11-29/10-00-00_small_cnn"),
    "runs": run_at("outputs/train/2026-11-29/10-00-00_cnn") | run_at("outputs/evaluate/2026-11-30/10-00-00_test"),
    "sweep": run_at("multirun/s/0_cnn") | run_at("multirun/s/1_cnn") | {"multirun/s": "sweep.json parallel.png"},
    "named run": run_at("mine"),
    "in a class": run_at("train/happy/mine"),
    "in a split": run_at("train/mine"),
    "a class folder": run_at("train/happy"),
    "the data folder": run_at("."),
    "without a record": {"mine": f"status.json {PICTURES}", "mine/checkpoints": "best.ckpt"},
    "loggers": {"wandb/run-1/media": "a.png", "mlruns/0/artifacts": "b.png", "lightning_logs/version_0": "c.png"},
    "not yet": {"outputs/train/2026-11-29": ""},
}


@pytest.mark.parametrize("splits", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_results_of_runs_are_no_data(tmp_path: Path, plant: Plant, place: str, splits: bool) -> None:
    names = ("happy", "sad", "angry")
    plant(tmp_path, {f"{'train/' * splits}{name}": "1.png 2.png" for name in names})
    before = read_layout(tmp_path)
    results = {(folder if splits else folder.replace("train/happy", "happy").replace("train/mine", "mine")): files
               for folder, files in PLACES[place].items()}  # fmt: skip
    plant(tmp_path, results)
    seen: dict[str, State] = {}
    after = read_layout(tmp_path, seen=seen)
    assert after.paths.tolist() == before.paths.tolist()
    assert (after.classes, after.explanation) == (before.classes, before.explanation)
    assert not [path for path in seen if "10-00-00" in path or "/mine" in path]  # so that a run outdates no table
    own = read_layout(tmp_path, own_names=True)
    assert own.paths.tolist() == before.paths.tolist()


def test_a_class_of_ones_own_may_be_called_outputs(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"train/{name}": "1.png" for name in ("outputs", "runs", "multirun")})
    assert read_layout(tmp_path, own_names=True).classes == ("multirun", "outputs", "runs")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_pipes_sockets_and_broken_links(tmp_path: Path, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, {"happy": "1.jpg", "sad": "1.jpg"})
    os.mkfifo(tmp_path / "happy/pipe.jpg")
    monkeypatch.chdir(tmp_path / "sad")  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        (tmp_path / "happy/device.jpg").symlink_to("/dev/null")
        (tmp_path / "happy/gone.jpg").symlink_to("nowhere.jpg")
        (tmp_path / "happy/loop.jpg").symlink_to("loop.jpg")
        (tmp_path / "happy/loop").symlink_to("loop")
        table = read_layout(tmp_path)
    # what is gone is reported, or skipped, where images are decoded
    assert table.paths.tolist() == ["happy/1.jpg", "happy/gone.jpg", "happy/loop.jpg", "sad/1.jpg"]
    assert table.notes == (
        "left out, as they are no images of a known kind: 3 pipes, sockets or devices (happy/device.jpg), "
        "1 without a suffix (happy/loop)",
    )


def test_loops_of_links_end(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"happy/a": "1.jpg", "happy/b": "2.jpg", "sad": "1.jpg"})
    (tmp_path / "happy/a/to_b").symlink_to(tmp_path / "happy/b")
    (tmp_path / "happy/b/to_a").symlink_to(tmp_path / "happy/a")
    (tmp_path / "happy/top").symlink_to(tmp_path)
    paths = read_layout(tmp_path).paths.tolist()
    assert {path.rpartition("/")[2] for path in paths if path.startswith("happy")} == {"1.jpg", "2.jpg"}
    assert len(paths) < 10


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_names_that_are_no_text(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {"sad": "1.jpg"})
    folder = os.fsencode(tmp_path / "happy")
    os.mkdir(folder)
    for name in (b"\xff\xfe.jpg", "é.jpg".encode("latin-1"), b"note\xff.t\xff"):
        open(os.path.join(folder, name), "wb").close()
    table = read_layout(tmp_path)
    assert sorted(os.fsencode(path) for path in table.paths) == [b"happy/\xe9.jpg", b"happy/\xff\xfe.jpg", b"sad/1.jpg"]
