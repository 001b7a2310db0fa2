"""The suite that times whole sweeps, on two small jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.sweeping import sweep
from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.status import read_status

Compose = Callable[..., DictConfig]
TINY = (
    "data.synthetic={train: 28, validation: 14, test: 7}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "seed=9",
    "windows=2",
)


def make_bench(compose: Compose, folder: Path, *overrides: str) -> Bench:
    typed = (*TINY, *overrides)
    return Bench(compose("benchmark", *typed, "output_dir=out"), typed, (), folder, facts={})


@pytest.mark.slow
def test_sweeps_are_timed_both_ways(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_lightning.benchmarks.sweeping.MAX_TURNS", 1)
    together, overhead = sweep(make_bench(compose, tmp_path), jobs=2)
    assert (together.failed, overhead.failed) == (None, None)
    folders = sorted(tmp_path.glob("sweep-*"))
    if installed_version("hydra-joblib-launcher") is None:
        assert together.skipped == 'needs joblib: pip install "fer_lightning[joblib]"'
        assert len(folders) == 1
    else:
        assert together.skipped is None
        assert len(folders) == 2
    assert overhead.ours is not None
    assert overhead.baseline is not None
    apart = next(folder for folder in folders if folder.name.endswith("-0"))
    own = [status.seconds for folder in sorted(apart.glob("*_seed=*")) if (status := read_status(folder)) is not None]
    assert overhead.baseline.median == own[1]
    assert overhead.ours.median > own[1]
    assert overhead.judged == overhead.ours.median - own[1]


@pytest.mark.slow
def test_a_sweep_that_fails_is_told(compose: Compose, tmp_path: Path) -> None:
    rows = [*sweep(make_bench(compose, tmp_path, "data.root=nowhere"), jobs=2)]
    failed = [row.failed for row in rows if row.skipped is None]
    assert failed
    assert all(text is not None and text.startswith("0 of 2 jobs finished; the sweep said: error: ") for text in failed)
