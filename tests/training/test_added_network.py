"""A network of one's own, added as the README says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from fer_lightning.config.check import check_config
from fer_lightning.core.errors import ConfigError
from fer_lightning.models.backbones import NETWORKS, check_name
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.network import Network
from fer_lightning.training.run import TrainingRun


class MyNet(Network):
    """One convolution over everything, then a linear layer."""

    def __init__(self, num_classes: int, in_channels: int, image_size: int, drop_rate: float, width: int = 4) -> None:
        super().__init__()
        self.num_features = self.head_hidden_size = width
        self.whole = nn.Conv2d(in_channels, width, image_size)
        self.dropout = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.whole(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.dropout(x.flatten(1))
        return x if pre_logits else self.fc(x)

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes, self.fc = num_classes, nn.Linear(self.num_features, num_classes)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Add the line and the file; return the override that Hydra's `--config-dir` stands for."""
    monkeypatch.setitem(NETWORKS, "my_net", MyNet)
    file = tmp_path / "my_conf" / "model" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("defaults: [timm, _self_]\nbackbone: my_net\ndrop_rate: 0.25\nbackbone_kwargs: {width: 6}\n")
    return f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]"


@pytest.mark.parametrize("frozen", [(), ("model.freeze_backbone=true", "model.unfreeze_epoch=1")])
def test_it_trains_and_reloads(
    compose: Callable[..., DictConfig], tmp_path: Path, added: str, frozen: tuple[str, ...]
) -> None:
    folder = tmp_path / "run"
    cfg = compose(
        "train", added, "model=mine", *frozen, "data.synthetic={train: 14, validation: 7, test: 7}",
        "data.image_size=16", "data.batch_size=7", "trainer=cpu", "trainer.precision=32-true", "trainer.max_epochs=1",
        "logger=csv", f"output_dir={folder}",
    )  # fmt: skip
    if not frozen:
        check_config(cfg)  # frozen random weights are refused there
    run = TrainingRun(cfg)
    network = run.model.backbone
    assert type(network) is MyNet
    assert (network.num_features, network.dropout.p, network.whole.kernel_size) == (6, 0.25, (16, 16))
    before = [parameter.clone() for parameter in network.parameters()]
    run.fit()
    moved = [not torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True)]
    assert moved == ([False, False, True, True] if frozen else [True] * 4)
    again = Checkpoint.read(folder / "checkpoints" / "last.ckpt").build()
    images = torch.randint(0, 256, (3, 1, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(again(images), run.model.eval()(images))


@pytest.mark.usefixtures("added")
def test_near_names_know_it() -> None:
    with pytest.raises(ConfigError, match="did you mean my_net"):
        check_name("mynet")
