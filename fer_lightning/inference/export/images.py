"""The images that an exported model is compared on, calibrated and scored with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from omegaconf import DictConfig

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.inference.export.trained import Trained
from fer_lightning.training.evaluate_checkpoint import Evaluation

COMPARED = 128  # images: both models run on one core, perhaps large ones
SMALLEST = 16  # pixels a side of a drawn face


@dataclass(frozen=True)
class Images:
    """Faces uint8 `(n, C, S, S)`, and what they are."""

    faces: np.ndarray
    what: str


def stand_ins(image_size: int, channels: int) -> Images:
    """Return drawn faces, and a quarter of noise, for a checkpoint whose data are not at hand."""
    from fer_lightning.data.synthetic.dataset import draw_faces  # brings OpenCV

    noisy = COMPARED // 4
    side = max(image_size, SMALLEST)
    faces = draw_faces(np.arange(COMPARED - noisy) % 7, image_size=side, channels=channels, seed=0)
    noise = np.random.default_rng(0).integers(0, 256, (noisy, channels, image_size, image_size), dtype=np.uint8)
    what = f"{len(faces)} drawn faces and {noisy} images of noise; data.root=PATH takes real ones"
    return Images(np.concatenate([faces[..., :image_size, :image_size], noise]), what)


@dataclass(frozen=True)
class Labelled:
    """Some rows of data, read when asked for.

    Attributes:
        data: set up.
        rows: int64 `(n,)`, of `data.table`.
        split: that they are of.
        outputs: int64, the output of the model for each class of the data.
    """

    data: ExpressionDataModule
    rows: np.ndarray
    split: str
    outputs: np.ndarray

    def __str__(self) -> str:
        return count_images(len(self.rows), self.split)

    def spread(self, count: int) -> Labelled:
        """Return at most `count` of them, evenly spread: images of a class lie together."""
        positions = np.unique(np.linspace(0, len(self.rows) - 1, count).astype(int))
        return replace(self, rows=self.rows[positions])

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield faces uint8 `(B, C, S, S)` and the outputs that are right, int64 `(B,)`."""
        for begin in range(0, len(self.rows), size):
            rows = self.rows[begin : begin + size]
            yield self.data.images(rows), self.outputs[self.data.table.labels[rows]]


@dataclass(frozen=True)
class Splits:
    """The data that a checkpoint was trained on, or others with its classes."""

    data: ExpressionDataModule
    evaluation: Evaluation

    @classmethod
    def find(cls, cfg: DictConfig, trained: Trained) -> Splits | None:
        """Return `cfg.data`, or the faces that were drawn for the training; None where neither is at hand.

        Raises:
            UserError: `cfg.data` are named and cannot be used.
        """
        drawn = str(trained.original.fingerprint).startswith("drawn-")
        if not drawn and cfg.data.root is None and cfg.data.layout == "auto":
            return None
        evaluation = Evaluation.prepare(cfg)
        data = evaluation.open_data()
        evaluation.check_classes(data)
        return cls(data, evaluation)

    def to_compare(self, split: str) -> Images:
        """Return some images of a split."""
        some = self.of(split).spread(COMPARED)
        return Images(self.data.images(some.rows), f"{some} ({self.data.notes[0]})")

    def to_calibrate(self, split: str, count: int) -> Labelled:
        """Return some training images, or where there are none, images of another split."""
        return self.of("train" if len(self.data.rows("train")) > 0 else split).spread(count)

    def of(self, split: str) -> Labelled:
        """Return the images of a split; of other data than the checkpoint's, but for those it was trained on.

        Raises:
            DataError: there is none.
        """
        split = self.data.report_split if split == "auto" else split
        rows, checkpoint = self.data.rows(split), self.evaluation.checkpoint
        seen, same = self.evaluation.seen, checkpoint.data_facts["fingerprint"] == self.data.facts()["fingerprint"]
        if seen is not None and not same and split != "train":
            rows = rows[seen.roles(self.data.identities(rows)) != "train"]
        if len(rows) == 0:
            raise DataError(f"the data has no {split} images that the network was not trained on: type split=all")
        classes = list(checkpoint.hyper_parameters["classes"])
        return Labelled(self.data, rows, split, np.array([classes.index(name) for name in self.data.classes]))
