"""The recorded step against the plain one; what only CUDA can record is computed again here at each replay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.cuda_graph import EAGER_STEPS, StepGraph

IMAGES = torch.randint(0, 256, (44, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(44) % 3


def batches() -> DataLoader[Any]:
    """Five of eight, and one of four, for which the graph was not recorded."""
    rows = [(image, label, row) for row, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True))]
    return DataLoader(rows, batch_size=8)  # type: ignore[arg-type]


class Recorded(ExpressionClassifier):
    """Records by doing it again."""

    def on_fit_start(self) -> None:
        self.replays = 0

        def record(compute: Any) -> Any:
            def replay() -> Any:
                self.replays += 1
                return compute()

            return replay

        self.graph = StepGraph(self.loss_and_hits, list(self.parameters()), record)


def fit(kind: type[ExpressionClassifier], tmp_path: Path, **options: Any) -> tuple[ExpressionClassifier, pl.Trainer]:
    pl.seed_everything(1, verbose=False)
    model = kind(
        "small_cnn",
        ["a", "b", "c"],
        image_size=16,
        backbone_kwargs={"widths": [4, 8]},
        optimizer=lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, fused=True),
    )
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = pl.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, **quiet, **options)
    trainer.fit(model, batches(), batches())
    return model, trainer


@pytest.mark.parametrize(
    "options", [{}, {"gradient_clip_val": 0.1}, {"gradient_clip_val": 0.1, "precision": "bf16-mixed"}]
)
def test_a_recorded_step_learns_what_a_plain_one_learns(tmp_path: Path, options: dict[str, Any]) -> None:
    plain, plain_trainer = fit(ExpressionClassifier, tmp_path, **options)
    recorded, trainer = fit(Recorded, tmp_path, **options)
    assert recorded.replays == 2 * 6 - EAGER_STEPS - 2  # the smaller last batches are not recorded
    assert trainer.global_step == plain_trainer.global_step == 12
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(recorded.state_dict()[name], weight, rtol=0, atol=0)
    for name, value in plain_trainer.callback_metrics.items():
        torch.testing.assert_close(trainer.callback_metrics[name], value, rtol=0, atol=0)


def test_gradients_keep_the_layout_of_their_weights() -> None:
    model = ExpressionClassifier("small_cnn", ["a", "b"], image_size=16).train()
    graph = StepGraph(model.loss_and_hits, list(model.parameters()), lambda compute: compute)
    while not graph.takes(IMAGES[:4], LABELS[:4] % 2):
        pass
    graph(IMAGES[:4], LABELS[:4] % 2)
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()


def test_a_batch_of_another_shape_is_not_the_graphs() -> None:
    graph = StepGraph(lambda images, labels: (images.float().sum(),), [], lambda compute: compute)
    assert [graph.takes(IMAGES[:4], LABELS[:4]) for _ in range(EAGER_STEPS + 1)] == [False] * EAGER_STEPS + [True]
    assert not graph.takes(IMAGES[:3], LABELS[:3])


def test_without_a_gpu_it_is_refused(tmp_path: Path) -> None:
    model = ExpressionClassifier("small_cnn", ["a", "b", "c"], image_size=16, cuda_graph=True)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ConfigError, match=r"model\.cuda_graph=true needs an NVIDIA GPU"):
        trainer.fit(model, batches())


def test_weights_that_learn_nothing_stay_without_a_gradient() -> None:
    used, idle = torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.ones(()))
    graph = StepGraph(lambda images, _: (images.float().mean() * used,), [used, idle], lambda compute: compute)
    while not graph.takes(IMAGES[:4], LABELS[:4]):
        pass
    graph(IMAGES[:4], LABELS[:4])
    assert used.grad is not None
    assert idle.grad is None


def test_backward_is_outside_autocast_as_in_a_plain_step() -> None:
    seen = []

    class Probe(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return value.clone()

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            seen.append(torch.is_autocast_enabled("cpu"))
            return gradient

    weight = torch.nn.Parameter(torch.ones(()))
    graph = StepGraph(
        lambda images, _: (Probe.apply(images.float().mean() * weight),), [weight], lambda compute: compute
    )
    while not graph.takes(IMAGES[:4], LABELS[:4]):
        pass
    with torch.autocast("cpu", torch.bfloat16):
        graph(IMAGES[:4], LABELS[:4])
    assert seen == [True, False]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("32-true", {"rtol": 1e-3, "atol": 1e-4}), ("bf16-mixed", {"rtol": 5e-2, "atol": 1e-2})],
)
def test_a_cuda_graph_learns_what_a_plain_step_learns(precision: str, tolerance: dict[str, float]) -> None:
    weights = []
    for cuda_graph in (False, True):
        pl.seed_everything(1, verbose=False)
        model = ExpressionClassifier("small_cnn", ["a", "b", "c"], image_size=16, drop_rate=0.0, cuda_graph=cuda_graph)
        trainer = pl.Trainer(
            max_epochs=4, accelerator="gpu", devices=1, logger=False, enable_checkpointing=False, precision=precision
        )
        trainer.fit(model, batches(), batches())
        assert (model.graph is not None and model.graph.recorded) is cuda_graph
        weights.append({name: weight.cpu() for name, weight in model.state_dict().items()})
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight, **tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_draws_by_the_seed_of_each_replay() -> None:
    model = ExpressionClassifier("small_cnn", ["a", "b", "c"], image_size=16, drop_rate=0.5).cuda().train()
    graph = StepGraph(model.loss_and_hits, list(model.parameters()))
    images, labels = IMAGES[:8].cuda(), LABELS[:8].cuda()
    while not graph.takes(images, labels):
        model.loss_and_hits(images, labels)[0].backward()
    losses = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        losses.append(graph(images, labels)[0].item())
    assert losses[0] == pytest.approx(losses[2], rel=1e-3)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
