"""Which arithmetic a device has, and whether bf16 is worthwhile on it: measured, not assumed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from pathlib import Path

import torch
from torch import nn

from fer_lightning.core.atomic_write import make_folder, write_text
from fer_lightning.core.errors import ConfigError
from fer_lightning.system.resources import available_cores

_ANSWER = "FER_LIGHTNING_BF16_SPEEDUP"


def torch_device(accelerator: str) -> torch.device:
    """Return where tensors go; of several GPUs, the current one."""
    return torch.device("cuda" if accelerator in ("gpu", "cuda") else accelerator)


def device_name(accelerator: str) -> str:
    """Return what the device calls itself."""
    if accelerator in ("gpu", "cuda") and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    if accelerator == "mps":
        return "Apple GPU"
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name\s*:(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return f"{found[1].strip()}, {available_cores()} cores"
    return f"CPU with {available_cores()} cores"


def has_bf16(accelerator: str) -> bool:
    """Whether a device has bf16 instructions: AVX-512 BF16 or AMX on a CPU, tensor cores from Ampere on."""
    if accelerator in ("gpu", "cuda"):
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "mps":
        return False
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check is not None and check() for check in checks)


def check_precision(precision: str, accelerator: str) -> None:
    """Raise a ConfigError where a device lacks the arithmetic that was asked for."""
    bf16 = has_bf16(accelerator)
    if precision.startswith("16") and accelerator == "cpu":
        kind, instead = "fp16", "bf16-mixed, or 32-true" if bf16 else "32-true"
    elif precision.startswith("bf16") and accelerator in ("gpu", "cuda") and not bf16:
        kind, instead = "bf16", "16-mixed, or 32-true"
    else:
        return
    lacks = f"no {kind} arithmetic on {device_name(accelerator)}"
    raise ConfigError(f"trainer.precision={precision}: {lacks}; type trainer.precision={instead}")


def bf16_speedup(accelerator: str, threads: int, memory: Path | None = None) -> float:
    """Return how many times as fast as fp32 a device trains in bf16; 0 where it has no bf16 instructions.

    Takes about 0.2 s. The answer is stored in the JSON file `memory`, so that all runs on one machine choose the same;
    ranks that Lightning starts use the answer of the first.
    """
    if not has_bf16(accelerator):
        return 0.0
    if int(os.environ.get("LOCAL_RANK", "0")) > 0 and _ANSWER in os.environ:
        return float(os.environ[_ANSWER])
    known: dict[str, float] = {}
    if memory is not None:
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):  # no such file yet, or it is damaged
            known = {str(key): float(value) for key, value in json.loads(memory.read_text()).items()}
    key = f"{device_name(accelerator)}, torch {torch.__version__}"
    key += f", {threads} threads" if accelerator == "cpu" else ""
    if key not in known:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        known[key] = round(_measure(torch_device(accelerator)), 2)
        torch.set_num_threads(before)
        if memory is not None:
            with contextlib.suppress(OSError):  # without the file each start repeats the trial
                make_folder(memory.parent)
                write_text(memory, json.dumps(known, indent=1))
    os.environ[_ANSWER] = str(known[key])
    return known[key]


def _measure(device: torch.device) -> float:
    """Time training steps of two convolutions, as small networks for faces have them, in fp32 and bf16 in turn."""
    with torch.random.fork_rng(devices=[]):  # a run's weights must not depend on whether the trial took place
        layers = [nn.Conv2d(16, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1)]
        network, pixels = nn.Sequential(*layers), torch.rand(32 if device.type == "cpu" else 512, 16, 24, 24)
    network = network.to(device).to(memory_format=torch.channels_last)
    pixels = pixels.to(device, memory_format=torch.channels_last)
    times: dict[bool, list[float]] = {False: [], True: []}
    for bf16 in (False, True) * 4:
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            network(pixels).float().square().mean().backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times[bf16].append(time.perf_counter() - started)
    return min(times[False][1:]) / min(times[True][1:])  # the first of each chooses the kernels
