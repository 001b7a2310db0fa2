"""Forward and backward of a training step as one launch, for networks that compute faster than they are launched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

EAGER_STEPS = 3  # before recording: cuDNN has chosen its algorithms by then, and every buffer exists

Outputs = tuple[Tensor, ...]
Record = Callable[[Callable[[], Outputs]], Callable[[], Outputs]]
"""Turns a computation on fixed memory into one that repeats it and returns the same tensors, filled anew."""


def record_cuda(compute: Callable[[], Outputs]) -> Callable[[], Outputs]:
    """Record a computation as a CUDA graph; each replay draws its random numbers by the seed of then."""
    graph = torch.cuda.CUDAGraph()
    torch.clear_autocast_cache()  # else the graph would go on reading the weights as they were cast before it
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # a loader's thread may call CUDA
        outputs = compute()
    torch.clear_autocast_cache()

    def replay() -> Outputs:
        graph.replay()
        return outputs

    return replay


class StepGraph:
    """Loss and gradients of batches of one shape; the optimizer's step stays outside, where schedules reach it.

    Args:
        learn: maps images and labels to the loss, with its history, and to further tensors.
        parameters: what the gradients are of.
        record: makes the graph.
    """

    def __init__(
        self,
        learn: Callable[[Tensor, Tensor], Outputs],
        parameters: Sequence[nn.Parameter],
        record: Record = record_cuda,
    ) -> None:
        self._learn, self._record = learn, record
        self._parameters = list(parameters)
        self._gradients = [torch.empty_like(parameter) for parameter in self._parameters]
        self._learning: list[bool] = []
        self._inputs: tuple[Tensor, Tensor] | None = None
        self._replay: Callable[[], Outputs] | None = None
        self._eager = 0

    @property
    def recorded(self) -> bool:
        """Whether there is a recording yet."""
        return self._replay is not None

    def takes(self, images: Tensor, labels: Tensor) -> bool:
        """Whether this batch is the graph's: not one of the first few, and of the shape that it was recorded for."""
        if self._inputs is None:
            self._eager += 1
            if self._eager <= EAGER_STEPS:
                return False
            self._inputs = (images.clone(), labels.clone())
        return images.shape == self._inputs[0].shape

    def __call__(self, images: Tensor, labels: Tensor) -> Outputs:
        """Return what `loss_and_hits` returns, detached, and leave the gradients with the parameters.

        The tensors returned are overwritten by the next call.
        """
        inputs = self._inputs
        if inputs is None:
            raise RuntimeError("ask takes() first")
        for fixed, given in zip(inputs, (images, labels), strict=True):
            fixed.copy_(given)
        if self._replay is None:
            self._replay = self._record(self._compute)
        outputs = self._replay()
        for parameter, gradient, learns in zip(self._parameters, self._gradients, self._learning, strict=True):
            parameter.grad = gradient if learns else None
        return outputs

    def _compute(self) -> Outputs:
        loss, *others = self._learn(*self._inputs)  # type: ignore[misc]
        with torch.autocast(loss.device.type, enabled=False):  # as Lightning's own backward
            # not loss.backward(): what adds to .grad belongs to the stream of the steps before
            found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        self._learning = [gradient is not None for gradient in found]
        pairs = [(kept, new) for kept, new in zip(self._gradients, found, strict=True) if new is not None]
        torch._foreach_copy_(*map(list, zip(*pairs, strict=True)))
        return (loss.detach(), *others)
