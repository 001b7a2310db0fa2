"""What this machine can do; turns every `auto` of a configuration into a choice that is printed and stored."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from fer_lightning.system.precision import WORTHWHILE, bf16_speedup, check_precision, device_name, has_bf16
from fer_lightning.system.resources import available_cores, is_task, listed_devices

Auto = Literal["auto"]
# as it was before Lightning and `Machine.apply` write to the environment
_TOLD_THREADS = torch.get_num_threads() if "OMP_NUM_THREADS" in os.environ else None


@dataclass(frozen=True)
class Machine:
    """The choices made for one run.

    Attributes:
        accelerator: `cpu`, `gpu` or `mps`.
        precision: a precision of Lightning's Trainer.
        channels_last: memory format of weights and activations.
        num_workers: loader processes.
        threads: of this process, for arithmetic on the CPU.
        tf32: whether a GPU may round the factors of fp32 products to ten bits.
        benchmark: whether cuDNN tries its algorithms and keeps the fastest.
        why: one line for the user.
    """

    accelerator: str
    precision: str
    channels_last: bool
    num_workers: int
    threads: int
    tf32: bool
    benchmark: bool
    why: str

    @property
    def device(self) -> torch.device:
        """Where tensors go; of several GPUs, the current one."""
        return torch.device("cuda" if self.accelerator in ("gpu", "cuda") else self.accelerator)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def apply(self) -> None:
        """Set what torch keeps for the whole process."""
        torch.set_num_threads(self.threads)
        os.environ["OMP_NUM_THREADS"] = str(self.threads)  # without it Lightning sets threads of its own for each rank
        if self.accelerator in ("gpu", "cuda"):
            torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
            torch.backends.cudnn.allow_tf32 = self.tf32


def settle(
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
        precision: `auto`, or a precision of Lightning's Trainer. `auto` is bf16 where a short trial is faster for it.
        channels_last: `auto`, or a choice.
        num_workers: `auto`, or a number, of each rank.
        devices: as Lightning's Trainer takes them; each is a rank, and the ranks share the cores.
        deterministic: as Lightning's Trainer takes it; cuDNN is not left to choose among algorithms then.
        threads: `auto`, or a number, of each rank.
        jobs: runs at once on this machine, which share its cores.
        tf32: `auto` (yes, on a GPU that has it), or a choice.
        memory: file that keeps what was tried here; None to try anew.

    Raises:
        ConfigError: the machine lacks the arithmetic that was asked for.
        ValueError: `threads` or `jobs` is below 1, or TF32 is asked for where there is none.
    """
    if threads != "auto" and threads < 1:
        raise ValueError(f"machine.threads={threads} must be auto, or 1 or more")
    if jobs < 1:
        raise ValueError(f"machine.jobs={jobs} must be 1 or more")
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    elif accelerator == "gpu" and torch.backends.mps.is_available() and not torch.cuda.is_available():
        accelerator = "mps"
    on_gpu = accelerator in ("gpu", "cuda")
    if tf32 is True and not (on_gpu and has_bf16(accelerator)):  # both came with the same generation
        raise ValueError(f"machine.tf32=true needs an NVIDIA GPU that has it, not {device_name(accelerator)}")
    ranks = max(1, len(listed_devices(devices)) or (torch.cuda.device_count() if on_gpu else 1))
    sharing = jobs if is_task() else ranks * jobs  # of SLURM each rank got cores of its own
    if threads == "auto":
        threads = _threads(sharing)
    if channels_last == "auto":
        channels_last = accelerator != "mps"
    if num_workers == "auto":
        # on a CPU the loaders would take cores from the network; images come decoded from a memory map
        num_workers = 0 if accelerator == "cpu" else max(0, min(8, available_cores() // sharing - 1))
    speed = ""
    if precision == "auto":
        speedup = bf16_speedup(accelerator, int(threads), memory)
        precision = "bf16-mixed" if speedup >= WORTHWHILE else "32-true"
        speed = f" (bf16 is {speedup:g} × as fast as fp32 here)" if speedup > 0 else " (no bf16 instructions here)"
    check_precision(str(precision), accelerator)
    tf32 = on_gpu and (has_bf16(accelerator) if tf32 == "auto" else tf32)
    layout = "channels_last" if channels_last else "contiguous"
    many = f"{threads} thread{'s' * (threads > 1)}"
    why = f"{device_name(accelerator)}: {precision}{speed}, {layout}, {many}{', TF32' if tf32 else ''}"
    benchmark = on_gpu and not deterministic
    return Machine(
        accelerator, str(precision), bool(channels_last), int(num_workers), int(threads), bool(tf32), benchmark, why
    )


def _threads(sharing: int) -> int:
    """Return an equal share of the cores, unless the environment says how many threads there shall be."""
    return max(1, available_cores() // sharing) if _TOLD_THREADS is None else _TOLD_THREADS
