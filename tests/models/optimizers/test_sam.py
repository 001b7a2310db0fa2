"""SAM: the step of the paper, worked out by hand, and a second pass that leaves no trace."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.optimizers.sam import SAM

CURVES = torch.tensor([1.0, 10.0, 0.1], dtype=torch.float64)


def minimise(adaptive: bool, steps: int, **options: Any) -> Tensor:
    """Take steps on ½ Σ cᵢ wᵢ², whose gradient is c · w."""
    first, second = (nn.Parameter(torch.tensor(start, dtype=torch.float64)) for start in ([1.0, -2.0], [3.0]))
    optimizer = SAM([first, second], lr=0.01, rho=0.2, adaptive=adaptive, fused=False, **options)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = 0.5 * (CURVES * torch.cat([first, second]) ** 2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    losses = [float(optimizer.step(closure)) for _ in range(steps)]
    assert losses[0] == 0.5 * (1 + 40 + 0.9)  # before the step, and where the weights are, not uphill
    return torch.cat([first, second]).detach()


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_step_follows_the_gradient_uphill(adaptive: bool) -> None:
    weights, velocity = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for _ in range(3):
        unit = weights.abs() if adaptive else torch.ones(3, dtype=torch.float64)
        gradient = CURVES * weights
        uphill = weights + 0.2 * unit**2 * gradient / (unit * gradient).norm()
        slope = CURVES * uphill + 0.5 * weights  # with weight decay, where the weights are
        velocity = 0.9 * velocity + slope
        weights = weights - 0.01 * velocity
    found = minimise(adaptive, 3, momentum=0.9, nesterov=False, weight_decay=0.5)
    torch.testing.assert_close(found, weights, rtol=1e-12, atol=1e-12)


def test_without_a_slope_nothing_moves() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = SAM([weight], weight_decay=0.0)

    def closure() -> None:
        weight.grad = torch.zeros(2)

    optimizer.step(closure)
    assert torch.equal(weight, torch.ones(2))


def test_a_step_without_a_closure_is_refused() -> None:
    with pytest.raises(RuntimeError, match="needs a closure"):
        SAM([nn.Parameter(torch.ones(2))]).step()


@pytest.mark.parametrize(("options", "message"), [({"rho": 0.0}, "rho must be positive"), ({"lr": -1.0}, "Invalid")])
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SAM([nn.Parameter(torch.ones(2))], **options)


IMAGES = torch.randint(0, 256, (24, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


class Notes(pl.Callback):
    """What the network got and dropped in each pass."""

    def __init__(self) -> None:
        self.pixels: list[Tensor] = []
        self.dropped: list[Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        backbone: Any = module.backbone
        backbone.register_forward_pre_hook(lambda _, inputs: self.pixels.append(inputs[0].detach().clone()))
        backbone.dropout.register_forward_hook(lambda *parts: self.dropped.append(parts[2].detach() == 0))


def fit(optimizer: Any, notes: Notes | None = None, **options: Any) -> ExpressionClassifier:
    pl.seed_everything(1, verbose=False)
    model = ExpressionClassifier(
        "small_cnn", ["a", "b"], image_size=16, drop_rate=0.5, mixup=0.4, backbone_kwargs={"widths": [4, 8]},
        optimizer=optimizer,
    )  # fmt: skip
    rows = [(image, row % 2, row) for row, image in enumerate(IMAGES)]
    settings = {"max_epochs": 1, "accelerator": "cpu", "devices": 1, "callbacks": [notes or Notes()], **QUIET}
    trainer = pl.Trainer(**{**settings, **options})
    trainer.fit(model, DataLoader(rows, batch_size=8))  # type: ignore[arg-type]
    return model


def test_both_passes_see_the_same_and_one_of_them_counts() -> None:
    once, twice = Notes(), Notes()
    plain = fit(partial(torch.optim.SGD, lr=0.0), once)
    model = fit(partial(SAM, lr=0.0), twice)
    assert (len(once.pixels), len(twice.pixels)) == (3, 6)
    for step in range(3):
        for passes in (twice.pixels, twice.dropped):
            assert torch.equal(passes[2 * step], passes[2 * step + 1])
        assert torch.equal(once.pixels[step], twice.pixels[2 * step])
    assert not torch.equal(twice.pixels[0], twice.pixels[2])
    assert 0.2 < torch.cat(twice.dropped).float().mean() < 0.9
    for (name, one), other in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name  # statistics of batch norm, and weights that the rate of 0 keeps
    for name in ("train/loss", "train/acc"):
        assert plain.trainer.callback_metrics[name] == model.trainer.callback_metrics[name]
    moved = fit(partial(SAM, lr=0.1)).state_dict()
    assert any(not torch.equal(value, moved[name]) for name, value in plain.state_dict().items())


def test_from_a_state_it_goes_on_as_if_unbroken() -> None:
    def follow(optimizer: SAM, weight: nn.Parameter, steps: int) -> None:
        def closure() -> None:
            weight.grad = weight.detach().sin()

        for _ in range(steps):
            optimizer.step(closure)

    unbroken = nn.Parameter(torch.arange(3.0))
    optimizer = SAM([unbroken])
    follow(optimizer, unbroken, 3)
    again, state = copy.deepcopy(unbroken), copy.deepcopy(optimizer.state_dict())
    follow(optimizer, unbroken, 3)
    restored = SAM([again])
    restored.load_state_dict(state)
    follow(restored, again, 3)
    assert torch.equal(unbroken, again)


def test_sums_of_gradients_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"type trainer\.accumulate_grad_batches=1"):
        fit(SAM, accumulate_grad_batches=2)
