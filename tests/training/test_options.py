"""Every option of every group that ships is trained with once, in as few runs as the largest group has options."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.config.compose import conf_dir
from fer_lightning.runs.environment import installed_version
from fer_lightning.training.run import train

pytestmark = pytest.mark.slow

TINY = (
    "data.synthetic={train: 14, validation: 7, test: 7}",
    "data.image_size=32",
    "data.batch_size=7",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "logger.wandb.offline=true",
)
GROUPS = ("augmentation", "callbacks", "logger", "loss", "model", "optimizer", "scheduler")


def options(group: str) -> list[str]:
    """Return the options of a group, without loggers whose extra is not installed."""
    names = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    return [name for name in names if name not in ("wandb", "mlflow") or installed_version(name) is not None]


def together() -> list[list[str]]:
    """Return choices of all groups at once, until each option was among them."""
    columns = [[f"{group}={option}" for option in options(group)] for group in GROUPS]
    most = max(map(len, columns))
    return [list(row) for row in zip(*(islice(cycle(column), most) for column in columns), strict=True)]


SMALL = ("model.pretrained=false", "~callbacks.progressive_resizing")  # which some begin at the size of the tiny images
RUNS = [*together(), *([f"experiment={name}", *SMALL] for name in options("experiment"))]


@pytest.mark.parametrize("choices", RUNS, ids=" ".join)
def test_an_option_trains_and_is_scored(
    compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choices: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    typed = [item for item in TINY if not item.startswith("logger.") or "logger=wandb" in choices]
    typed += ["model.teachers=[compact]"] * ("model=distilled" in choices)
    train(compose("train", *choices, *typed, f"output_dir={tmp_path / 'run'}"))
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["count"] == 7
    assert (tmp_path / "run" / "report.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
