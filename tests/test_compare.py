"""The verb from the command line, on a sweep that was really run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from fer_lightning import compare, evaluate, train
from fer_lightning.comparison.comparison import compare as compare_runs

TINY = (
    "data.synthetic={train: 28, validation: 42, test: 28}",
    "data.classes=[happy,sad]",  # fewer faces in the galleries, which take most of the time
    "data.image_size=16",
    "data.seed=5",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
FAILED = {
    "status": "failed",
    "reason": "data",
    "message": "no such folder or file: data.root=/nowhere",
    "identity": "8a22739fc191c8a4",
    "fingerprint": None,
    "overrides": ["data.root=/nowhere"],
    "values": {},
    "attempts": 1,
    "started": "2026-11-20T15:01:35+00:00",
    "ended": "2026-11-20T15:01:36+00:00",
    "seconds": 1.05,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in their seed, scored on validation images, and one that failed before it had a network."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        train.main([*TINY, f"seed={seed}", "split=validation", f"hydra.run.dir={folder / f'seed{seed}'}"])
    (folder / "failed").mkdir()
    (folder / "failed" / "status.json").write_text(json.dumps(FAILED))
    return folder


def test_the_verb_compares_what_lies_below_a_folder(runs: Path, tmp_path: Path) -> None:
    start = "runpy.run_module('fer_lightning.compare', run_name='__main__', alter_sys=True)"
    program = f"import runpy, sys; {start}; print('torch' in sys.modules)"
    command = [sys.executable, "-c", program, str(runs), str(runs / "seed1")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"  # nothing is computed that would need it
    (out,) = tmp_path.glob("outputs/compare/*/*/compare.html")
    for name in ("compare.csv", "curves.png", "parallel.png"):
        assert (out.parent / name).stat().st_size
    table = pd.read_csv(out.parent / "compare.csv")
    for _, row in table.dropna(subset="accuracy").iterrows():
        metrics = json.loads(Path(row["folder"], "metrics.json").read_text())
        assert (row["monitored"], row["accuracy"]) == (metrics["monitored"], metrics["accuracy"])
        assert row["monitored"] == pytest.approx(row["accuracy"], abs=1e-6)  # of the images that chose the checkpoint
    assert (len(table), sorted(table["seed"].dropna())) == (3, [1, 2])
    for part in ("val/acc", "Over seeds", "failed: data", f"written to {out.parent}"):
        assert part in done.stdout, part
    assert "data.root=/nowhere" in out.read_text()


def test_the_command_repeats_the_best(runs: Path, tmp_path: Path) -> None:
    compare.main([str(runs), f"hydra.run.dir={tmp_path / 'out'}"])
    best = pd.read_csv(tmp_path / "out" / "compare.csv").iloc[0]
    words = shlex.split(best["command"])
    first = next(at for at, word in enumerate(words) if word.startswith("data.synthetic"))
    assert words[-1] == "split=validation"
    train.main([*words[first:], f"hydra.run.dir={tmp_path / 'again'}"])
    again = pd.read_csv(tmp_path / "again" / "predictions.csv")
    pd.testing.assert_frame_equal(again, pd.read_csv(Path(best["folder"], "predictions.csv")))


def test_a_job_whose_folder_is_named_like_a_setting_can_be_typed(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seed in (("0_lr=0.1,seed=1", 1), ("1_lr=a b, c", 2)):
        (tmp_path / name).symlink_to(runs / f"seed{seed}")
    monkeypatch.chdir(tmp_path)
    compare.main(["0_lr=0.1,seed=1", str(tmp_path / "1_lr=a b, c"), "rows=1", f"hydra.run.dir={tmp_path / 'out'}"])
    assert "2 runs: 2 finished" in capsys.readouterr().out
    assert sorted(pd.read_csv(tmp_path / "out" / "compare.csv")["run"]) == ["0_lr=0.1,seed=1", "1_lr=a b, c"]


def test_the_advice_to_score_once_works(
    runs: Path, tmp_path: Path, write_tree_of: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    judged = ["trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false", "hydra.run.dir=scored"]
    (note,) = (note for note in compare_runs([runs]).groups[0].notes if "score it once" in note)
    words = shlex.split(note.partition("fer_lightning.evaluate ")[2])
    evaluate.main([*words, *judged])
    assert json.loads(Path("scored/metrics.json").read_text())["split"] == "test"
    copied = Path(shutil.copytree(runs, tmp_path / "copied"))
    for seed in (1, 2):
        record = copied / f"seed{seed}" / "environment.json"
        record.write_text(re.sub(r'"test": \d+', '"test": 0', record.read_text()))
    (note,) = (note for note in compare_runs([copied]).groups[0].notes if "score it once" in note)
    words = shlex.split(note.partition("fer_lightning.evaluate ")[2])
    assert words[-2:] == ["data.root=FOLDER", "split=all"]
    other = write_tree_of(tmp_path / "other", {"happy": 2, "sad": 2})
    evaluate.main([words[0], f"data.root={other}", words[-1], *judged])
    assert json.loads(Path("scored/metrics.json").read_text())["count"] == 4


def test_with_failed_runs_only_the_page_is_written_and_the_exit_code_says_so(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        compare.main([str(runs / "failed"), f"hydra.run.dir={out}"])
    assert stop.value.code == 1
    said = f"error: 1 run: 1 failed, and none has a score to rank it by; see {out / 'compare.html'}\n"
    assert capsys.readouterr().err == said
    assert "Nothing to rank" in (out / "compare.html").read_text()
    assert pd.read_csv(out / "compare.csv")["reason"].tolist() == ["data"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("runs=[]",), 2, "error: runs is empty: type the folders of runs or sweeps, or one above them"),
        (("./no=such",), 3, "error: there is no folder no=such; type the folder"),
        (("empty",), 3, "error: no run in or below empty: a run's folder holds status.json or metrics.json"),
        (("nowhere",), 3, "error: there is no folder nowhere; type the folder of a run or a sweep"),
        (("empty", "rows=0"), 2, "error: rows=0 must be at least 1"),
        (("empty", "row=5"), 2, "error: there is no setting 'row'; did you mean rows=5"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_message(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        compare.main([*words])
    assert stop.value.code == code
    error = capsys.readouterr().err
    assert error.startswith(said)
    assert error.count("\n") == 1
    assert [*tmp_path.rglob("outputs/*")] == []
