"""When a training step runs out of memory, its batch goes through the network in parts."""

from __future__ import annotations

import logging
from collections import defaultdict
from itertools import pairwise
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loops.optimization.automatic import Closure, ClosureResult
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.optim import Optimizer
from torchmetrics import Metric

from fer_lightning.core.errors import OutOfMemoryError, first_lines
from fer_lightning.core.memory_errors import is_out_of_memory, release_memory

log = logging.getLogger(__name__)


class MicroBatches(pl.Callback):
    """Sends batches through the network in two, four, … parts from the step on that runs out of memory.

    The gradients of the parts are added up, each with its share of the images, so that batch, learning rate, steps and
    schedule stay what they were; only batch normalisation sees the parts. The step itself is taken again as if it had
    not been tried, so that nothing is lost. Checkpoints hold the number of parts.

    Distributed runs are left alone, because a rank cannot repeat a step without the others.

    Raises:
        OutOfMemoryError: a single image needs more memory than there is.
    """

    def __init__(self) -> None:
        self.parts = 1
        self._before = _State()  # of the module before the first batch of this optimizer step
        self._batches: list[_Parts] = []  # of this optimizer step, so far

    def state_dict(self) -> dict[str, Any]:
        return {"parts": self.parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.parts = state_dict["parts"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size > 1 or not pl_module.automatic_optimization:
            return
        if self.parts > 1:
            log.info(f"each batch goes through the network in {self.parts} parts, as before")
        self._before = _State(pl_module)
        loop = trainer.fit_loop.epoch_loop.automatic_optimization

        def make_closure(kwargs: Any, optimizer: Optimizer, batch_idx: int) -> Closure:
            return _Parts(self, trainer, kwargs, optimizer, batch_idx)

        loop._make_closure = make_closure  # type: ignore[method-assign]  # there is no hook around both passes

    def run(self, batch: _Parts, *, first: bool) -> ClosureResult:
        """Run both passes of a batch, with those before it in the same optimizer step if memory runs out."""
        if first:
            self._before.keep()
            self._batches = []
        self._batches.append(batch)
        batch.generators = _generators(batch.device)
        result = self._attempt(batch)
        while result is None:
            self._before.restore()
            for each in self._batches:  # whose gradients are in part those of the failed attempt now
                _restore_generators(each.generators, each.device)
                result = self._attempt(each)
                if result is None:
                    break
        return result

    def _attempt(self, batch: _Parts) -> ClosureResult | None:
        """Run both passes of a batch; None if memory ran out, after which batches have more parts."""
        try:
            return batch.run(self.parts)
        except Exception as error:
            # what batch normalisation says of a single image with a map of one pixel
            too_small = self.parts > 1 and "more than 1 value per channel" in str(error)
            if not (too_small or is_out_of_memory(error)):
                raise
            if too_small or self.parts >= batch.size:
                raise OutOfMemoryError(
                    f"step {batch.step} needs more memory than there is, even in parts of {batch.size // self.parts} "
                    f"of its {batch.size} images ({first_lines(error)}): type a smaller data.image_size, or another "
                    "model.backbone"
                ) from error
            self._halve(batch)
        release_memory()  # only now: the error holds what the passes had kept
        return None

    def _halve(self, batch: _Parts) -> None:
        self.parts *= 2
        log.warning(
            f"out of memory in step {batch.step}: from here on, each batch of {batch.size} goes through the network in "
            f"{self.parts} parts of {-(-batch.size // self.parts)}; its gradient, the learning rate and the schedule "
            "stay as they are"
        )


class _Parts(Closure):
    """Both passes of one batch, which optimizers call, some of them twice."""

    generators: list[Tensor]  # states of the random generators before it

    def __init__(self, callback: MicroBatches, trainer: pl.Trainer, kwargs: Any, optimizer: Optimizer, index: int):
        self.callback, self.trainer, self.kwargs, self.optimizer, self.index = (
            callback,
            trainer,
            kwargs,
            optimizer,
            index,
        )
        self._result = None
        tensors: list[Tensor] = []
        apply_to_collection(kwargs["batch"], Tensor, lambda one: tensors.append(one) if one.ndim else None)
        self.size = len(tensors[0]) if tensors else 1
        self.step, self.device = trainer.global_step + 1, trainer.strategy.root_device

    def closure(self, *args: Any, **kwargs: Any) -> ClosureResult:
        return self.callback.run(self, first=self.index % self.trainer.accumulate_grad_batches == 0)

    def run(self, parts: int) -> ClosureResult:
        """Run both passes of the batch in so many parts, as equal as can be, and return the result of the whole."""
        loop = self.trainer.fit_loop.epoch_loop.automatic_optimization
        ends = [self.size * number // parts for number in range(parts + 1)]
        results: list[tuple[ClosureResult, float]] = []
        for begin, end in pairwise(ends):
            if begin == end:
                continue
            part, share = {**self.kwargs, "batch": self._cut(begin, end)}, (end - begin) / self.size
            one = type(loop)._make_closure(loop, type(self.kwargs)(part), self.optimizer, self.index)
            if results:
                one._zero_grad_fn = None
            if share < 1 and one._backward_fn is not None:
                one._backward_fn = _weighted(one._backward_fn, share)
            results.append((one.closure(), share))
        last = results[-1][0]
        if len(results) == 1 or last.loss is None:
            return last
        total = sum(result.loss * share for result, share in results if result.loss is not None)
        return ClosureResult(torch.as_tensor(total), extra=last.extra)

    def _cut(self, begin: int, end: int) -> Any:
        if end - begin == self.size:
            return self.kwargs["batch"]
        return apply_to_collection(
            self.kwargs["batch"], Tensor, lambda one: one[begin:end] if one.ndim and len(one) == self.size else one
        )


def _weighted(backward: Any, share: float) -> Any:
    return lambda loss: backward(loss * share)


class _State:
    """Buffers and running metrics of a module, kept aside without a wait for the device."""

    def __init__(self, module: pl.LightningModule | None = None) -> None:
        self._buffers = [] if module is None else [*module.buffers()]
        self._metrics = [] if module is None else [part for part in module.modules() if isinstance(part, Metric)]
        self._copies: dict[torch.dtype, list[Tensor]] = {}

    def keep(self) -> None:
        now = self._now()
        if [*map(len, self._copies.values())] != [*map(len, now.values())]:
            self._copies = {kind: [one.clone() for one in group] for kind, group in now.items()}
            return
        for kind, group in now.items():
            torch._foreach_copy_(self._copies[kind], group)

    def restore(self) -> None:
        with torch.no_grad():
            for kind, group in self._now().items():
                torch._foreach_copy_(group, self._copies[kind])

    def _now(self) -> dict[torch.dtype, list[Tensor]]:
        """Return the tensors by type, because those of one type are copied at once."""
        found = defaultdict(list)
        states = (getattr(metric, name) for metric in self._metrics for name in metric._defaults)
        for one in (*self._buffers, *states):
            if isinstance(one, Tensor):
                found[one.dtype].append(one)
        return found


def _generators(device: torch.device) -> list[Tensor]:
    """Return the states of the random generators that a step draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def _restore_generators(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
