"""The predictions table: what lies between a model and everything that judges it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd


class Column(Protocol):
    """Names, one a row."""

    def __getitem__(self, rows: np.ndarray, /) -> Any: ...


class LabelledImages(Protocol):
    """What the table needs to know of the data: names, splits and labels, a row an image."""

    @property
    def paths(self) -> Column: ...

    @property
    def splits(self) -> Column: ...

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def classes(self) -> tuple[str, ...]: ...


def predictions_table(
    images: LabelledImages, index: np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the table `path, split, label, predicted` and one probability column a class.

    Args:
        images: what was predicted; its classes may be fewer than the model's.
        index: int64 `(n,)`, rows of `images`.
        probabilities: float `(n, K)`, rows summing to 1.
        classes: names of the K outputs.
    """
    names, outputs = np.asarray(images.classes, dtype=object), np.asarray(classes, dtype=object)
    columns = {
        "path": np.asarray(images.paths[index]),
        "split": np.asarray(images.splits[index]),
        "label": names[images.labels[index]],
        "predicted": outputs[probabilities.argmax(axis=1)],
    }
    return pd.DataFrame(columns).join(pd.DataFrame(probabilities, columns=list(classes)))
