"""Networks as others made and saved them."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn


@pytest.fixture(scope="session")
def donor() -> nn.Module:
    """A network as timm makes it: 3 channels, 1000 classes."""
    torch.manual_seed(1)
    return timm.create_model("test_efficientnet").eval()


@pytest.fixture(scope="session")
def vgg11() -> dict[str, Tensor]:
    """timm's layout of VGG11, its dense part narrower (the file of ImageNet has half a gigabyte)."""
    return timm.create_model("vgg11", mlp_ratio=1 / 1024).state_dict()
