"""Drawn faces: a data set that needs no download, and small trees in every layout for tests and documentation.

The faces are easy for people, hard for a linear model on pixels (position, rotation, skin, hair and light vary) and
learnt by a small convolutional network within a minute. A score on them only shows that the program works.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from fer_lightning.data.synthetic.face_parameters import RandomStream
from fer_lightning.data.synthetic.faces import draw_face
from fer_lightning.data.table.columns import CategoricalColumn, PathColumn
from fer_lightning.data.table.emotions import EMOTIONS, FER2013_CODES
from fer_lightning.data.table.image_table import SPLITS, ImageTable

_USAGE = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}

# Paths of split -> image, without suffix; {name} and {Name} are the class, {n} counts the images of a split.
_TREES: dict[str, dict[str, Sequence[str]]] = {
    "train_validation": {"train": ["train/{name}/{n}"], "validation": ["validation/{name}/{n}"]},
    "train_test": {"train": ["train/{name}/im{n}"], "test": ["test/{name}/im{n}"]},
    "official": {
        "train": ["train/{name}/Training_{n}"],
        "validation": ["test/{name}/PublicTest_{n}"],
        "test": ["test/{name}/PrivateTest_{n}"],
    },
    "nested": {
        "train": ["images/train/{name}/{n}", "images/images/train/{name}/{n}"],
        "validation": ["images/validation/{name}/{n}", "images/images/validation/{name}/{n}"],
    },
    "wrapped": {"train": ["archive/train/{name}/{n}"], "validation": ["archive/validation/{name}/{n}"]},
    "flat": {"train": ["{Name}/{name}_{n}"]},
}
_TABLES = {  # file, header as in the download, and which of the three values each column holds
    "csv": ("fer2013.csv", ("emotion", "pixels", "Usage"), (0, 1, 2)),
    "icml": ("icml_face_data.csv", ("emotion", " Usage", " pixels"), (0, 2, 1)),
}


def draw_faces(labels: np.ndarray, *, image_size: int, channels: int, seed: int) -> np.ndarray:
    """Draw one face per label, indices (N,) into `EMOTIONS`: (N, C, H, W), uint8.

    Each is a function of its label, its position and `seed` (0 or more) alone. `image_size` is 16 pixels or more;
    `channels` is 1 for grey, or 3 for the same pictures in RGB.

    Raises:
        ValueError: an argument is out of range.
    """
    labels = np.asarray(labels)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(EMOTIONS):
        raise ValueError(f"labels must lie in 0..{len(EMOTIONS) - 1}, got {labels.min()}..{labels.max()}")
    if image_size < 16 or channels not in (1, 3) or seed < 0:
        raise ValueError(f"cannot draw image_size={image_size} (>= 16), channels={channels} (1, 3), seed={seed} (>= 0)")
    images = np.empty((len(labels), image_size, image_size, channels), dtype=np.uint8)
    for position, label in enumerate(labels.tolist()):
        rng = np.random.Generator(np.random.Philox(key=(seed, position)))
        picture = draw_face(EMOTIONS[label], rng, 2 * image_size)  # drawn large and shrunk, to keep fine lines
        picture = cv2.resize(picture, (image_size, image_size), interpolation=cv2.INTER_AREA)
        if channels == 1:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
        images[position] = _photograph(picture, rng)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _photograph(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur a picture (H, W, C) uint8, light it from one side and add noise, as a poor camera would."""
    stream, side = RandomStream(rng, 8), len(picture)
    sigma = stream.between(0.0, 0.8) * side / 48
    if sigma > 0.3 * side / 48:  # less is invisible
        picture = cv2.GaussianBlur(picture, (0, 0), sigma).reshape(picture.shape)
    slope = stream.between(0.0, 0.5) * np.exp(2j * np.pi * stream.between(0.0, 1.0))
    ramp = np.linspace(-1.0, 1.0, side, dtype=np.float32)
    gain = stream.between(0.7, 1.15) * (1.0 + float(slope.real) * ramp[:, None] + float(slope.imag) * ramp)
    noise = stream.between(1.0, 7.0) * rng.standard_normal((side, side, 1), dtype=np.float32)
    return np.clip(picture * gain[..., None] + (noise + stream.between(-15.0, 15.0)), 0.0, 255.0).astype(np.uint8)


def synthetic_table(
    train: int, validation: int, test: int, *, image_size: int, channels: int, seed: int
) -> tuple[ImageTable, np.ndarray]:
    """Draw a data set with equally frequent classes: its table, and images (N, C, H, W), uint8, in the table's order.

    A split's faces do not depend on the sizes of the others, and a larger split begins with the faces of a smaller one.
    """
    counts = dict(zip(SPLITS, (train, validation, test), strict=True))
    labels = {split: np.arange(count, dtype=np.int64) % len(EMOTIONS) for split, count in counts.items()}
    sizes = {"image_size": image_size, "channels": channels}
    images = [draw_faces(own, seed=_split_seed(seed, split), **sizes) for split, own in labels.items()]
    paths = (f"{split}/{EMOTIONS[label]}/{n}" for split, own in labels.items() for n, label in enumerate(own.tolist()))
    drawn = ", ".join(f"{count:,} {split}" for split, count in counts.items() if count)
    table = ImageTable(
        root=Path("drawn-faces"),
        source="synthetic",
        paths=PathColumn.of(paths),
        labels=np.concatenate(list(labels.values())),
        splits=CategoricalColumn.of(np.repeat(SPLITS, list(counts.values())), (*SPLITS, "")),
        classes=EMOTIONS,
        explanation=f"drawn faces (synthetic), not photographs: {drawn} images, {len(EMOTIONS)} classes",
        rows=np.arange(sum(counts.values()), dtype=np.int64),
    )
    return table, np.concatenate(images)


def write_tree(dest: Path, *, layout: str, per_class: int, image_size: int = 48) -> None:
    """Write drawn faces, `per_class` of each class in each split, in one of the layouts that users download.

    They are `train_validation`, `train_test`, `official` (split in the file names), `nested` (with a second copy
    inside), `wrapped` (one folder too high), `flat` (no splits), `csv` (fer2013.csv) and `icml` (icml_face_data.csv).

    Raises:
        ValueError: no such layout.
    """
    if layout in _TABLES:
        name, header, order = _TABLES[layout]
        dest.mkdir(parents=True, exist_ok=True)
        with (dest / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for split, emotion, _, image in _faces(SPLITS, per_class, image_size):
                row = (FER2013_CODES.index(emotion), " ".join(map(str, image.ravel())), _USAGE[split])
                writer.writerow([row[column] for column in order])
        return
    if layout not in _TREES:
        raise ValueError(f"unknown layout {layout!r}; one of {', '.join([*_TREES, *_TABLES])}")
    for split, emotion, number, image in _faces(_TREES[layout], per_class, image_size):
        encoded = cv2.imencode(".png", image)[1].tobytes()
        for pattern in _TREES[layout][split]:
            path = dest / f"{pattern.format(name=emotion, Name=emotion.capitalize(), n=number)}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)


def _faces(splits: Iterable[str], per_class: int, image_size: int) -> Iterator[tuple[str, str, int, np.ndarray]]:
    labels = np.arange(per_class * len(EMOTIONS)) % len(EMOTIONS)
    for split in splits:
        images = draw_faces(labels, image_size=image_size, channels=1, seed=_split_seed(0, split))
        for number, (label, image) in enumerate(zip(labels, images, strict=True)):
            yield split, EMOTIONS[label], number, image[0]


def _split_seed(seed: int, split: str) -> int:
    return int(np.random.SeedSequence([seed, SPLITS.index(split)]).generate_state(1, np.uint64)[0])
