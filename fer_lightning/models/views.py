"""Views at test time: each image is recognised several times, slightly changed, and the probabilities are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

Views = Literal["single", "flip", "ten_crop"]
# side of a crop, of the side of the image: 44 of 48 pixels. 40 is for networks that were trained on crops: on FER-2013's
# PublicTest it cost a small CNN that was trained on whole faces two points of accuracy
CROP = 11 / 12


def views_of(images: Any, views: Views) -> Iterator[Any]:
    """Yield the views of images uint8 `(B, C, H, W)`, an array or a tensor, each of the same shape and dtype.

    `single` is the images themselves, `flip` these and their mirror images, `ten_crop` the four corners, the centre,
    and the mirror images of all five (Krizhevsky et al., 2012). A crop keeps the scale that the network was trained on:
    it is moved to the centre, and what it lacks of the network's input is mirrored at its border, without repeating the
    outermost pixels, as augmentation does.
    """
    if views == "ten_crop":
        down, across = (_crops(side) for side in images.shape[-2:])
        places = [(row, column) for row in (0, 2) for column in (0, 2)] + [(1, 1)]
        crops = [images[..., down[row], :][..., across[column]] for row, column in places]
    else:
        crops = [images]
    mirrored = range(images.shape[-1] - 1, -1, -1)
    for crop in crops:
        yield crop
        if views != "single":
            yield crop[..., list(mirrored)]


def _crops(side: int) -> list[list[int]]:
    """Return the pixels of one axis that the first, the middle and the last crop show, `side` of them each."""
    length = round(CROP * side)
    before = (side - length) // 2
    shown = [abs(place - before) for place in range(side)]  # mirrored at the first pixel, and then at the last
    shown = [place if place < length else 2 * (length - 1) - place for place in shown]
    return [[first + place for place in shown] for first in (0, before, side - length)]


def average(recognize: Callable[[Any], Any], images: Any, views: Views) -> Any:
    """Return the mean over views of the probabilities float `(B, K)` that `recognize` gives for images."""
    probabilities = [recognize(view) for view in views_of(images, views)]
    return sum(probabilities) / len(probabilities)


@contextmanager
def averaging(model: Any, views: Views) -> Iterator[None]:
    """Let the `predict_step` of a LightningModule average over views, for a block.

    It takes batches `(images, labels, index)` and returns a dict with `probabilities`, as that of
    `ExpressionClassifier` does and `own_module.adapt` makes that of any other.
    """
    own, instance = model.predict_step, vars(model).get("predict_step")

    def predict_step(batch: Any, batch_idx: int) -> dict[str, Any]:
        def recognize(images: Any) -> Any:
            return own(batch._replace(images=images), batch_idx)["probabilities"]

        return {"index": batch.index, "probabilities": average(recognize, batch.images, views)}

    model.predict_step = predict_step
    try:
        yield
    finally:
        del model.predict_step
        if instance is not None:
            model.predict_step = instance
