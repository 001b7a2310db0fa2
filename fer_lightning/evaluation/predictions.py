"""Make a predictions table, the interface between models and everything that scores them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd


class LabelledImages(Protocol):
    """What the table needs to know of the data: names, splits and labels, one row per image."""

    @property
    def paths(self) -> Any: ...  # arrays of names, or columns that can be indexed like them
    @property
    def splits(self) -> Any: ...
    @property
    def labels(self) -> np.ndarray: ...
    @property
    def classes(self) -> tuple[str, ...]: ...


def predictions_table(
    images: LabelledImages,
    index: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    seen: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return the table `path, split, label, predicted`, `seen` if it is known, and one probability column per class.

    Args:
        images: what was predicted; its classes may be fewer than the model's.
        index: int64 `(n,)`, rows of `images`.
        probabilities: float `(n, K)`, rows summing to 1.
        classes: names of the K outputs.
        seen: str `(n,)`: `train` or `validation` where the network was trained on or chosen by the same pixels.
    """
    names, outputs = np.asarray(images.classes, dtype=object), np.asarray(classes, dtype=object)
    columns = {
        "path": np.asarray(images.paths[index]),
        "split": np.asarray(images.splits[index]),
        "label": names[images.labels[index]],
        "predicted": outputs[probabilities.argmax(axis=1)],
    }
    if seen is not None:
        columns["seen"] = seen
    return pd.DataFrame(columns).join(pd.DataFrame(probabilities, columns=list(classes)))
