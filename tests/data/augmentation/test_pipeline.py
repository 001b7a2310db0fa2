"""`augmentation.json`: Albumentations reads it, and draws from it what the configuration says and the engine draws.

`test_engines_agree` compares the other engine with that one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fer_lightning.config.compose import conf_dir
from fer_lightning.data.augmentation import pipeline
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.pipeline import as_json
from fer_lightning.data.augmentation.spec import Augmentation

STRENGTHS = sorted(path.stem for path in (conf_dir() / "augmentation").glob("*.yaml"))
EXTRA: list[dict[str, Any]] = [
    {"name": "GaussNoise", "std_range": [0.02, 0.1], "p": 0.3},
    {"name": "OneOf", "transforms": [{"name": "Blur", "blur_limit": 3, "p": 1.0}, {"name": "CLAHE"}], "p": 0.5},
]


def configured(strength: str) -> Augmentation:
    spec: Augmentation = instantiate(OmegaConf.load(conf_dir() / "augmentation" / f"{strength}.yaml"))
    return spec


def loaded(spec: Augmentation, folder: Path) -> A.Compose:
    (folder / "augmentation.json").write_text(as_json(spec))
    return A.load(folder / "augmentation.json")


def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 48, 1), dtype=np.uint8)


def draw(compose: A.Compose, images: np.ndarray) -> np.ndarray:
    compose.set_random_seed(7)
    return np.stack([compose(image=image)["image"] for image in images])


@pytest.mark.parametrize("spec", [*map(configured, STRENGTHS), Augmentation(flip=0.5, extra=EXTRA, erase=0.5)])
def test_albumentations_reads_what_the_engine_is_built_from(spec: Augmentation, tmp_path: Path) -> None:
    ours, engine = loaded(spec, tmp_path), AlbumentationsEngine(spec, seed=0)
    own = engine.compose_of(epoch=0, row=0)
    if own is None:
        assert len(ours.transforms) == 0
        return
    assert [one.to_dict() for one in ours.transforms] == [one.to_dict() for one in own.transforms]
    images = faces()
    drawn = draw(ours, images)
    np.testing.assert_array_equal(drawn, draw(own, images))
    assert (drawn != images).any()


def test_its_numbers_are_those_of_the_configuration(tmp_path: Path) -> None:
    flip, affine, light, erase = loaded(configured("standard"), tmp_path).transforms
    assert flip.p == 0.5
    assert (affine.p, affine.rotate, affine.scale["x"]) == (0.8, (-15, 15), (0.88, 1.12))
    assert affine.translate_percent == {"x": (-0.1, 0.1), "y": (-0.1, 0.1)}
    assert (affine.interpolation, affine.border_mode) == (cv2.INTER_LINEAR, cv2.BORDER_REFLECT_101)
    assert (light.p, light.brightness, light.contrast) == (0.5, (0.8, 1.2), (0.8, 1.2))
    assert (erase.p, erase.scale, erase.ratio) == (0.25, (0.02, 0.2), (0.5, 2.0))


def test_the_version_is_the_one_installed() -> None:
    assert A.__version__ == pipeline.VERSION


def test_nothing_is_imported_for_it() -> None:
    program = (
        "import sys; from fer_lightning.data.augmentation.pipeline import as_json; "
        "from fer_lightning.data.augmentation.spec import Augmentation; as_json(Augmentation(flip=0.5, erase=0.1)); "
        "print('albumentations' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("engine", "text"),
    [
        (BatchedEngine(Augmentation(flip=0.5), 0), "whole batches at once (data.engine=batched)"),
        (BatchedEngine(Augmentation(), 0), "augmentation: none"),
        (AlbumentationsEngine(Augmentation(flip=0.5), 0), "Albumentations, for data.engine=albumentations"),
        (AlbumentationsEngine(Augmentation(extra=EXTRA), 0), "Albumentations, for augmentation.extra"),
    ],
)
def test_an_engine_says_what_it_is_and_why(engine: Any, text: str) -> None:
    assert text in engine.summary


def test_the_file_is_plain_json() -> None:
    content = json.loads(as_json(Augmentation(flip=0.25)))
    assert content["transform"]["transforms"] == [{"__class_fullname__": "HorizontalFlip", "p": 0.25}]
