"""torch.compile changes how the backbone runs, and neither what it gives nor what a checkpoint needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from fer_lightning.data.loading.dataset import Batch
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier

CLASSES = ["angry", "happy", "sad"]
TINY = {"image_size": 16, "backbone_kwargs": {"widths": [4]}}
needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "c++", "clang++")),
    reason="needs a C++ compiler",
)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What other tests compiled is forgotten, and what this one does."""
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def classifier(compile: str | None) -> ExpressionClassifier:
    torch.manual_seed(0)
    return ExpressionClassifier("small_cnn", CLASSES, compile=compile, **TINY)  # type: ignore[arg-type]


def batch(count: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, 1, 16, 16), dtype=torch.uint8, generator=draw)
    return Batch(images, torch.arange(count) % 3, torch.arange(count))


def fit(model: ExpressionClassifier) -> pl.Trainer:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", devices=1, enable_checkpointing=False, **quiet)
    trainer.fit(model, DataLoader([batch(), batch()], batch_size=None))
    return trainer


@pytest.mark.slow
@needs_compiler
def test_a_compiled_network_gives_the_same_and_learns() -> None:
    plain, compiled = classifier(None), classifier("default")
    assert list(plain.state_dict()) == list(compiled.state_dict())
    counters = torch._dynamo.utils.counters
    counters.clear()
    images = batch().images
    torch.testing.assert_close(compiled.eval()(images), plain.eval()(images))
    assert counters["stats"]["unique_graphs"] == 1, "it was not compiled"
    assert counters["inductor"], "nothing was generated"
    for model in (plain, compiled):
        fit(model)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, msg=name, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@needs_compiler
def test_a_checkpoint_of_a_compiled_network_is_loaded_without_compiling(tmp_path: Path) -> None:
    model = classifier("default")
    trainer = fit(model)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    assert model.hparams.compile == "default"  # for the record
    torch.compiler.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    again = Checkpoint.read(tmp_path / "model.ckpt").build()
    logits = again(batch().images)
    assert not counters["stats"]
    torch.testing.assert_close(logits, model.eval()(batch().images))


WITHOUT_COMPILER = """
import torch
from fer_lightning.core.errors import ConfigError
from fer_lightning.models.classifier import ExpressionClassifier

model = ExpressionClassifier(
    "small_cnn", ["sad", "happy"], image_size=16, backbone_kwargs={"widths": [4]}, compile="default"
)
try:
    model.eval()(torch.zeros(2, 1, 16, 16, dtype=torch.uint8))
except ConfigError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_machine_without_a_compiler_is_told_what_to_type(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", WITHOUT_COMPILER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.startswith("model.compile=default: small_cnn cannot be compiled here (")
    assert "install a C++ compiler if that is what is missing, or type model.compile=null" in done.stdout
    assert len(done.stdout.strip()) < 600


def test_nothing_is_compiled_unless_asked_for() -> None:
    counters = torch._dynamo.utils.counters
    counters.clear()
    classifier(None)(batch().images)
    assert not counters["stats"]
