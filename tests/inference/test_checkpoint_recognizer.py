"""Checkpoints of every kind that can be evaluated give the same probabilities here."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from fer_lightning.core.errors import CheckpointError
from fer_lightning.inference.predictor import Predictor
from fer_lightning.inference.recognizer import load_recognizer
from fer_lightning.training.run import train

LEGACY = Path(__file__).parents[1] / "legacy" / "data" / "train" / "checkpoints" / "best.ckpt"
README = Path(__file__).parents[2] / "README.md"
TINY = ("data.image_size=16", "data.batch_size=7", "trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=1")


def test_a_file_gets_the_probabilities_that_the_run_was_scored_by(
    tmp_path: Path, kaggle_tree: Path, compose: Callable[..., DictConfig]
) -> None:
    small = ("data.channels=3", "model.input_size=24", f"data.root={kaggle_tree}")
    train(compose("train", *TINY, *small, f"output_dir={tmp_path / 'run'}"))
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    predictor = Predictor.load(tmp_path / "run" / "checkpoints" / "best.ckpt", faces="whole", batch_size=5)
    files = [kaggle_tree / "images" / path for path in table["path"]]
    found = predictor(files)
    probabilities = pd.DataFrame([face.probabilities for (face,) in found])
    assert probabilities.shape == (14, 7)
    np.testing.assert_allclose(probabilities, table[[*probabilities]], rtol=0, atol=1e-6)
    assert [face.label for (face,) in found] == table["predicted"].tolist()
    alone = [predictor(file)[0][0].probabilities for file in files]
    np.testing.assert_allclose(pd.DataFrame(alone), probabilities, rtol=0, atol=1e-6)


def test_a_checkpoint_of_version_0_1_is_used() -> None:
    recognizer = load_recognizer(LEGACY, threads=1)
    assert (recognizer.image_size, recognizer.channels, len(recognizer.classes)) == (16, 1, 7)
    faces = np.zeros((3, 1, 16, 16), dtype=np.uint8)
    np.testing.assert_allclose(recognizer(faces).sum(axis=1), 1, rtol=1e-6)
    assert recognizer(faces[:0]).shape == (0, 7)


def test_a_module_of_the_users_own_is_used_if_it_is_allowed(
    tmp_path: Path, compose: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = re.search(r"```python\n(# my_package\.py\n.*?)```", README.read_text(encoding="utf-8"), flags=re.S)
    assert shown is not None
    (tmp_path / "my_package.py").write_text(shown[1])
    monkeypatch.syspath_prepend(tmp_path)
    own = ("model._target_=my_package.MyModel", "+model.width=4", "security.allow=[my_package]")
    tiny = (*TINY, "data.synthetic={train: 14, validation: 7, test: 7}")
    train(compose("train", *tiny, *own, f"output_dir={tmp_path / 'run'}"))
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    sys.modules.pop("my_package")
    with pytest.raises(CheckpointError, match=r"type security\.allow=\[my_package\]"):
        Predictor.load(best)
    assert "my_package" not in sys.modules, "a checkpoint imports nothing"
    predictor = Predictor.load(best, allow=["my_package"])
    sys.modules.pop("my_package")
    faces = predictor(np.zeros((3, 16, 16, 1), np.uint8))
    assert [sum(face.probabilities.values()) for (face,) in faces] == pytest.approx([1, 1, 1])
    assert predictor.recognizer(np.zeros((0, 1, 16, 16), np.uint8)).shape == (0, 7)


def test_no_checkpoint_is_said_so(tmp_path: Path) -> None:
    for name, data in (("empty.ckpt", b""), ("text.ckpt", b"hello"), ("photo.ckpt", b"\xff\xd8\xff")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_recognizer(tmp_path / name)
