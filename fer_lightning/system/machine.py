"""What this machine can do: turns every `auto` of a configuration into a choice that is printed and stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from fer_lightning.system.precision import bf16_speedup, check_precision, device_name, has_bf16, torch_device
from fer_lightning.system.resources import available_cores, is_slurm_task, listed_devices

Auto = Literal["auto"]
# read here, before Lightning and `Machine.apply` write to the environment
_THREADS_FROM_ENVIRONMENT = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else None


@dataclass(frozen=True)
class Machine:
    """The choices made for one run, as `resolve_machine` takes them, and a `summary` of one line for the user.

    With `tf32` a GPU may round the factors of fp32 products to ten bits; with `benchmark` cuDNN tries its algorithms
    and keeps the fastest.
    """

    accelerator: str
    precision: str
    channels_last: bool
    num_workers: int
    threads: int
    tf32: bool
    benchmark: bool
    summary: str

    @property
    def device(self) -> torch.device:
        return torch_device(self.accelerator)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def apply(self) -> None:
        """Set threads and TF32, which torch keeps for the whole process."""
        torch.set_num_threads(self.threads)
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # without it Lightning sets threads of its own for each rank
        if self.accelerator in ("gpu", "cuda"):
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32


def resolve_machine(
    *,
    accelerator: str,
    precision: str | int,
    channels_last: bool | Auto,
    num_workers: int | Auto,
    devices: int | str | Sequence[int | str] = 1,
    deterministic: bool | str | None = None,
    threads: int | Auto = "auto",
    jobs: int = 1,
    tf32: bool | Auto = "auto",
    memory: Path | None = None,
) -> Machine:
    """Choose what is `auto` and keep what is not.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, `cuda` or `mps`.
        precision: `auto`, bf16 where a short trial is faster for it, or a precision of Lightning's Trainer.
        channels_last: whether weights and activations have this memory format.
        num_workers: loader processes of each rank.
        devices: as Lightning's Trainer takes them; each is a rank, and the ranks share the cores.
        deterministic: as Lightning's Trainer takes it; where set, cuDNN does not choose among algorithms.
        threads: CPU threads of each rank.
        jobs: runs at once on this machine, which share its cores.
        tf32: `auto` (yes, on a GPU that has it), or a choice.
        memory: file of earlier trials on this machine; None to repeat them.

    Raises:
        ConfigError: the machine lacks the arithmetic that was asked for.
        ValueError: `threads` or `jobs` is below 1, or TF32 is asked for where there is none.
    """
    if not isinstance(threads, str) and threads < 1:
        raise ValueError(f"machine.threads={threads} must be auto, or 1 or more")
    if jobs < 1:
        raise ValueError(f"machine.jobs={jobs} must be 1 or more")
    if accelerator in ("auto", "gpu"):
        otherwise = "cpu" if accelerator == "auto" else "gpu"
        has_cuda, has_mps = torch.cuda.is_available(), torch.backends.mps.is_available()
        accelerator = "gpu" if has_cuda else "mps" if has_mps else otherwise
    on_gpu = accelerator in ("gpu", "cuda")
    has_tf32 = on_gpu and has_bf16(accelerator)  # both came with the same generation
    if tf32 is True and not has_tf32:
        raise ValueError(f"machine.tf32=true needs an NVIDIA GPU that has it, not {device_name(accelerator)}")
    tf32 = has_tf32 if isinstance(tf32, str) else tf32
    ranks = max(1, len(listed_devices(devices)) or (torch.cuda.device_count() if on_gpu else 1))
    cores = available_cores() // (jobs if is_slurm_task() else ranks * jobs)  # SLURM gave each rank cores of its own
    if threads == "auto":
        threads = _THREADS_FROM_ENVIRONMENT or max(1, cores)
    if channels_last == "auto":
        channels_last = accelerator != "mps"
    if num_workers == "auto":  # on a CPU the loaders would take cores from the network
        spare = max(0, min(8, cores - 1))
        num_workers = 0 if accelerator == "cpu" else spare
    trial = ""
    if precision == "auto":
        speedup = bf16_speedup(accelerator, threads, memory)
        # below 1.1 times as fast is within the noise of a trial this short
        precision = "bf16-mixed" if speedup >= 1.1 else "32-true"
        trial = f" (bf16 is {speedup:g} × as fast as fp32 here)" if speedup > 0 else " (no bf16 instructions here)"
    precision = str(precision)
    check_precision(precision, accelerator)
    layout = "channels_last" if channels_last else "contiguous"
    summary = f"{device_name(accelerator)}: {precision}{trial}, {layout}, {threads} thread{'s' * (threads > 1)}"
    benchmark, summary = on_gpu and not deterministic, summary + ", TF32" * tf32
    return Machine(accelerator, precision, channels_last, num_workers, threads, tf32, benchmark, summary)
