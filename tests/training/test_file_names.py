"""File names that are no UTF-8, from the images to every result."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_lightning.cli.command import run_verb

JUDGED = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")
NAME = os.fsdecode(b"caf\xe9.png")


@pytest.mark.slow
def test_a_name_that_is_not_utf8_passes_through_all_verbs(
    tmp_path: Path, write_tree_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = os.fsdecode(b"d\xe9")
    write_tree_of(tmp_path / root, {f"{split}/{name}": 4 for split in ("train", "test") for name in ("happy", "sad")})
    for split in ("train", "test"):
        (tmp_path / root / split / "happy" / "0.png").rename(tmp_path / root / split / "happy" / NAME)
    (tmp_path / root / "train" / "sad" / f"broken{NAME}").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    data = (f"data.root={root}", "data.on_error=skip")
    for seed in (1, 2):
        typed = ["data.image_size=16", "data.seed=1", "trainer.max_epochs=1", f"hydra.run.dir=runs/{seed}"]
        run_verb("train", "training.run:train", [*data, *JUDGED, *typed, f"seed={seed}"])
    assert f"broken{NAME}".encode("utf-8", "surrogateescape") in Path("runs/1/skipped_images.txt").read_bytes()
    checkpoint = "ckpt_path=runs/1/checkpoints/best.ckpt"
    run_verb("evaluate", "training.evaluate_checkpoint:evaluate", [checkpoint, *data, *JUDGED, "hydra.run.dir=scored"])
    run_verb("compare", "comparison.report:compare_runs", ["runs=[runs]", "hydra.run.dir=compared"])
    run_verb("ensemble", "comparison.ensembling:ensemble_runs", ["runs=[runs]", *JUDGED, "hydra.run.dir=averaged"])
    for folder in ("runs/1", "scored", "averaged"):
        assert b"/happy/caf\xe9.png," in Path(folder, "predictions.csv").read_bytes()
        assert json.loads(Path(folder, "metrics.json").read_text())["count"] == 8
    pages = [*Path("runs").glob("*/report.html"), Path("compared/compare.html"), Path("averaged/report.html")]
    assert [page for page in pages if not page.read_text(encoding="utf-8")] == []
    with pytest.raises(SystemExit) as stop:
        run_verb("train", "training.run:train", [*data, *JUDGED, f"hydra.run.dir=o{root}"])
    assert stop.value.code == 2
