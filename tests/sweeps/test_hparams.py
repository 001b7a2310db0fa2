"""The HParams tab of a sweep, by what a real TensorBoard answers: its table is drawn from these answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fer_lightning.runs.status import Status, write_status
from fer_lightning.sweeps.hparams import FILE, write_hparams

TINY = (
    "data.synthetic={train: 28, validation: 14, test: 14}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
)
ALL = {"allowedStatuses": [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]}
# settings as Hydra writes them, of jobs that came to no logging of their own
CONFIG = """
seed: {seed}
data: {{_target_: fer_lightning.data.datamodule.ExpressionDataModule, batch_size: 64, seed: "${{seed}}"}}
model: {{_target_: fer_lightning.models.classifier.ExpressionClassifier, backbone: {model}, stem: {stem}}}
optimizer: {{_target_: torch.optim.AdamW, lr: {lr}}}
output_dir: ${{hydra:runtime.output_dir}}
"""
OUTCOMES: dict[str, dict[str, Any]] = {
    "0_model=vgg16": {"status": "failed", "reason": "out of memory"},
    "1_lr=10.0": {"status": "failed", "reason": "diverged", "values": {"val/acc": float("nan")}},
    "2_seed=2": {"status": "pruned", "values": {"val/acc": 0.25}},
    "3_seed=3": {"status": "interrupted"},
    "4_seed=4": {"status": "running"},  # and no process: it was killed
    "5_lrr=1": {"status": "failed", "reason": "configuration", "overrides": ["optimizer.lrr=1", "model=vgg16"]},
}
STATES = {
    "0_model=vgg16": "failed: out of memory",
    "1_lr=10.0": "failed: diverged",
    "2_seed=2": "pruned",
    "3_seed=3": "interrupted",
    "4_seed=4": "unfinished",
    "5_lrr=1": "failed: configuration",
}


def add_job(sweep: Path, name: str, **facts: Any) -> Path:
    """Write what a job leaves that failed or was stopped; one whose configuration did so leaves no settings."""
    told: dict[str, Any] = {
        "identity": name,
        "started": "2026-01-01T10:00:00+00:00",
        "ended": "2026-01-01T11:00:00+00:00",
    }
    write_status(sweep / name, Status(**(told | facts)))
    if facts.get("reason") != "configuration":
        what, _, value = name.partition("_")[2].partition("=")
        settings = {"seed": 1, "model": "small_cnn", "stem": "null", "lr": 0.001} | {what: value}
        (sweep / name / ".hydra").mkdir(exist_ok=True)
        (sweep / name / ".hydra/config.yaml").write_text(CONFIG.format(**settings))
    return sweep / name


@contextmanager
def tensorboard(folder: Path, *options: str) -> Iterator[str]:
    """Run a TensorBoard on a folder and give its address."""
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={folder}", "--port=0", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        found = next((match for line in server.stderr if (match := re.search(r"http://\S+:\d+/", line))), None)
        assert found is not None
        yield found[0]
    finally:
        server.terminate()
        server.communicate()


def ask(address: str, what: str, request: dict[str, Any]) -> dict[str, Any]:
    body, kind = json.dumps(request).encode(), {"Content-Type": "application/json"}
    question = urllib.request.Request(f"{address}data/plugin/hparams/{what}", data=body, headers=kind)
    with urllib.request.urlopen(question, timeout=60) as answer:
        return json.load(answer)


def read_tab(folder: Path, rows: int, *options: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the columns by the name they are shown by, and the rows by theirs, once that many are loaded."""
    request = {**ALL, "startIndex": 0, "sliceSize": 100, "colParams": []}
    with tensorboard(folder, *options) as address:
        deadline, found = time.monotonic() + 60, []
        while len(found) < rows and time.monotonic() < deadline:
            time.sleep(0.2)
            found = ask(address, "session_groups", request).get("sessionGroups", [])
        columns = ask(address, "experiment", {})["hparamInfos"]
    assert all(len(group["sessions"]) == 1 for group in found)
    return {column["displayName"]: column for column in columns}, {group["name"]: group for group in found}


def scores(row: dict[str, Any]) -> dict[str, float]:
    return {metric["name"]["tag"]: metric["value"] for metric in row.get("metricValues", [])}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grid of two jobs that finished, beside jobs that did not."""
    place = tmp_path_factory.mktemp("sweep")
    command = [sys.executable, "-m", "fer_lightning.train", "-m", *TINY, "hydra.sweep.dir=s", "optimizer.lr=1e-3,3e-4"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    for name, facts in OUTCOMES.items():
        add_job(place / "s", f"{int(name[0]) + 2}{name[1:]}", **facts)
    write_hparams(place / "s")
    return place / "s"


@pytest.mark.slow
@pytest.mark.parametrize("fast", ["false", "auto"])  # TensorBoard's own reader, and its data server where that is
def test_a_sweep_has_a_row_a_job_with_scores_and_status(sweep: Path, fast: str) -> None:
    columns, rows = read_tab(sweep, 8, f"--load_fast={fast}")
    assert set(rows) == {path.name for path in sweep.iterdir() if path.is_dir()}
    finished = {name for name in rows if name[0] in "01"}
    for name, row in rows.items():
        success = "STATUS_SUCCESS" if name in finished else "STATUS_FAILURE"
        assert row["sessions"][0]["status"] == success
        expected = "finished" if name in finished else STATES[f"{int(name[0]) - 2}{name[1:]}"]
        assert row["hparams"]["_status"] == expected
    for name in finished:
        metrics = json.loads((sweep / name / "metrics.json").read_text())
        told = scores(rows[name])
        assert told["final/val/acc"] == pytest.approx(metrics["accuracy"])
        assert told["final/val/f1_macro"] == pytest.approx(metrics["f1_macro"])
        assert told["objective/val/acc"] == pytest.approx(metrics["monitored"])
    assert sorted(rows[name]["hparams"]["optimizer.lr"] for name in finished) == [3e-4, 1e-3]
    assert next(name for name, column in columns.items() if column["differs"]) == "status"  # the first of five shown
    assert columns["optimizer.lr"]["differs"]
    assert not columns["data.batch_size"]["differs"] or len(columns["data.batch_size"]["domainDiscrete"]) > 1


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    for name, facts in OUTCOMES.items():
        add_job(tmp_path, name, **facts)
    write_hparams(tmp_path)
    return tmp_path


def test_what_differs_and_what_was_reached_is_seen(stopped: Path) -> None:
    columns, rows = read_tab(stopped, 6)
    varied = [name for name, column in columns.items() if column["differs"]]
    assert varied == ["status", "model.backbone", "optimizer.lr", "optimizer.lrr", "seed"]
    assert sorted(columns["status"]["domainDiscrete"]) == sorted(STATES.values())
    assert columns["seed"]["type"] == "DATA_TYPE_FLOAT64"
    assert {name: row["hparams"].get("seed") for name, row in rows.items() if "seed" in name} == {
        "2_seed=2": 2,
        "3_seed=3": 3,
        "4_seed=4": 4,
    }
    assert {name: scores(row) for name, row in rows.items() if scores(row)} == {"2_seed=2": {"objective/val/acc": 0.25}}
    assert rows["5_lrr=1"]["hparams"] == {"_status": "failed: configuration", "optimizer.lrr": 1.0}


def test_after_a_resume_each_job_still_has_one_row(stopped: Path) -> None:
    add_job(stopped, "4_seed=4", status="finished", values={"val/acc": 0.5})
    add_job(stopped, "6_seed=5", status="finished", values={"val/acc": 0.75})
    write_hparams(stopped)
    assert len([*stopped.rglob("*tfevents*")]) == 7
    _, rows = read_tab(stopped, 7)
    assert {name: row["hparams"]["_status"] for name, row in rows.items()} == {
        **STATES,
        "4_seed=4": "finished",
        "6_seed=5": "finished",
    }
    assert scores(rows["4_seed=4"]) == {"objective/val/acc": 0.5}


def test_a_setting_that_is_text_in_some_jobs_is_text_in_all(tmp_path: Path) -> None:
    add_job(tmp_path, "0_stem=7", status="finished")
    add_job(tmp_path, "1_stem=small", status="finished")
    write_hparams(tmp_path)
    columns, rows = read_tab(tmp_path, 2)
    assert columns["model.stem"]["type"] == "DATA_TYPE_STRING"
    assert [rows[name]["hparams"]["model.stem"] for name in sorted(rows)] == ["7", "small"]


def test_many_values_are_a_range(tmp_path: Path) -> None:
    for number in range(14):
        add_job(tmp_path, f"{number}_seed={number}", status="finished")
    write_hparams(tmp_path)
    columns, _ = read_tab(tmp_path, 14)
    assert columns["seed"]["domainInterval"] == {"minValue": 0.0, "maxValue": 13.0}


def test_a_sweep_without_jobs_writes_nothing(tmp_path: Path) -> None:
    write_hparams(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_half_file_is_left(stopped: Path) -> None:
    assert {path.name for path in stopped.glob("*/tensorboard/*")} == {FILE}
