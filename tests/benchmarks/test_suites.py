"""What the rows promise, skip and admit, by the settings; and what an end before the end leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks import inference, pipeline, suites, training
from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.paired_timing import Contender
from fer_lightning.benchmarks.rows import Row

Compose = Callable[..., DictConfig]
Rows = Callable[..., dict[str, Row]]
FACTS: dict[str, Any] = {
    "machine": {"accelerator": "cpu", "threads": 2},
    "device": "cpu",
    "source": "folders",
    "faces": "faces",
    "textbook": "textbook.pt",
    "resident": True,
    "pictures": 32_284,
    "train": 28_695,
    "validation": 3_589,
}
GPU: dict[str, Any] = {"machine": {"accelerator": "gpu", "threads": 8}, "device": "NVIDIA H200"}
TINY = (
    "data.synthetic={train: 42, validation: 14, test: 7}",
    "data.image_size=32",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "windows=2",
)


def evaluated(bench: Bench) -> Iterator[Row]:
    """The row of suite `inference` that needs no extra; test_inference.py has the others."""
    yield inference.evaluation(bench)


@pytest.fixture
def rows(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rows:
    """Return a function that says what is asked of each row by baseline, without measuring anything."""

    def measure(self: Bench, row: Row, ours: Contender, baseline: Contender, **_: Any) -> Row:
        return replace(row, notes=(*row.notes, "measured"))

    monkeypatch.setattr(Bench, "measure", measure)

    def make(suite: Callable[[Bench], Iterator[Row]], *typed: str, **facts: Any) -> dict[str, Row]:
        cfg = compose("benchmark", *typed, "output_dir=out")
        found = list(suite(Bench(cfg, typed, (), tmp_path, {**FACTS, **facts})))
        return {row.against: row for row in reversed(found)}  # of several, the first

    return make


def test_goals_are_judged_at_the_settings_they_were_set_for(rows: Rows) -> None:
    found = rows(training.train) | rows(pipeline.pipeline) | rows(evaluated)
    goals = {against: row.goal.needs for against, row in found.items() if row.goal is not None}
    assert goals == {
        "textbook loop": "",
        "expert loop": "",
        "Keras fit": "",
        "bare loop": "",
        "a pass with Pillow": "",
        "ImageFolder": "",
        "Albumentations, one by one": "",
        "textbook loader": "an NVIDIA H200",
    }
    assert not any("does without" in note for row in found.values() for note in row.notes)


def test_goals_need_what_they_were_set_for(rows: Rows) -> None:
    few = {"machine": {"accelerator": "cpu", "threads": 8}, "pictures": 1400}
    typed = ("model=keras_cnn", "data.batch_size=32")
    found = (
        rows(training.train, *typed, **few) | rows(pipeline.pipeline, *typed, **few) | rows(evaluated, *typed, **few)
    )
    assert found["textbook loop"].goal.needs == "small_cnn, a CPU with 2 cores used, batches of 64 to 128"
    assert found["expert loop"].goal.needs == "small_cnn, batches of 128 or more"
    assert found["bare loop"].goal.needs == "small_cnn"
    assert found["ImageFolder"].goal.needs == found["a pass with Pillow"].goal.needs == "10,000 images"


@pytest.mark.parametrize(
    "typed",
    [
        "trainer.accumulate_grad_batches=2",
        "trainer.gradient_clip_val=1.0",
        "trainer.precision=bf16-true",
        "trainer.precision=16-mixed",
        "trainer.deterministic=true",
        "data.sampler=balanced",
        "data.resident=false",
        "model.mixup=0.2",
    ],
)
def test_what_the_expert_does_without_is_said_and_nothing_judged(rows: Rows, typed: str) -> None:
    row = rows(training.train, typed)["expert loop"]
    assert f"the expert loop does without {typed}" in row.notes
    assert row.goal.needs == "the same settings on both sides"


def test_callbacks_thawing_and_streaming_are_differences(compose: Compose) -> None:
    assert training.differences(compose("benchmark", "callbacks=ema", "output_dir=out")) == ["callbacks.ema"]
    plain = compose("benchmark", "~callbacks.history", "output_dir=out")
    assert training.differences(plain) == []
    assert training.differences(plain, resident=False) == ["reading images from disk"]
    thawed = compose("benchmark", "model.unfreeze_epoch=2", "output_dir=out")
    assert training.differences(thawed) == ["model.unfreeze_epoch=2"]
    streamed = compose("benchmark", "data.resident=false", "output_dir=out")
    assert training.differences(streamed, resident=False) == ["data.resident=false"]


def test_extra_transforms_are_left_out_and_that_is_said(rows: Rows) -> None:
    typed = "augmentation.extra=[{name: GaussNoise, p: 0.5}]"
    found = rows(training.train, typed) | rows(pipeline.pipeline, typed)
    assert "image by image" in found["Albumentations, one by one"].skipped
    for textbook in ("textbook loop", "textbook loader"):
        assert "the textbook leaves augmentation.extra out" in found[textbook].notes
    assert "Albumentations cannot" in rows(training.train, typed, **GPU)["expert loop"].skipped


@pytest.mark.parametrize("typed", ["~augmentation", "augmentation=none"])
def test_nothing_to_augment_is_skipped(rows: Rows, typed: str) -> None:
    assert "change no image" in rows(pipeline.pipeline, typed)["Albumentations, one by one"].skipped


def test_the_reader_is_told_what_is_unequal(rows: Rows) -> None:
    found = rows(pipeline.pipeline, source="csv")
    assert found["Albumentations, one by one"].notes[0] == "2 threads of torch against one of Albumentations"
    assert "Pillow in one process" in found["a pass with Pillow"].notes[0]
    assert "as PNG files" in found["a pass with Pillow"].notes[1]
    assert "28,695" in found["ImageFolder"].notes[0]
    assert "to the GPU in each pass" in rows(evaluated, **GPU)["bare loop"].notes[0]


def test_settings_of_a_row_that_cannot_work_fail_that_row(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "KERAS", ("model=keras_cnn", "data.batch_size=0"))
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda _: object())
    found = rows(training.train)
    assert "data.batch_size=0" in found["Keras fit"].failed
    assert [row.failed for against, row in found.items() if against != "Keras fit"] == [None] * (len(found) - 1)


def interrupt(folder: Path, with_signal: signal.Signals) -> tuple[int, str]:
    """Start a run, stop it in the second row, and return exit code and what it said."""
    command = [sys.executable, "-m", "fer_lightning.benchmark", *TINY, f"hydra.run.dir={folder / 'out'}"]
    command += ["suite=[inference]", "window=1", f"data.cache_dir={folder / 'cache'}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    program = subprocess.Popen(command, cwd=folder, env=environment, **streams)
    said = ""
    for line in program.stdout:
        said += line
        if "one face" in line:
            time.sleep(3)  # into its first imports and steps
            program.send_signal(with_signal)
            break
    said += program.communicate(timeout=60)[0]
    return program.returncode, said


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").resolve() == folder.resolve():
                found.append((place / "cmdline").read_text().replace("\0", " "))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="reads /proc")
@pytest.mark.parametrize(("with_signal", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_end_before_the_end_keeps_the_rows_and_leaves_no_process(
    tmp_path: Path, with_signal: signal.Signals, code: int
) -> None:
    returned, said = interrupt(tmp_path, with_signal)
    assert returned == code, said
    record = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert [(row["suite"], row["failed"]) for row in record["rows"]] == [("inference", None)]
    assert "written to" in said
    assert processes_of(tmp_path) == []
    assert not list((tmp_path / "tmp").glob("fer_benchmark_*"))
    assert not (tmp_path / "out" / "logs").exists()


def test_an_error_of_our_own_keeps_the_rows(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: Bench) -> Iterator[Row]:
        yield Row("startup", "one", failed="a reason")
        raise RuntimeError("ours")

    monkeypatch.setitem(suites.SUITES, "startup", broken)
    facts = {**FACTS, "machine": {**FACTS["machine"], "summary": "a CPU"}, "notes": [], "fingerprint": "f00d"}
    monkeypatch.setattr(Bench, "prepared", lambda self: replace(self, facts=facts))
    cfg = compose("benchmark", *TINY, "suite=[startup]", f"output_dir={tmp_path / 'out'}")
    with pytest.raises(RuntimeError, match="ours"):
        suites.run_suites(cfg, TINY)
    (row,) = json.loads((tmp_path / "out" / "benchmark.json").read_text())["rows"]
    assert row["failed"] == "a reason"
