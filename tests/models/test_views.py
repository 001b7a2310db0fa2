"""The views of an image at test time, against torchvision and NumPy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms import functional as F

from fer_lightning.models.views import average, averaging, views_of


def _images(side: int, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (3, channels, side, side), dtype=torch.uint8, generator=generator)


def test_one_view_is_the_image_itself() -> None:
    images = _images(48).numpy()
    (view,) = views_of(images, "single")
    assert view is images


def test_flip_adds_the_mirror_image() -> None:
    images = _images(48, 3)
    itself, mirrored = views_of(images.numpy(), "flip")
    np.testing.assert_array_equal(itself, images)
    np.testing.assert_array_equal(mirrored, F.hflip(images))


@pytest.mark.parametrize(("side", "channels"), [(24, 1), (48, 3)])
def test_ten_crops_are_torchvisions_resized(side: int, channels: int) -> None:
    images = _images(side, channels)
    expected = [
        interpolate(crop.float(), size=(side, side), mode="bilinear") for crop in F.ten_crop(images, side * 11 // 12)
    ]
    found = [*views_of(images.numpy(), "ten_crop")]
    order = [0, 2, 4, 6, 8, 3, 1, 7, 5, 9]  # torchvision's last five are the crops of the mirror image
    assert len(found) == 10
    for place, view in zip(order, expected, strict=True):
        assert (found[place].shape, found[place].dtype) == (images.shape, np.uint8)
        np.testing.assert_allclose(found[place], view, atol=0.51)  # rounded


def test_no_image_has_no_views() -> None:
    empty = np.zeros((0, 1, 48, 48), np.uint8)
    assert average(lambda images: np.zeros((len(images), 7)), empty, "ten_crop").shape == (0, 7)


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]


class Model:
    """Says how bright the left half and the right half are."""

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        left, right = (half.double().mean(dim=(1, 2, 3)) for half in batch.images.chunk(2, dim=-1))
        return {"index": batch.index, "probabilities": torch.stack([left, right], dim=1)}


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_module_averages_for_a_block(wrapped: bool) -> None:
    model, index = Model(), torch.arange(3)
    if wrapped:  # as `own_module.adapt` wraps it
        model.predict_step = model.predict_step  # type: ignore[method-assign]
    before, batch = vars(model).copy(), Batch(_images(16), torch.zeros(3), index)
    plain = model.predict_step(batch, 0)["probabilities"]
    with averaging(model, "flip"):
        output = model.predict_step(batch, 0)
    torch.testing.assert_close(output["probabilities"], (plain + plain.flip(1)) / 2)
    assert torch.equal(output["index"], index)
    assert vars(model) == before
    with averaging(model, "single"):
        assert torch.equal(model.predict_step(batch, 0)["probabilities"], plain)


def test_a_module_is_as_before_after_an_error() -> None:
    model: Any = SimpleNamespace(predict_step=abs)
    with pytest.raises(KeyError), averaging(model, "flip"):
        raise KeyError
    assert model.predict_step is abs
