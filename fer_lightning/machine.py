"""What this machine can do; turns every `auto` of a configuration into a choice that is printed and stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from fer_lightning.resources import available_cores, listed_devices


@dataclass(frozen=True)
class Machine:
    """The choices made for one run.

    Attributes:
        accelerator: `cpu`, `gpu` or `mps`.
        precision: a precision of Lightning's Trainer.
        channels_last: memory format of weights and activations.
        num_workers: loader processes.
        why: one line for the user.
    """

    accelerator: str
    precision: str
    channels_last: bool
    num_workers: int
    why: str

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def settle(
    *,
    accelerator: str,
    precision: str | int,
    channels_last: bool | str,
    num_workers: int | str,
    devices: int | str | Sequence[int | str] = 1,
) -> Machine:
    """Choose what is `auto` and keep what is not.

    Args:
        accelerator: `auto`, `cpu`, `gpu`, `cuda` or `mps`.
        precision: `auto`, or a precision of Lightning's Trainer.
        channels_last: `auto`, or a choice.
        num_workers: `auto`, or a number, of each rank.
        devices: as Lightning's Trainer takes them; each is a rank, and the ranks share the cores.
    """
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    name, bf16 = _describe(accelerator)
    if precision == "auto":
        precision = "bf16-mixed" if bf16 else "32-true"
    if channels_last == "auto":
        channels_last = accelerator != "mps"
    if num_workers == "auto":
        # on a CPU the loaders would take cores from the network; images come decoded from a memory map
        ranks = max(1, len(listed_devices(devices)) or torch.cuda.device_count())
        num_workers = 0 if accelerator == "cpu" else max(0, min(8, available_cores() // ranks - 1))
    layout = "channels_last" if channels_last else "contiguous"
    why = f"{name}: {precision}, {layout}, {num_workers} loader processes"
    return Machine(accelerator, str(precision), bool(channels_last), int(num_workers), why)


def _describe(accelerator: str) -> tuple[str, bool]:
    """Name the device and say whether its bf16 arithmetic is faster than its fp32."""
    if accelerator in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "mps":
        return "Apple GPU", False
    return f"CPU with {available_cores()} cores", _cpu_has_bf16()


def _cpu_has_bf16() -> bool:
    """Whether oneDNN has bf16 instructions here (AVX-512 BF16 or AMX); emulated bf16 is slower than fp32."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)
