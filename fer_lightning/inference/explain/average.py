"""Where a model looks on average, for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fer_lightning.inference.explain.heat_maps import Method, heat_maps
from fer_lightning.inference.explain.regions import PARTS, shares
from fer_lightning.inference.recognizer import Recognizer

BATCH = 32  # images that are read and explained at once


class Images(Protocol):
    """Reads the images of rows, uint8 `(n, C, S, S)`."""

    def __call__(self, rows: np.ndarray, /) -> np.ndarray: ...


@dataclass(frozen=True)
class ClassMap:
    """The average over images of one class that the model predicted right.

    Attributes:
        name: of the class.
        images: how many were averaged; those whose map is empty are left out.
        face: their mean, uint8 `(C, S, S)`.
        heat_map: their mean, float64 `(S, S)` that sums to 1, each image having the same weight; 0 without images.
        shares: of the map in each of `regions.PARTS`, float64 `(6,)`; NaN without images.
    """

    name: str
    images: int
    face: np.ndarray
    heat_map: np.ndarray
    shares: np.ndarray


def average_maps(
    recognizer: Recognizer, images: Images, labels: np.ndarray, *, method: Method, per_class: int, seed: int = 0
) -> Iterator[ClassMap]:
    """Yield the average of each class of the model; memory does not grow with the number of images.

    Mistakes are left out: their maps show what misled the model, and not what it knows of the class.

    Args:
        recognizer: the model.
        images: reads the images of some rows.
        labels: int `(n,)`, the true class of each row, a position in `recognizer.classes`; -1 for none of them.
        method: see `heat_maps`.
        per_class: images of each class at most, drawn at random.
        seed: of the draw.
    """
    random = np.random.default_rng(seed)
    for k, name in enumerate(recognizer.classes):
        rows = random.permutation(np.flatnonzero(labels == k))
        yield _average(recognizer, images, rows, k, name, method=method, most=per_class)


def _average(
    recognizer: Recognizer, images: Images, rows: np.ndarray, k: int, name: str, *, method: Method, most: int
) -> ClassMap:
    side, channels = recognizer.image_size, recognizer.channels
    count, heat_map, face = 0, np.zeros((side, side)), np.zeros((channels, side, side))
    for start in range(0, len(rows), BATCH):
        faces = images(rows[start : start + BATCH])
        faces = faces[recognizer(faces).argmax(axis=1) == k][: most - count]
        maps = heat_maps(recognizer, faces, method, np.full(len(faces), k)).astype(np.float64)
        total = maps.sum(axis=(1, 2))
        maps, faces = maps[total > 0] / total[total > 0, None, None], faces[total > 0]
        count, heat_map, face = count + len(maps), heat_map + maps.sum(axis=0), face + faces.sum(axis=0)
        if count >= most:
            break
    heat_map, face = heat_map / max(count, 1), face / max(count, 1)
    return ClassMap(name, count, face.round().astype(np.uint8), heat_map, shares(heat_map[None])[0])


def as_rows(maps: Sequence[ClassMap]) -> dict[str, dict[str, float | None]]:
    """Return the number of images and the shares of each class by name; None for shares that are not known."""
    return {each.name: {"images": each.images, **dict(zip(PARTS, _known(each), strict=True))} for each in maps}


def _known(each: ClassMap) -> list[float | None]:
    return [round(float(share), 4) for share in each.shares] if each.images else [None] * len(PARTS)
