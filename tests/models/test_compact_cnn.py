"""CompactCNN: its presets and options, the dirac start, and that fusing changes nothing."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from fer_lightning.config.compose import conf_dir
from fer_lightning.models.compact_cnn import CompactCNN
from fer_lightning.models.conv_block import ConvBlock

TINY: dict[str, Any] = {"image_size": 16, "drop_rate": 0.0, "widths": (6, 8, 10), "depths": (1, 2, 3)}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"squeeze_excite": 0.25},
    {"branches": True, "drop_path": 0.2},
    {"residual": True, "drop_path": 0.2, "dirac": True, "final_pool": False},
    {"stem": "whitened", "branches": True},
    {"stem": "whitened", "stem_stride": 2, "squeeze_excite": 0.5, "residual": True},
]


def trained(**options: Any) -> CompactCNN:
    """Return a tiny network in evaluation mode with statistics and scales as after a training, or stranger."""
    torch.manual_seed(0)
    network = CompactCNN(**(TINY | options))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight):
                value.data.uniform_(0.3, 3)
            for value in (module.running_mean, module.bias):
                value.data.normal_()
    nn.init.normal_(network.fc.weight)
    with torch.no_grad():  # logits of up to 10
        network.fc.weight /= network.eval()(torch.randn(5, 1, 16, 16)).abs().max() / 10
    return network


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize(("name", "most", "work"), [("compact", 2_000_000, 130e6), ("compact_xs", 100_000, 3e6)])
def test_presets_keep_their_limits(name: str, most: int, work: float) -> None:
    """Under 2 M, and under 0.1 M parameters; as many multiply-adds at 48 px as their first lines say."""
    file = conf_dir() / "model" / f"{name}.yaml"
    network = CompactCNN(**yaml.safe_load(file.read_text())["backbone_kwargs"]).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 1, 48, 48))
    multiply_adds = counter.get_total_flops() / 2
    assert size(network) < most
    assert multiply_adds < work
    parameters = f"{size(network) / 1e6:.2f} M" if size(network) > 1e6 else f"{size(network) / 1e3:.0f} k"
    said = f"{parameters} parameters and {multiply_adds / 1e6:.3g} M multiply-adds at 48 px"
    assert file.read_text().splitlines()[0].endswith(said)


def test_the_preset_lists_every_option_with_its_default() -> None:
    listed = yaml.safe_load((conf_dir() / "model" / "compact.yaml").read_text())["backbone_kwargs"]
    parameters = inspect.signature(CompactCNN).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert {name: tuple(value) if isinstance(value, list) else value for name, value in listed.items()} == defaults


@pytest.mark.parametrize("options", OPTIONS[2:], ids=str)
def test_every_option_learns_a_batch_by_heart(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = CompactCNN(**(TINY | {"widths": (16, 16, 32)} | options)).to(memory_format=torch.channels_last)
    images, labels = torch.randn(14, 1, 16, 16), torch.arange(14) % 7
    with torch.autocast("cpu", dtype=torch.bfloat16):
        F.cross_entropy(network(images).float(), labels).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    for block in (module for module in network.modules() if isinstance(module, ConvBlock)):
        block.drop_path = 0  # or its statistics would take longer
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    assert (network.eval()(images).argmax(dim=1) == labels).all()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_fused_network_gives_the_same_logits_with_one_convolution_a_block(options: dict[str, Any]) -> None:
    network, images = trained(**options), torch.randn(5, 1, 16, 16)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fused = network.fused()
    with torch.no_grad():
        expected, found = network(images), fused(images)
        assert expected.abs().max() > 1
        assert (expected - found).abs().max() < 1e-4
        expected, found = network.forward_features(images), fused.forward_features(images)
        assert (expected - found).abs().max() < 1e-5 * expected.abs().max()
    assert not any(isinstance(module, (nn.BatchNorm2d, ConvBlock)) for module in fused.modules())
    assert sum(conv.kernel_size == (3, 3) for conv in convolutions(fused)) == sum(TINY["depths"])
    assert size(fused) < size(network)
    assert {name: value for name, value in network.state_dict().items() if not torch.equal(value, before[name])} == {}


def test_blocks_that_widen_have_no_way_around() -> None:
    network = CompactCNN(**TINY, residual=True, drop_path=0.3)
    blocks = [module for module in network.modules() if isinstance(module, ConvBlock)]
    assert [block.identity is not None for block in blocks] == [False, False, True, False, True, True]
    branched = [module for module in CompactCNN(**TINY, branches=True).modules() if isinstance(module, ConvBlock)]
    assert [block.pointwise is not None for block in branched] == [False, True, True, True, True, True]
    assert [round(block.drop_path, 2) for block in blocks] == [0, 0, 0.12, 0, 0.24, 0.3]


def test_a_network_with_a_plain_stem_needs_no_preparation() -> None:
    network = CompactCNN(**TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.prepare(torch.randn(8, 1, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_with_a_dirac_start_the_first_outputs_are_the_inputs() -> None:
    network, images = CompactCNN(**TINY, dirac=True), torch.randn(2, 1, 16, 16)
    x = images
    for block in (module for module in network.modules() if isinstance(module, ConvBlock)):
        torch.testing.assert_close(block.main[0](x)[:, : x.shape[1]], x)
        x = block.eval()(x)
    plain = CompactCNN(**TINY).stages[0][0].main[0]
    assert not torch.allclose(plain(images)[:, :1], images, atol=0.1)
    more, fewer = ConvBlock(3, 5, dirac=True).main[0].weight, ConvBlock(5, 3, dirac=True).main[0].weight
    assert more[3:].std() > 0.1  # the others are drawn
    assert fewer.sum() == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "equally many positive numbers"),
        ({"widths": (8,)}, r"got widths=\[8\] and depths=\[1, 2, 3\]"),
        ({"depths": (1, 0, 1)}, "equally many positive numbers"),
        ({"squeeze_excite": 1.5}, r"squeeze_excite must be a fraction in \[0, 1\], such as 0\.25, got 1\.5"),
        ({"squeeze_excite": True}, r"such as 0\.25, got True"),
        ({"drop_path": 1.0, "residual": True}, r"drop_path must be in \[0, 1\), got 1.0"),
        ({"drop_path": 0.1}, "drop_path=0.1 needs a way around: add residual=true or branches=true"),
        ({"branches": True, "residual": True}, "leave out one of them"),
        ({"stem": "whitend"}, "stem=whitend: choose one of plain, whitened"),
        ({"stem_stride": 2}, "stem_stride must be 1, or 2 with stem=whitened"),
        ({"image_size": 7}, "halves its images 3 times: image_size must be 8 or more, got 7; type model.input_size=8"),
        ({"image_size": 15, "stem": "whitened", "stem_stride": 2}, r"4 times: .*type model\.input_size=16"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompactCNN(**(TINY | options))
