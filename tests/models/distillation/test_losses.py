"""The losses between student and teachers, beside the formulas of the papers, computed in another way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor

from fer_lightning.models.distillation.losses import dkd_loss, kd_loss, soften


@pytest.fixture(scope="module")
def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Logits of a student (5, 4) and of three teachers (5, 3, 4), and labels (5,)."""
    draw = torch.Generator().manual_seed(0)
    student, teachers = (3 * torch.randn(*shape, generator=draw) for shape in ((5, 4), (5, 3, 4)))
    return student, teachers, torch.tensor([0, 1, 2, 3, 3])


def ensemble(teachers: Tensor, temperature: float) -> np.ndarray:
    return np.mean([softmax(teachers[:, m].double().numpy() / temperature, axis=1) for m in range(3)], axis=0)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_the_divergence_from_the_mean_of_softened_probabilities(
    drawn: tuple[Tensor, Tensor, Tensor], temperature: float
) -> None:
    student, teachers, _ = drawn
    expected = rel_entr(ensemble(teachers, temperature), softmax(student.double().numpy() / temperature, axis=1))
    found = kd_loss(student, soften(teachers, temperature), temperature)
    assert found.item() == pytest.approx(expected.sum(axis=1).mean(), rel=1e-5)


@pytest.mark.parametrize(("temperature", "beta"), [(1.0, 1.0), (4.0, 8.0), (2.0, 0.0)])
def test_dkd_is_the_sum_of_its_two_parts(drawn: tuple[Tensor, Tensor, Tensor], temperature: float, beta: float) -> None:
    student, teachers, labels = drawn
    p, q = ensemble(teachers, temperature), softmax(student.double().numpy() / temperature, axis=1)
    expected = []
    for label, one, other in zip(labels.tolist(), p, q, strict=True):
        tckd = rel_entr([one[label], 1 - one[label]], [other[label], 1 - other[label]]).sum()
        one, other = np.delete(one, label), np.delete(other, label)
        expected.append(tckd + beta * rel_entr(one / one.sum(), other / other.sum()).sum())
    found = dkd_loss(student, soften(teachers, temperature), labels, temperature, beta)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_kd_is_dkd_with_the_weight_that_the_teachers_leave_to_the_others(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    student, teachers, labels = (part[:1] for part in drawn)
    p = soften(teachers, 2.0)
    found = dkd_loss(student, p, labels, 2.0, beta=1 - p[0, labels[0]].item())
    torch.testing.assert_close(found, kd_loss(student, p, 2.0))


@pytest.mark.parametrize("logit", [0.0, 1000.0])
def test_gradients_of_sure_teachers_and_students_are_finite(logit: float) -> None:
    student = torch.tensor([[logit, 0.0, 0.0]], requires_grad=True)
    teachers = soften(torch.tensor([[[1000.0, 0.0, -1000.0]]]), 1.0)
    for loss in (kd_loss(student, teachers, 1.0), dkd_loss(student, teachers, torch.tensor([0]), 1.0, 8.0)):
        (slope,) = torch.autograd.grad(loss, student)
        assert loss.isfinite()
        assert slope.isfinite().all()
    assert dkd_loss(student, teachers, torch.tensor([2]), 1.0, 8.0).isfinite()


def test_what_agrees_has_no_distance(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    student, _, labels = drawn
    p = soften(student[:, None], 3.0)
    assert kd_loss(student, p, 3.0).item() == pytest.approx(0, abs=1e-6)
    assert dkd_loss(student, p, labels, 3.0, 8.0).item() == pytest.approx(0, abs=1e-6)
