"""Drawn faces: seeded, varied, too hard for a linear model; and the trees that tests and documentation use."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.datamodule import DRAWN_FACES, DRAWN_SIZES, ExpressionDataModule
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.synthetic.dataset import draw_faces, synthetic_table, write_tree
from fer_lightning.data.synthetic.face_parameters import EXPRESSIONS
from fer_lightning.data.synthetic.faces import draw_face
from fer_lightning.data.table.emotions import EMOTIONS, FER2013_CODES

LAYOUTS = {  # layout -> images of each class in train, validation, test
    "train_validation": (2, 2, 0),
    "train_test": (2, 0, 2),
    "official": (2, 2, 2),
    "nested": (2, 2, 0),
    "wrapped": (2, 2, 0),
    "flat": (0, 0, 0),
    "csv": (2, 2, 2),
    "icml": (2, 2, 2),
}


def test_every_expression_can_be_drawn() -> None:
    assert set(EXPRESSIONS) == set(EMOTIONS)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 48, 65])
def test_shape_and_type(size: int, channels: int) -> None:
    images = draw_faces(np.arange(7), image_size=size, channels=channels, seed=0)
    assert images.shape == (7, channels, size, size)
    assert images.dtype == np.uint8
    assert images.reshape(7, -1).std(axis=1).min() > 3  # something is to be seen on each


def test_a_face_depends_on_seed_label_and_position_alone() -> None:
    labels = np.array([3, 5, 0, 6])
    images = draw_faces(labels, image_size=32, channels=1, seed=7)
    np.testing.assert_array_equal(images, draw_faces(labels, image_size=32, channels=1, seed=7))
    np.testing.assert_array_equal(images[:2], draw_faces(labels[:2], image_size=32, channels=1, seed=7))
    others = labels.copy()
    others[1] = 2
    changed = (images != draw_faces(others, image_size=32, channels=1, seed=7)).any(axis=(1, 2, 3))
    assert changed.tolist() == [False, True, False, False]
    assert (images != draw_faces(labels, image_size=32, channels=1, seed=8)).any(axis=(1, 2, 3)).all()


def test_no_two_faces_are_alike() -> None:
    images = draw_faces(np.full(50, 3), image_size=24, channels=1, seed=0)
    assert len(np.unique(images.reshape(50, -1), axis=0)) == 50


def test_no_face_needs_more_draws_than_there_are() -> None:
    for seed in range(300):
        draw_face(EMOTIONS[seed % 7], np.random.default_rng(seed), 24)


@pytest.mark.parametrize(
    "wrong", [{"labels": [7]}, {"labels": [-1]}, {"image_size": 8}, {"channels": 2}, {"seed": -1}], ids=str
)
def test_wrong_arguments(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"label|draw"):
        draw_faces(**{"labels": [0], "image_size": 32, "channels": 1, "seed": 0} | wrong)


@pytest.mark.parametrize("size", [32, DRAWN_SIZES["image_size"]])
def test_linear_models_fail(size: int) -> None:
    """And yet learn something: chance is 14 %."""
    table, images = synthetic_table(DRAWN_FACES["train"], 350, 0, image_size=size, channels=1, seed=42)
    pixels, train = images.reshape(len(images), -1) / 255.0, table.splits == "train"
    models = [RidgeClassifier(alpha=100.0), make_pipeline(PCA(60, random_state=0), LogisticRegression(max_iter=200))]
    for model in models:
        score = model.fit(pixels[train], table.labels[train]).score(pixels[~train], table.labels[~train])
        assert 0.18 < score < 0.45, f"{model}: {score:.2f}"


def test_table() -> None:
    table, images = synthetic_table(30, 14, 7, image_size=24, channels=3, seed=1)
    assert images.shape == (51, 3, 24, 24)
    assert table.source == "synthetic"
    assert table.classes == EMOTIONS
    sizes = "30 train, 14 validation, 7 test images, 7 classes"
    assert table.explanation == f"drawn faces (synthetic), not photographs: {sizes}"
    assert [(table.splits == split).sum() for split in ("train", "validation", "test")] == [30, 14, 7]
    np.testing.assert_array_equal(table.rows, np.arange(51))
    assert np.ptp(np.bincount(table.labels[table.splits == "train"])) <= 1
    assert len(set(table.paths)) == 51
    assert table.paths[31] == "validation/disgust/1"


def test_splits_do_not_depend_on_each_other() -> None:
    _, small = synthetic_table(7, 7, 7, image_size=24, channels=1, seed=1)
    _, large = synthetic_table(21, 7, 14, image_size=24, channels=1, seed=1)
    np.testing.assert_array_equal(small[:7], large[:7])
    np.testing.assert_array_equal(small[7:14], large[21:28])
    np.testing.assert_array_equal(small[14:], large[28:35])
    assert (small[:7] != small[7:14]).any(axis=(1, 2, 3)).all()


def test_some_classes_of_drawn_faces_are_those_among_all() -> None:
    sizes = {"train": 14, "validation": 7, "test": 7}
    data = ExpressionDataModule(synthetic=sizes, image_size=24, seed=3, classes=("happy", "sad"))
    data.setup()
    assert data.classes == ("happy", "sad")
    table, images = synthetic_table(14, 7, 7, image_size=24, channels=1, seed=3)
    happy, sad = (np.flatnonzero(table.labels == EMOTIONS.index(name)) for name in data.classes)
    np.testing.assert_array_equal(data.images(np.flatnonzero(data.table.labels == 0)), images[happy])
    np.testing.assert_array_equal(data.images(np.flatnonzero(data.table.labels == 1)), images[sad])
    with pytest.raises(ConfigError, match=r"data\.classes.*bored"):
        ExpressionDataModule(synthetic=sizes, image_size=24, classes=("happy", "bored")).setup()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_trees_are_read_as_what_they_are(tmp_path: Path, layout: str) -> None:
    write_tree(tmp_path, layout=layout, per_class=2, image_size=24)
    table = read_layout(tmp_path)
    counts = tuple(int((table.splits == split).sum()) for split in ("train", "validation", "test"))
    assert counts == tuple(7 * count for count in LAYOUTS[layout])
    assert table.classes == EMOTIONS
    assert np.ptp(np.bincount(table.labels)) == 0
    assert len(table.labels) == max(14, sum(counts))


def test_csv_carries_the_pixels_of_the_folders(tmp_path: Path) -> None:
    write_tree(tmp_path / "csv", layout="csv", per_class=1, image_size=24)
    write_tree(tmp_path / "folders", layout="official", per_class=1, image_size=24)
    with (tmp_path / "csv/fer2013.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 21
    assert [row["Usage"] for row in rows[::7]] == ["Training", "PublicTest", "PrivateTest"]
    for number, row in enumerate(rows[7:14]):
        folder = FER2013_CODES[int(row["emotion"])]
        stored = cv2.imread(str(tmp_path / f"folders/test/{folder}/PublicTest_{number}.png"), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(np.fromstring(row["pixels"], dtype=int, sep=" ").reshape(24, 24), stored)


def test_unknown_layout(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train_validation"):
        write_tree(tmp_path, layout="trian_test", per_class=1)
    assert not list(tmp_path.iterdir())
