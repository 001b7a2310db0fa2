"""The views of an image at test time, against torchvision and NumPy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as F

from fer_lightning.models.views import Views, average, averaging, views_of


def _images(side: int, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (3, channels, side, side), dtype=torch.uint8, generator=generator)


def test_one_view_is_the_image_itself() -> None:
    images = _images(48)
    (view,) = views_of(images, "single")
    assert view is images


def test_flip_adds_the_mirror_image() -> None:
    images = _images(48, 3)
    itself, mirrored = views_of(images, "flip")
    assert itself is images
    assert torch.equal(mirrored, F.hflip(images))


@pytest.mark.parametrize("side", [24, 48])
def test_ten_crops_are_torchvisions_with_mirrored_borders(side: int) -> None:
    images, margin = _images(side), side // 24
    crops = F.ten_crop(images, side * 11 // 12)
    expected = [np.pad(crop, ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect") for crop in crops]
    found = [*views_of(images, "ten_crop")]
    order = [0, 2, 4, 6, 8, 3, 1, 7, 5, 9]  # torchvision's last five are the crops of the mirror image
    assert len(found) == 10
    for place, view in zip(order, expected, strict=True):
        np.testing.assert_array_equal(found[place], view)


@pytest.mark.parametrize("views", ["single", "flip", "ten_crop"])
@pytest.mark.parametrize("side", [16, 17, 48])
def test_arrays_and_tensors_have_the_same_views(views: Views, side: int) -> None:
    images = _images(side, 3)
    pairs = zip(views_of(images, views), views_of(images.numpy(), views), strict=True)
    for tensor, array in pairs:
        assert (tensor.shape, tensor.dtype, array.dtype) == (images.shape, torch.uint8, np.uint8)
        np.testing.assert_array_equal(tensor, array)


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
