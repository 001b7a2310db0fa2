"""The block of a compact network: branches, stochastic depth, gates, and its fused form."""

from __future__ import annotations

import pytest
import timm.layers
import torch

from fer_lightning.models.conv_block import ConvBlock, SqueezeExcite


def test_a_block_without_options_is_fused_as_torch_does() -> None:
    torch.manual_seed(0)
    block = ConvBlock(4, 6).train()
    block(torch.randn(8, 4, 9, 9))
    oracle = torch.nn.utils.fusion.fuse_conv_bn_eval(block.eval().main[0], block.main[1])
    for one, other in zip(block.fused()[0].parameters(), oracle.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_block_with_branches_is_that_of_the_paper() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 6, 9, 9)
    for before, paths in ((6, 3), (4, 2)):
        block = ConvBlock(before, 6, branches=True).train()
        terms = [norm(conv(x[:, :before])) for conv, norm in (block.main, block.pointwise)]
        terms += [] if block.identity is None else [block.identity(x)]
        assert len(terms) == paths
        torch.testing.assert_close(block(x[:, :before]), sum(terms).relu())


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    block = ConvBlock(4, 4, residual=True, drop_path=0.4).train()
    x = torch.rand(2000, 4, 3, 3)
    path = block.main(x)
    found = block(x)
    dropped = torch.isclose(found, x).flatten(1).all(dim=1)
    assert dropped.float().mean() == pytest.approx(0.4, abs=0.04)
    torch.testing.assert_close(found[~dropped], (x + path / 0.6).relu()[~dropped])
    torch.testing.assert_close(block.eval()(x[:9]), (x + block.main(x)).relu()[:9])


def test_squeeze_and_excite_is_that_of_timm() -> None:
    torch.manual_seed(0)
    ours, theirs = SqueezeExcite(32, 0.25), timm.layers.SEModule(32, rd_ratio=0.25)
    assert len([*ours.parameters()]) == len([*theirs.parameters()])
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    x = torch.randn(3, 32, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x))
