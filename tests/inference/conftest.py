"""A small network that was really trained, and a photograph, for everything that uses models."""

from __future__ import annotations

import warnings
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from fer_lightning.data.loading.dataset import Batch
from fer_lightning.data.synthetic.dataset import draw_faces
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.models.classifier import ExpressionClassifier

SIDE = 24


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the small CNN, trained for a second on drawn faces: seven classes, 24 px, grey."""
    labels = np.arange(140) % len(EMOTIONS)
    images = torch.from_numpy(draw_faces(labels, image_size=SIDE, channels=1, seed=0))
    batches = zip(images.split(28), torch.from_numpy(labels).split(28), torch.arange(140).split(28), strict=True)
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning: no validation, few workers
        torch.manual_seed(0)
        facts = {"fingerprint": "f00d"}
        model = ExpressionClassifier("small_cnn", EMOTIONS, image_size=SIDE, channels=1, data_facts=facts)
        off = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
        trainer = pl.Trainer(accelerator="cpu", max_epochs=2, **off)  # type: ignore[arg-type]
        trainer.fit(model, DataLoader([Batch(*batch) for batch in batches], batch_size=None))
    path = tmp_path_factory.mktemp("trained") / "best.ckpt"
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="session")
def portrait() -> np.ndarray:
    """A photograph with one face, uint8 (512, 512, 3) RGB: NASA's portrait of Eileen Collins."""
    return np.asarray(pytest.importorskip("skimage.data").astronaut())


@pytest.fixture
def portrait_file(portrait: np.ndarray, tmp_path: Path) -> Path:
    """The same photograph as a JPEG."""
    path = tmp_path / "portrait.jpg"
    Image.fromarray(portrait).save(path)
    return path
