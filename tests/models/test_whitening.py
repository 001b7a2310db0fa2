"""The whitened stem: its outputs are uncorrelated, of variance 1, and come in pairs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from fer_lightning.data.synthetic.dataset import draw_faces
from fer_lightning.models.whitening import Whitening, patch_statistics


def faces(count: int = 64, channels: int = 1, size: int = 48) -> Tensor:
    """Return drawn faces, float (count, channels, size, size), with mean 0 and deviation 1, and a little noise."""
    drawn = torch.from_numpy(draw_faces(np.arange(count) % 7, image_size=size, channels=channels, seed=0)).float()
    drawn += torch.randn(drawn.shape, generator=torch.Generator().manual_seed(0)) * 20
    return (drawn - drawn.mean()) / drawn.std()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 4)])
def test_the_stem_whitens_the_images(channels: int, stride: int, kernel: int) -> None:
    pixels = faces(channels=channels, size=24) * 0.2 + 0.5  # in [0, 1], as normalize=unit has them
    layer = Whitening(channels, stride)
    before = layer(pixels)
    layer.prepare(pixels)
    outputs = F.conv2d(pixels, layer.weight, layer.bias)  # every patch, none of them padded
    half = outputs.movedim(1, 3).flatten(0, 2)[:, : layer.width // 2].double()
    values = torch.linalg.eigvalsh(patch_statistics(pixels, kernel)[1]).flip(0)
    torch.testing.assert_close(half.mean(0), torch.zeros_like(values), atol=1e-3, rtol=0)
    torch.testing.assert_close(half.T.cov(correction=0), (values / (values + 5e-4)).diag(), atol=5e-3, rtol=0)
    assert torch.equal(layer.weight, torch.cat([half_ := layer.weight[: layer.width // 2], -half_]))
    assert layer(pixels).shape == before.shape == (64, 2 * channels * kernel**2, 24 // stride, 24 // stride)
    assert not torch.allclose(layer(pixels), before)
    assert list(layer.parameters()) == []


def test_statistics_of_patches_are_those_of_numpy() -> None:
    pixels = torch.randn(70, 2, 7, 6)  # two batches
    patches = F.unfold(pixels, 3).movedim(1, 2).flatten(0, 1).double().numpy()
    mean, covariance = patch_statistics(pixels, 3)
    np.testing.assert_allclose(mean, patches.mean(0), atol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(patches.T, bias=True), atol=1e-6)


def test_before_it_is_prepared_the_stem_shows_the_pixels() -> None:
    pixels = torch.randn(2, 1, 8, 8)
    outputs = Whitening(1, 1)(pixels)
    torch.testing.assert_close(outputs[:, 4] - outputs[:, 13], pixels[:, 0])
