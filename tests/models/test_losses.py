"""Losses against torch, against values worked out by hand and against the papers' formulas."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning.config.compose import conf_dir
from fer_lightning.models.losses import (
    CrossEntropy,
    FocalLoss,
    GeneralisedCrossEntropy,
    LogitAdjustedLoss,
    Scheme,
    SymmetricCrossEntropy,
    class_weights,
)

COUNTS = [3995, 436, 4097, 7215, 4965, 4830, 3171]  # FER-2013's training split
WEIGHTED = [CrossEntropy, FocalLoss, GeneralisedCrossEntropy, SymmetricCrossEntropy]  # by class
LOSSES = [*WEIGHTED, LogitAdjustedLoss]
LINEAR = [loss for loss in LOSSES if loss is not SymmetricCrossEntropy]  # in the target


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 7, generator=generator) * 3, torch.randint(7, (16,), generator=generator)


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_weights_average_one_over_the_images(scheme: str) -> None:
    weights, n = class_weights(COUNTS, scheme), torch.tensor(COUNTS)
    assert weights.dtype == torch.float32
    assert ((weights * n).sum() / n.sum()).item() == pytest.approx(1, abs=1e-5)


def test_inverse_weights_are_scikit_learns_balanced_ones() -> None:
    labels = np.repeat(np.arange(7), COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(7), y=labels)
    np.testing.assert_allclose(class_weights(COUNTS, "inverse").numpy(), expected, rtol=1e-6)


def test_sqrt_weights_go_with_one_over_the_root() -> None:
    weights = class_weights(COUNTS, "sqrt")
    assert (weights[1] / weights[3]).item() == pytest.approx(math.sqrt(7215 / 436), rel=1e-5)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999])
def test_effective_weights_follow_cui(beta: float) -> None:
    weights = class_weights(COUNTS, "effective", beta=beta)
    expected = [(1 - beta) / (1 - beta**n) for n in COUNTS]  # equation 2 of the paper, inverted
    np.testing.assert_allclose((weights / weights[0]).numpy(), np.array(expected) / expected[0], rtol=1e-5)


@pytest.mark.parametrize("scheme", ["inverse", "sqrt", "effective"])
def test_a_class_without_images_weighs_nothing(scheme: str) -> None:
    weights = class_weights([10, 0, 30], scheme)
    assert weights[1] == 0
    assert weights.isfinite().all()
    loss = CrossEntropy([10, 0, 30], class_weights=scheme)(torch.randn(4, 3), torch.tensor([0, 2, 0, 2]))
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], "inverted"), "scheme=inverted: choose one of none, inverse, sqrt, effective"),
        (([1, -2], "inverse"), "class_counts"),
        (([0, 0], "inverse"), "class_counts"),
        (([], "none"), "class_counts"),
        (([1, 2], "effective", 1.0), "beta"),
    ],
)
def test_bad_weights_are_refused(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_weights(*arguments)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(batch: tuple[Tensor, Tensor], smoothing: float) -> None:
    logits, labels = batch
    ours = CrossEntropy(COUNTS, label_smoothing=smoothing)(logits, labels)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels, label_smoothing=smoothing))


@pytest.mark.parametrize("scheme", ["inverse", "sqrt", "effective"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_weighted_cross_entropy_is_torchs(batch: tuple[Tensor, Tensor], scheme: str, smoothing: float) -> None:
    logits, labels = batch
    weight = class_weights(COUNTS, scheme)
    loss = CrossEntropy(COUNTS, label_smoothing=smoothing, class_weights=scheme)
    one_by_one = F.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(loss(logits, labels), one_by_one.mean())
    soft = torch.randn(16, 7).softmax(dim=1)
    expected = F.cross_entropy(
        logits, soft, weight=weight, label_smoothing=smoothing
    )  # torch averages these over images
    torch.testing.assert_close(loss(logits, soft), expected)


def test_weighted_loss_does_not_depend_on_how_a_batch_is_cut(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    loss = CrossEntropy(COUNTS, class_weights="inverse")
    halves = (loss(logits[:8], labels[:8]) + loss(logits[8:], labels[8:])) / 2
    torch.testing.assert_close(halves, loss(logits, labels))


def test_focal_loss_by_hand() -> None:
    # p = (0.8, 0.2): of class 0, 0.2² · -ln 0.8; of class 1, 0.8² · -ln 0.2
    logits = torch.tensor([[math.log(0.8), math.log(0.2)]]).repeat(2, 1)
    expected = (0.2**2 * -math.log(0.8) + 0.8**2 * -math.log(0.2)) / 2
    assert FocalLoss([1, 1])(logits, torch.tensor([0, 1])).item() == pytest.approx(expected, rel=1e-5)
    weighted = FocalLoss([3, 1], class_weights="inverse")(logits[:1], torch.tensor([1])).item()
    assert weighted == pytest.approx(2.0 * 0.8**2 * -math.log(0.2), rel=1e-5)  # 1 image of 4 in 2 classes: 4 / (2 · 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_focal_loss_without_focus_is_cross_entropy(batch: tuple[Tensor, Tensor], scheme: str, smoothing: float) -> None:
    options = {"class_weights": scheme, "label_smoothing": smoothing}
    for target in (batch[1], torch.randn(16, 7).softmax(dim=1)):
        focal = FocalLoss(COUNTS, gamma=0.0, **options)(batch[0], target)
        torch.testing.assert_close(focal, CrossEntropy(COUNTS, **options)(batch[0], target))


def test_focal_loss_pays_less_for_what_is_right(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch
    losses = [FocalLoss(COUNTS, gamma=gamma)(logits, labels).item() for gamma in (0.0, 1.0, 2.0, 5.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


@pytest.mark.parametrize("loss", WEIGHTED)
@pytest.mark.parametrize("scheme", get_args(Scheme))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_one_hot_targets_are_labels(
    batch: tuple[Tensor, Tensor], loss: type[nn.Module], scheme: str, smoothing: float
) -> None:
    logits, labels = batch
    criterion = loss(COUNTS, class_weights=scheme, label_smoothing=smoothing)
    hard, soft = criterion(logits, labels), criterion(logits, F.one_hot(labels, 7).float())
    torch.testing.assert_close(soft, hard)
    assert hard.shape == ()


@pytest.mark.parametrize("loss", LINEAR)
def test_mixed_targets_mix_the_losses(batch: tuple[Tensor, Tensor], loss: type[nn.Module]) -> None:
    logits, labels = batch
    criterion, others = loss(COUNTS), (labels + 3) % 7
    mixed = 0.3 * F.one_hot(labels, 7).float() + 0.7 * F.one_hot(others, 7).float()
    expected = 0.3 * criterion(logits, labels) + 0.7 * criterion(logits, others)
    torch.testing.assert_close(criterion(logits, mixed), expected)


@pytest.mark.parametrize(
    "criterion",
    [CrossEntropy(COUNTS), LogitAdjustedLoss(COUNTS), *(FocalLoss(COUNTS, gamma=g) for g in (0.0, 0.5, 1.0, 2.0))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_are_finite_for_logits_of_any_size(criterion: nn.Module, dtype: torch.dtype, soft: bool) -> None:
    # sure and right, sure and wrong, undecided: p is 1, 0 and 1/7 to the last bit
    logits = torch.zeros(3, 7, dtype=dtype)
    logits[0, 0] = logits[1, 1] = 200
    logits.requires_grad_()
    labels = torch.zeros(3, dtype=torch.int64)
    loss = criterion(logits, F.one_hot(labels, 7).to(dtype) if soft else labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert logits.grad.isfinite().all()
    assert logits.grad[1].abs().max() > 0.1  # what is wrong is pulled back


@pytest.mark.parametrize("loss", LOSSES)
def test_bf16_logits_are_scored_in_full_precision(batch: tuple[Tensor, Tensor], loss: type[nn.Module]) -> None:
    logits, labels = batch[0].bfloat16(), batch[1]
    torch.testing.assert_close(loss(COUNTS)(logits, labels), loss(COUNTS)(logits.float(), labels))


def test_gradient_of_focal_loss_is_that_of_its_formula(batch: tuple[Tensor, Tensor]) -> None:
    logits, labels = batch[0].requires_grad_(), batch[1]
    (ours,) = torch.autograd.grad(FocalLoss(COUNTS)(logits, labels), logits)
    p = logits.double().softmax(dim=1)[torch.arange(16), labels]
    (formula,) = torch.autograd.grad((-((1 - p) ** 2) * p.log()).mean(), logits)
    torch.testing.assert_close(ours, formula, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", WEIGHTED)
def test_weights_move_with_the_module_but_are_not_saved(loss: type[nn.Module]) -> None:
    criterion = loss(COUNTS, class_weights="sqrt")
    assert criterion.state_dict() == {}
    assert criterion.to("meta").weight.device.type == "meta"


@pytest.mark.parametrize(
    ("name", "loss"), list(zip(["cross_entropy", "focal", "generalised", "symmetric"], WEIGHTED, strict=True))
)
def test_beta_reaches_the_weights(name: str, loss: type[nn.Module]) -> None:
    expected = class_weights(COUNTS, "effective", beta=0.9)
    assert torch.equal(loss(COUNTS, class_weights="effective", beta=0.9).weight, expected)
    node = OmegaConf.load(conf_dir() / "loss" / f"{name}.yaml")
    configured = instantiate(node, class_counts=COUNTS, class_weights="effective", beta=0.9)
    assert torch.equal(configured.weight, expected)
    assert node.beta == 0.999  # typed as loss.beta=…, without a +


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_bad_smoothing_is_refused(loss: type[nn.Module], smoothing: float) -> None:
    with pytest.raises(ValueError, match="label_smoothing must be in"):
        loss(COUNTS, label_smoothing=smoothing)


@pytest.mark.parametrize(
    ("loss", "arguments", "message"),
    [
        (FocalLoss, {"gamma": -1}, "gamma must be 0 or more, got -1"),
        (LogitAdjustedLoss, {"tau": -0.5}, "tau must be 0 or more, got -0.5"),
        (GeneralisedCrossEntropy, {"q": 0.0}, r"q must be in \(0, 1\], got 0.0"),
        (GeneralisedCrossEntropy, {"q": 1.1}, r"q must be in \(0, 1\], got 1.1"),
        (SymmetricCrossEntropy, {"forward_weight": 0, "reverse_weight": 0}, "not both 0"),
        (SymmetricCrossEntropy, {"reverse_weight": -1.0}, "must be 0 or more"),
        (SymmetricCrossEntropy, {"log_zero": 0.0}, "log_zero must be below 0, got 0.0"),
    ],
)
def test_what_is_out_of_range_is_refused(loss: type[nn.Module], arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss(COUNTS, **arguments)


@pytest.fixture
def targets(batch: tuple[Tensor, Tensor]) -> list[Tensor]:
    """Return probabilities float64 `(16, 7)`: those of labels, and mixed ones."""
    one_hot = F.one_hot(batch[1], 7).double()
    return [one_hot, 0.3 * one_hot + 0.7 * one_hot.roll(1, dims=1)]


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_logit_adjusted_loss_is_menons(
    batch: tuple[Tensor, Tensor], targets: list[Tensor], tau: float, smoothing: float
) -> None:
    prior = torch.tensor(COUNTS).double() / sum(COUNTS)
    odds = prior**tau * batch[0].double().exp()
    log_p = (odds / odds.sum(dim=1, keepdim=True)).log()
    for target in targets:
        expected = -((target * (1 - smoothing) + smoothing / 7) * log_p).sum(dim=1).mean()
        ours = LogitAdjustedLoss(COUNTS, tau=tau, label_smoothing=smoothing)(batch[0], target)
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=0)


def test_what_tells_nothing_gets_equal_logits_whatever_the_frequencies() -> None:
    """Of the losses, only the adjusted one is least where images that say nothing have no opinion on rare classes."""
    labels = torch.arange(7).repeat_interleave(torch.tensor(COUNTS))
    pulls = []
    for criterion in (LogitAdjustedLoss(COUNTS), CrossEntropy(COUNTS)):
        logits = torch.zeros(7, requires_grad=True)
        criterion(logits.expand(len(labels), 7), labels).backward()
        pulls.append(logits.grad.abs().max().item())
    assert pulls[0] < 1e-4 < 0.05 < pulls[1]


def test_a_class_without_images_is_adjusted_to_a_finite_loss() -> None:
    criterion = LogitAdjustedLoss([10, 0, 30], label_smoothing=0.1)
    assert criterion(torch.randn(4, 3), torch.tensor([0, 2, 0, 2])).isfinite()


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_generalised_cross_entropy_is_zhangs(
    batch: tuple[Tensor, Tensor], targets: list[Tensor], q: float, scheme: str
) -> None:
    p, weight = batch[0].double().softmax(dim=1), class_weights(COUNTS, scheme)
    for target in targets:
        expected = (target * weight * (1 - p**q) / q).sum(dim=1).mean()
        ours = GeneralisedCrossEntropy(COUNTS, q=q, class_weights=scheme)(batch[0], target)
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=0)


def test_generalised_cross_entropy_lies_between_cross_entropy_and_absolute_error(
    batch: tuple[Tensor, Tensor], targets: list[Tensor]
) -> None:
    logits, labels = batch
    almost = GeneralisedCrossEntropy(COUNTS, q=1e-6)(logits, labels)
    torch.testing.assert_close(almost, F.cross_entropy(logits, labels), rtol=1e-4, atol=0)
    absolute = (targets[0] - logits.double().softmax(dim=1)).abs().sum(dim=1).mean()
    ours = GeneralisedCrossEntropy(COUNTS, q=1.0)(logits, labels)
    torch.testing.assert_close(ours.double(), absolute / 2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("scheme", get_args(Scheme))
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_symmetric_cross_entropy_is_wangs(
    batch: tuple[Tensor, Tensor], targets: list[Tensor], scheme: str, smoothing: float
) -> None:
    p, weight = batch[0].double().softmax(dim=1), class_weights(COUNTS, scheme).double()
    given = {"forward_weight": 0.3, "reverse_weight": 2.0, "log_zero": -3.0}
    for target in targets:
        soft = target * (1 - smoothing) + smoothing / 7
        forward, reverse = F.kl_div(p.log(), soft, reduction="none"), p * soft.clamp_min(math.exp(-3)).log()
        entropy = torch.special.entr(soft).sum(dim=1)  # H(t, p) = KL(t, p) + H(t)
        losses = 0.3 * (forward.sum(dim=1) + entropy) - 2.0 * reverse.sum(dim=1)
        expected = (losses * (soft @ weight)).mean()
        ours = SymmetricCrossEntropy(COUNTS, **given, class_weights=scheme, label_smoothing=smoothing)
        torch.testing.assert_close(ours(batch[0], target).double(), expected, rtol=1e-5, atol=0)


def test_symmetric_cross_entropy_by_hand() -> None:
    # p = (0.8, 0.2) of class 0: 0.1 · -ln 0.8 + 1 · 4 · 0.2
    logits = torch.tensor([[math.log(0.8), math.log(0.2)]])
    expected = 0.1 * -math.log(0.8) + 4 * 0.2
    assert SymmetricCrossEntropy([1, 1])(logits, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", [GeneralisedCrossEntropy, SymmetricCrossEntropy])
def test_a_wrong_label_pulls_less_than_in_cross_entropy(loss: type[nn.Module]) -> None:
    """An image that the network is sure about, and whose label says otherwise, must not move it much."""
    pulls = {}
    for kind in (CrossEntropy, loss):
        for gap in (2.0, 200.0):  # unsure and sure
            logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
            kind([1, 1, 1])(logits, torch.tensor([1])).backward()
            assert logits.grad.isfinite().all()
            pulls[kind, gap] = logits.grad[0, 1].abs().item()
    assert pulls[CrossEntropy, 200.0] > pulls[CrossEntropy, 2.0]
    assert pulls[loss, 200.0] < pulls[loss, 2.0] / 4
