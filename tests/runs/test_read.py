"""Which runs are found, and what is read of them whatever they lack."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from fer_lightning.comparison.comparison import compare, tabulate
from fer_lightning.core.errors import DataError
from fer_lightning.runs.files import LOCK
from fer_lightning.runs.find import find_runs
from fer_lightning.runs.read import read_run, read_runs

WriteRun = Callable[..., Path]
RIGHT = [True, True, False, True]


def test_runs_are_found_at_any_depth_each_once_and_in_order(tmp_path: Path, write_run: WriteRun) -> None:
    for name in ("a/10_x", "a/2_x", "b/c/deep"):
        write_run(tmp_path / name, RIGHT)
    (tmp_path / "a" / "2_x" / "checkpoints").mkdir()
    (tmp_path / "a" / "2_x" / "checkpoints" / "metrics.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    found = find_runs([tmp_path, tmp_path / "a" / "2_x", tmp_path / "link"])
    assert [folder.relative_to(tmp_path).as_posix() for folder in found] == ["a/2_x", "a/10_x", "b/c/deep"]


def test_a_job_that_was_never_composed_is_found(tmp_path: Path) -> None:
    job = tmp_path / "0_model=nope"
    job.mkdir()
    status = {"status": "failed", "reason": "configuration", "message": "no such model", "overrides": ["model=nope"]}
    (job / "status.json").write_text(json.dumps(status))
    (run,), others = read_runs(find_runs([tmp_path]))
    assert (run.status.reason, run.overrides, run.ranked, run.notes, others) == (
        "configuration",
        ("model=nope",),
        False,
        (),
        [],
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "there is no folder .*nowhere; type the folder"),
        ("file", "file is a file"),
        ("empty", "no run in or below"),
    ],
)
def test_places_without_runs_are_named(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=said):
        find_runs([tmp_path / place])


def test_every_fact_of_a_whole_run_is_read(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", RIGHT, value=0.9, epochs=5, settings={"seed": 3})
    run = read_run(folder, "run")
    assert (run.monitor, run.mode, run.value, run.epochs, run.fingerprint) == ("val/acc", "max", 0.9, 5, "f00d")
    assert (run.status.status, run.ranked, run.notes) == ("finished", True, ())
    assert run.settings.values["data.seed"] == 3
    assert run.scored is not None
    np.testing.assert_array_equal(run.scored.correct, RIGHT)


def test_what_is_missing_or_damaged_becomes_a_note(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", RIGHT)
    (folder / "history.csv").unlink()
    (folder / "predictions.csv").write_text("a,b\n1,2\n")
    (folder / "environment.json").write_text("[]")
    (folder / ".hydra" / "config.yaml").write_bytes(b"\xff\xfe")
    run = read_run(folder, "run")
    notes = " | ".join(run.notes)
    for part in (
        "history.csv is missing",
        "predictions.csv cannot",
        "environment.json cannot",
        "config.yaml cannot be read",
    ):
        assert part in notes
    assert run.ranked
    assert run.scored is None


def test_the_monitored_value_may_stand_in_the_status_alone(tmp_path: Path, write_run: WriteRun) -> None:
    status = {"status": "finished", "values": {"val/loss": 0.4, "latency": 3}, "seconds": 12.5, "fingerprint": "beef"}
    folder = write_run(tmp_path / "run", status=status, settings={"monitor": "val/loss", "mode": "min"})
    run = read_run(folder, "run")
    assert (run.monitor, run.mode, run.value, run.ranked, run.fingerprint) == ("val/loss", "min", 0.4, True, "beef")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_ranks_nothing(tmp_path: Path, write_run: WriteRun, value: float) -> None:
    run = read_run(write_run(tmp_path / "run", RIGHT, value=value), "run")
    assert (run.value, run.ranked) == (None, False)


@pytest.mark.parametrize(
    ("status", "ranked"),
    [("finished", True), ("interrupted", True), ("failed", False), ("pruned", False), ("running", False)],
)
def test_only_what_came_to_its_end_or_was_stopped_by_hand_is_ranked(
    tmp_path: Path, write_run: WriteRun, status: str, ranked: bool
) -> None:
    folder = write_run(tmp_path / "run", RIGHT, status={"status": status, "values": {"val/acc": 0.75}})
    assert read_run(folder, "run").ranked is ranked


def test_a_job_that_died_without_a_word_is_told_from_one_at_work(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", status={"status": "running"})
    assert read_run(folder, "run").status.status == "running"  # no job of a sweep: nobody knows
    (folder / LOCK).touch()
    dead = read_run(folder, "run").status
    assert (dead.status, dead.reason) == ("interrupted", "killed")
    with FileLock(folder / LOCK):
        assert read_run(folder, "run").status.status == "running"


def test_scores_of_other_verbs_are_no_runs(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "run", RIGHT)
    (tmp_path / "evaluated").mkdir()
    (tmp_path / "evaluated" / "metrics.json").write_text('{"split": "test", "accuracy": 0.5}')
    runs, others = read_runs(find_runs([tmp_path]))
    assert ([run.name for run in runs], [folder.name for folder in others]) == (["run"], ["evaluated"])


def test_a_job_of_a_sweep_of_evaluations_is_no_training(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "run", RIGHT)
    job = tmp_path / "evaluated"
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "config.yaml").write_text("ckpt_path: best.ckpt\ndata: {root: /faces}\n")
    (job / "status.json").write_text('{"status": "finished"}')
    (job / "metrics.json").write_text('{"split": "test", "accuracy": 0.5}')
    runs, others = read_runs(find_runs([tmp_path]))
    assert ([run.name for run in runs], [folder.name for folder in others]) == (["run"], ["evaluated"])


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("status.json", '{"status": "finished", "values": []}'),
        ("status.json", '{"status": "finished", "overrides": null}'),
        ("status.json", '{"status": "finished", "seconds": "long"}'),
        ("status.json", '{"status": "ok"}'),
        ("status.json", "[1]"),
        ("metrics.json", '{"monitored": 0.5, "accuracy": "high"}'),
        ("metrics.json", '{"monitored": 0.5, "accuracy_interval": 3}'),
        ("metrics.json", '{"monitored": 0.5, "accuracy_interval": ["low", 1]}'),
    ],
)
def test_what_is_of_another_kind_is_a_note_and_no_crash(
    tmp_path: Path, write_run: WriteRun, file: str, content: str
) -> None:
    folder = write_run(tmp_path / "run", RIGHT)
    (folder / file).write_text(content)
    compared = compare([tmp_path])
    assert any(f"{file} cannot be read" in note for note in compared.notes)
    assert len(tabulate(compared)) == 1


def test_the_same_images_are_the_same_however_large_or_ordered(tmp_path: Path, write_run: WriteRun) -> None:
    def images(name: str, right: list[bool] = RIGHT, **options: object) -> str:
        scored = read_run(write_run(tmp_path / name, right, **options), name).scored
        assert scored is not None
        return scored.digest

    first = images("first")
    assert images("another pixel size", fingerprint="other") == first
    assert images("other answers", right=[False] * 4) == first
    assert images("other split", split="test") != first
    assert images("fewer", right=RIGHT[:3]) != first
    drawn = [
        images(f"drawn{seed}{size}", fingerprint=f"drawn-8-4-4-{size}px-1ch-seed{seed}")
        for seed, size in ((1, 48), (1, 64), (2, 48))
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, write_run: WriteRun) -> None:
    folder = write_run(tmp_path / "run", RIGHT)
    before = read_run(folder, "run").scored
    pd.read_csv(folder / "predictions.csv").iloc[[2, 0, 3, 1]].to_csv(folder / "predictions.csv", index=False)
    after = read_run(folder, "run").scored
    assert before is not None
    assert after is not None
    assert before.digest == after.digest
    np.testing.assert_array_equal(before.correct, after.correct)


def test_names_tell_runs_apart(tmp_path: Path, write_run: WriteRun) -> None:
    places = [write_run(tmp_path / name, RIGHT) for name in ("one/0_x", "two/0_x")]
    assert [run.name for run in read_runs(places)[0]] == ["one/0_x", "two/0_x"]
    assert [run.name for run in read_runs(places[:1])[0]] == ["0_x"]
