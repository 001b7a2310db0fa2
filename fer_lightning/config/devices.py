"""Where a run is computed: the devices that are asked for, and the processes that others have started."""

from __future__ import annotations

import os
from collections.abc import Iterator

from omegaconf import DictConfig, ListConfig

from fer_lightning.config.nodes import get
from fer_lightning.system.resources import launched_rank, listed_devices


def check_devices(cfg: DictConfig) -> Iterator[str]:
    """Check that the devices that are asked for are here."""
    accelerator, devices = get(cfg, "trainer.accelerator"), get(cfg, "trainer.devices")
    if devices is not None and devices not in ("auto", -1, "-1") and not listed_devices(devices):
        cure = "trainer=gpu" if str(devices)[:3] in ("gpu", "cud") else "trainer.devices=1"
        yield f"trainer.devices={devices} is neither a number of devices nor a list of GPUs: type {cure}"
        return
    wanted = max(listed_devices(devices), default=-1) + 1
    names_gpus = devices in (-1, "-1") or isinstance(devices, ListConfig) or "," in str(devices)
    if names_gpus and (accelerator == "cpu" or (accelerator == "auto" and not _has_gpu())):
        cure = f"type trainer.devices={max(1, len(listed_devices(devices)))}"
        yield f"trainer.devices={devices} names GPUs, and this run is on the CPU: {cure}"
        return
    if accelerator not in ("gpu", "cuda", "auto") or (accelerator == "auto" and wanted <= 1):
        return
    import torch  # only here: a configuration without a GPU is checked without it

    present = 1 if accelerator == "gpu" and torch.backends.mps.is_available() else torch.cuda.device_count()
    if present == 0 and accelerator != "auto":
        yield f"trainer.accelerator={accelerator}, but no GPU is usable here: type trainer=cpu"
    elif 0 < present < wanted:
        asked, have = f"trainer.devices={devices}", f"{present} GPU{'s' * (present > 1)}"
        yield f"{asked}, but this machine has {have}: type trainer.devices={present} or trainer=cpu"


def _has_gpu() -> bool:
    import torch  # only here, as above

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def check_ranks(cfg: DictConfig) -> Iterator[str]:
    """Check that the processes that torchrun or srun started are the ranks of one run."""
    rank = launched_rank()
    if rank is None or "trainer" not in cfg:
        return
    asked = f"trainer.devices={get(cfg, 'trainer.devices')} trainer.num_nodes={get(cfg, 'trainer.num_nodes')}"
    if "TORCHELASTIC_RUN_ID" in os.environ:
        count, each = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if count != processes(cfg):
            cure = f"trainer=ddp trainer.devices={each} trainer.num_nodes={count // each}"
            yield f"torchrun started {count} process{'es' * (count > 1)}, which is not {asked}: type {cure}"
    elif rank > 0 and processes(cfg) == 1:
        yield (
            f"srun started {os.environ['SLURM_NTASKS']} tasks, and {asked} is one process: type trainer=ddp with as"
            " many trainer.devices as --ntasks-per-node and trainer.num_nodes as --nodes, or srun --ntasks=1"
        )


def processes(cfg: DictConfig) -> int:
    """Return how many processes a run would have, as far as this machine tells."""
    nodes, devices = get(cfg, "trainer.num_nodes"), get(cfg, "trainer.devices")
    count = len(listed_devices(devices))
    if devices in ("auto", -1, "-1") and get(cfg, "trainer.accelerator") in ("gpu", "cuda", "auto"):
        import torch  # only here, as above

        count = torch.cuda.device_count()
    return max(count, 1) * (nodes if isinstance(nodes, int) else 1)
