"""Views at test time: each image is recognised several times, slightly changed, and the probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

Views = Literal["single", "flip", "ten_crop"]
# side of a crop, of the side of the image: 44 of 48 pixels. 40 is for networks that were trained on crops: on
# FER-2013's PublicTest it cost a small CNN that was trained on whole faces more than a point of accuracy
CROP = 11 / 12


def in_words(scores: Mapping[str, Any]) -> str:
    """Return what to say behind a score of the views it is the mean of: nothing for a single one.

    >>> in_words({"views": "flip"}), in_words({})
    (' with views=flip', '')
    """
    views = scores.get("views", "single")
    return "" if views == "single" else f" with views={views}"


def views_of(images: np.ndarray, views: Views) -> Iterator[np.ndarray]:
    """Yield the views of images uint8 `(B, C, H, W)`, each of the same shape and dtype.

    `single` is the images themselves, `flip` these and their mirror images, `ten_crop` the four corners, the centre,
    and the mirror images of all five (Krizhevsky et al., 2012), bilinearly resized to the images' size, which every
    network takes.
    """
    crops = _five_crops(images) if views == "ten_crop" else [images]
    for crop in crops:
        yield crop
        if views != "single":
            yield np.ascontiguousarray(crop[..., ::-1])


def _five_crops(images: np.ndarray) -> Iterator[np.ndarray]:
    down, across = (_resizing(side) for side in images.shape[-2:])
    for row, column in ((0, 0), (0, 2), (2, 0), (2, 2), (1, 1)):
        resized = down[row] @ images.astype(np.float32) @ across[column].T
        yield resized.round().astype(np.uint8)


def _resizing(side: int) -> list[np.ndarray]:
    """Return matrices float32 `(side, side)` that resize the first, the middle and the last crop of one axis."""
    length = round(CROP * side)
    pixels = np.arange(side, dtype=np.float32)
    places = ((pixels + 0.5) * (length / side) - 0.5).clip(0, length - 1)[:, None]
    starts = (0, (side - length) // 2, side - length)
    return [np.maximum(0, 1 - np.abs(start + places - pixels)).astype(np.float32) for start in starts]


def average(recognize: Callable[[np.ndarray], Any], images: np.ndarray, views: Views) -> Any:
    """Return the mean over views of the probabilities float `(B, K)` that `recognize` gives for images."""
    probabilities = [recognize(view) for view in views_of(images, views)]
    return sum(probabilities) / len(probabilities)


@contextmanager
def averaging(model: Any, views: Views) -> Iterator[None]:
    """Let the `predict_step` of a LightningModule average over views, for a block.

    It takes batches `(images, labels, index)` and returns a dict with `probabilities`, as that of
    `ExpressionClassifier` does and `own_module.adapt` makes that of any other.
    """
    if views == "single":
        yield
        return
    import torch  # only here, because an ONNX file needs none

    own, instance = model.predict_step, vars(model).get("predict_step")

    def predict_step(batch: Any, batch_idx: int) -> dict[str, Any]:
        def recognize(view: np.ndarray) -> Any:
            images = torch.from_numpy(view).to(batch.images.device)
            return own(batch._replace(images=images), batch_idx)["probabilities"]

        return {"index": batch.index, "probabilities": average(recognize, batch.images.cpu().numpy(), views)}

    model.predict_step = predict_step
    try:
        yield
    finally:
        del model.predict_step
        if instance is not None:
            model.predict_step = instance
