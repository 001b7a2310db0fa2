"""A plain LightningModule of the user's own, as the README shows it: trained, scored, evaluated again, continued."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.comparison.ensembling import ensemble_runs
from fer_lightning.config.check import check_config
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.evaluate_checkpoint import evaluate
from fer_lightning.training.run import TrainingRun, train

README = Path(__file__).parents[2] / "README.md"
TINY = (
    "data.synthetic={train: 14, validation: 7, test: 7}", "data.image_size=16", "data.batch_size=7", "trainer=cpu",
    "trainer.precision=32-true", "model._target_=my_package.MyModel", "+model.width=4", "security.allow=[my_package]",
)  # fmt: skip
JUDGED = ("trainer=cpu", "trainer.precision=32-true", "security.allow=[my_package]")


@pytest.fixture(autouse=True)
def my_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    shown = re.search(r"```python\n(# my_package\.py\n.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    assert shown is not None
    assert len(shown[1].splitlines()) <= 25
    logits = (
        "class Logits(MyModel):\n    def predict_step(self, batch, batch_idx):\n        return self(batch.images)\n"
    )
    (tmp_path / "my_package.py").write_text(f"{shown[1]}\n\n{logits}\nclass Plain(nn.Module): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_package", None)


def test_it_trains_is_scored_evaluated_and_continued(tmp_path: Path, compose: Callable[..., DictConfig]) -> None:
    folder = tmp_path / "run"
    cfg = compose("train", *TINY, "trainer.max_epochs=1", f"output_dir={folder}")
    check_config(cfg)
    train(cfg)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["model"], metrics["split"], metrics["count"]) == ("my_package.MyModel", "test", 7)
    assert (metrics["checkpoint"], metrics["selected_on"]) == ("checkpoints/best.ckpt", "validation")
    assert (folder / "report.html").stat().st_size

    best = folder / "checkpoints" / "best.ckpt"
    content = torch.load(best, weights_only=True)
    assert content["hyper_parameters"]["arguments"]["width"] == 4
    sys.modules.pop("my_package")
    again = compose("evaluate", f"ckpt_path={best}", "trainer=cpu", f"output_dir={tmp_path / 'again'}")
    with pytest.raises(CheckpointError, match=r"type security\.allow=\[my_package\]"):
        evaluate(again)
    assert "my_package" not in sys.modules, "a checkpoint imports nothing"
    again.security.allow = ["my_package"]
    again.trainer.precision = "32-true"
    assert evaluate(again) == pytest.approx(metrics["accuracy"])

    for name in ("a", "b"):
        shutil.copytree(folder, tmp_path / "runs" / name)
    several = compose("ensemble", f"runs=[{tmp_path / 'runs'}]", *JUDGED, "split=train", f"output_dir={tmp_path / 'e'}")
    assert ensemble_runs(several).value == 0  # that of a network with itself

    last = folder / "checkpoints" / "last.ckpt"
    train(compose("train", *TINY, "trainer.max_epochs=2", f"output_dir={folder}", f"ckpt_path={last}"))
    assert Checkpoint.read(last).epoch == 2


def test_what_it_predicts_is_checked(tmp_path: Path, compose: Callable[..., DictConfig]) -> None:
    cfg = compose("train", *TINY, "model._target_=my_package.Logits", f"output_dir={tmp_path / 'run'}")
    run = TrainingRun(cfg)
    with pytest.raises(ConfigError, match="must return probabilities"):
        run.trainer.predict(run.model, dataloaders=run.data.val_dataloader())


def test_a_plain_network_and_a_setting_that_it_does_not_take_are_refused(compose: Callable[..., DictConfig]) -> None:
    with pytest.raises(ConfigError, match=r"my_package\.Plain is not a LightningModule"):
        check_config(compose("train", *TINY, "model._target_=my_package.Plain", "output_dir=x"))
    with pytest.raises(ConfigError, match=r"MyModel takes no model\.mixup"):
        check_config(compose("train", *TINY, "model.mixup=0.4", "output_dir=x"))
