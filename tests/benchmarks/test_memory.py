"""Generated data sets, opened and trained on as real ones are, and what the suite says of two of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks import memory
from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.contenders import train_steps
from fer_lightning.benchmarks.generated import generate, open_once
from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.read_rows import read_rows
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.source import Source, read_source
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.data.table.image_table import digest_table

Compose = Callable[..., DictConfig]
COUNTS = {"train": 40, "validation": 14}
TINY = (
    "data.image_size=32",
    "data.batch_size=16",
    "data.classes=[happy,sad]",
    "trainer=cpu",
    "trainer.precision=32-true",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
    "windows=2",
)


def make_bench(compose: Compose, folder: Path, *overrides: str) -> Bench:
    typed = (*TINY, *overrides)
    return Bench(compose("benchmark", *typed, "output_dir=out"), typed, (), folder, facts={})


def open_generated(folder: Path) -> Source:
    options = {"aliases": None, "code_order": None, "image_size": 32, "channels": 1, "on_error": "raise"}
    return read_source(folder / "faces", "folders", cache_dir=folder / "cache", **options)  # type: ignore[arg-type]


def generate_in(folder: Path) -> None:
    generate(str(folder / "faces"), str(folder / "cache"), COUNTS, image_size=32, channels=1)


def test_a_generated_set_is_found_decoded(tmp_path: Path) -> None:
    generate_in(tmp_path)
    source = open_generated(tmp_path)
    assert {split: counts.sum() for split, counts in source.table.counts().items()} == COUNTS
    assert source.images.shape == (54, 1, 32, 32)
    assert len(np.unique(source.digests)) == 54
    pixels = read_rows(source.images, np.arange(54))
    assert pixels.std() == pytest.approx(256 / 12**0.5, rel=0.02)  # noise, to the last image
    assert pixels[-1].any()


def test_a_generated_table_is_that_of_such_a_tree(tmp_path: Path) -> None:
    generate_in(tmp_path)
    table = open_generated(tmp_path).table
    for path in table.paths:
        (tmp_path / "faces" / path).touch()
    listed = read_layout(tmp_path / "faces", "folders")
    assert table.classes == listed.classes == EMOTIONS
    assert sorted(zip(table.paths, table.labels, table.splits, strict=True)) == sorted(
        zip(listed.paths, listed.labels, listed.splits, strict=True)
    )
    assert len(digest_table(table)) == 16


def test_the_folders_of_a_generated_set_are_watched(tmp_path: Path) -> None:
    generate_in(tmp_path)
    for name in EMOTIONS:
        (tmp_path / "faces" / "train" / name / "new.jpg").touch()
    with pytest.raises(DataError, match=r"new\.jpg \(empty file"):  # listed anew, and decoded
        open_generated(tmp_path)


def test_steps_are_trained_on_a_generated_set(compose: Compose, tmp_path: Path) -> None:
    bench = make_bench(compose, tmp_path)
    settings = memory._generate(bench, tmp_path / "set", COUNTS)
    assert open_once(settings)["seconds"] > 0
    assert train_steps(settings, steps=3, validated=1)["memory"] > 50


@pytest.mark.slow
def test_both_rows_are_measured_and_nothing_is_left(compose: Compose, tmp_path: Path) -> None:
    opening, training = memory.memory(make_bench(compose, tmp_path), times=2, counts=COUNTS, steps=3)
    for row in (opening, training):
        assert row.failed is row.skipped is None
        assert row.ours.count == row.baseline.count == row.ratio.count == 2
        assert row.met
    assert "2 × FER-2013 (108 generated images)" in opening.what
    assert training.judged == training.ours.median - training.baseline.median
    assert training.memory[0] == training.ours.high > 50
    assert not list(tmp_path.glob("generated_*"))
    assert not list((tmp_path / "logs").iterdir())


@pytest.mark.slow
def test_what_breaks_off_leaves_nothing(compose: Compose, tmp_path: Path) -> None:
    rows = memory.memory(make_bench(compose, tmp_path), times=1, counts=COUNTS)
    assert next(rows).ours is not None
    assert list(tmp_path.glob("generated_*"))
    with pytest.raises(KeyboardInterrupt):
        rows.throw(KeyboardInterrupt)
    assert not list(tmp_path.glob("generated_*"))


@pytest.mark.slow
def test_a_set_that_cannot_be_generated_fails_both_rows(compose: Compose, tmp_path: Path) -> None:
    rows = list(memory.memory(make_bench(compose, tmp_path), times=1, counts={"other": 7}))
    assert len(rows) == 2
    assert all("nothing was generated" in row.failed for row in rows)
    assert not list(tmp_path.glob("generated_*"))


def test_a_full_disk_skips_both_rows(compose: Compose, tmp_path: Path) -> None:
    times = shutil.disk_usage(tmp_path).total // (54 * 32 * 32) + 1
    rows = list(memory.memory(make_bench(compose, tmp_path), times=times, counts=COUNTS))
    assert len(rows) == 2
    assert all("TMPDIR=FOLDER" in row.skipped for row in rows)
    assert "GB of noise" in rows[0].notes[0]
    assert not list(tmp_path.iterdir())
