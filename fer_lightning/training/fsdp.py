"""Training networks that outgrow a device: each rank keeps a part of the weights, gradients and optimizer states."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace
from typing import Any, Literal

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import FSDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed import fsdp
from torch.distributed.fsdp import FullyShardedDataParallel as FSDP
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy
from torch.optim import Optimizer

from fer_lightning.core.errors import ConfigError


class ShardedStrategy(FSDPStrategy):
    """Lightning's FSDP for these networks; it also clips gradients by their norm, and runs on CPUs, to be tried there.

    Checkpoints are whole, put together on the first rank: they load like any other, on one device or on many.

    Args:
        unit: parameters of the smallest part of the network that is fetched and freed by itself.
        sharding: `FULL_SHARD` cuts everything; `SHARD_GRAD_OP` leaves the weights whole, which talks less;
            `HYBRID_SHARD` cuts within a machine and repeats that on the others.
        cpu_offload: keep the parts in the memory of the host, for networks that outgrow all devices; slow.

    Raises:
        ValueError: `unit` is below 1.
    """

    def __init__(
        self,
        unit: int = 1_000_000,
        sharding: Literal["FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD"] = "FULL_SHARD",
        cpu_offload: bool = False,
        **kwargs: Any,
    ) -> None:
        if unit < 1:
            raise ValueError(f"unit={unit} must be 1 or more")
        kwargs["auto_wrap_policy"] = functools.partial(size_based_auto_wrap_policy, min_num_params=unit)
        super().__init__(sharding_strategy=sharding, cpu_offload=cpu_offload, state_dict_type="full", **kwargs)

    @property
    def _sharded(self) -> FSDP:
        model = self.model
        assert isinstance(model, FSDP)  # for mypy: from `_setup_model` on
        return model

    @property
    def mixed_precision_config(self) -> fsdp.MixedPrecision | None:
        """Lightning's, but what images are scaled by stays in fp32, as it does without sharding."""
        config = super().mixed_precision_config
        if config is None or config.param_dtype == torch.float32:  # for which torch would wrap batch norm apart
            return None
        return replace(config, buffer_dtype=None)

    def setup_environment(self) -> None:
        module = self.lightning_module
        assert module is not None  # for mypy: Lightning connects it first
        trainer = module.trainer
        if trainer.state.fn == TrainerFn.FITTING and not trainer.checkpoint_callbacks:
            raise ConfigError("trainer=fsdp puts the weights together in checkpoints only: type callbacks=default")
        if self.root_device.type == "cpu" and self.precision_plugin.precision != "32-true":
            raise ConfigError("trainer=fsdp mixes precisions on GPUs only: type trainer.precision=32-true")
        super().setup_environment()

    def clip_norm(self, most: float) -> Tensor:
        """Shrink the gradients of all ranks' parts to a common norm of at most this; return what it was, `()`."""
        return self._sharded.clip_grad_norm_(most)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the whole state on the first rank, keyed as a plain optimizer's."""
        if self.root_device.type != "cpu":
            return super().optimizer_state(optimizer)
        plain = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        # Lightning has the states brought to the CPU; torch does not copy what is there, and all would share one buffer
        configs = fsdp.FullStateDictConfig(offload_to_cpu=False), fsdp.FullOptimStateDictConfig(offload_to_cpu=False)
        with FSDP.state_dict_type(self._sharded, fsdp.StateDictType.FULL_STATE_DICT, *configs):
            state = FSDP.optim_state_dict(self._sharded, plain)
        return FSDP.rekey_optim_state_dict(state, fsdp.OptimStateKeyType.PARAM_ID, self._sharded)

    def _setup_model(self, model: nn.Module) -> nn.Module:
        # torch saves the optimizer states of weights in channels_last in the order of memory, and reads that of axes
        model = model.to(memory_format=torch.contiguous_format)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Both mixed precision")  # batch norm stays in fp32, as it should
            if self.root_device.type != "cpu":
                return super()._setup_model(model)
            # Lightning hands over the number of a GPU, and without one torch looks for an accelerator
            return FSDP(
                model,
                cpu_offload=self.cpu_offload,
                mixed_precision=self.mixed_precision_config,
                sharding_strategy=self.sharding_strategy,
                device_id=self.root_device,
                **self.kwargs,
            )
