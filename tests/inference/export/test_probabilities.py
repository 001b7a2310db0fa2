"""What is exported gives what the model gives, before any format comes in."""

from __future__ import annotations

import pytest
import torch

from fer_lightning.inference.export.probabilities import FixedNormalize
from fer_lightning.models.normalize import Normalize


@pytest.mark.parametrize("size", [20, 32, 50, 13])
def test_images_are_resized_as_in_training(size: int) -> None:
    """Up and down; by less than a half, more than two pixels make one."""
    pixels = Normalize([0.4, 0.5, 0.6], [0.2, 0.3, 0.1], size)
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(FixedNormalize(pixels, 32)(images), pixels(images), atol=1e-5, rtol=1e-5)
