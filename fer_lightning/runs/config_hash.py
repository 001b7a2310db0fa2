"""What makes two jobs the same job: their settings, after composition, and nothing of when or where they run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

# how a run is written down and driven by its sweep, but not what it computes
ELSEWHERE = ("output_dir", "sweep", "logger")
SHARES = ("threads", "jobs")  # of the machine


def identify(cfg: DictConfig) -> str:
    """Return 16 hexadecimal digits of the resolved settings of a run.

    Args:
        cfg: composed for a run, with or without Hydra's own settings.
    """
    text = json.dumps(settings_of(cfg), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identify_overrides(overrides: list[str]) -> str:
    """Return the same of settings that cannot be composed."""
    return hashlib.sha256("\n".join(overrides).encode()).hexdigest()[:16]


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """Return what a run computes with, as plain resolved values."""
    own = OmegaConf.create({key: cfg._get_node(key) for key in cfg if key != "hydra"})
    with open_dict(own):
        own.output_dir = None
        if "optimizer" in own:  # a training that is continued is the same one; an evaluation is about its checkpoint
            own.ckpt_path = None
        if isinstance(own.get("sweep"), DictConfig):  # others refer to it, so it stays until they are resolved
            own.sweep = dict.fromkeys(own.sweep)
    try:
        plain = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException:  # what cannot be resolved is told by the run itself
        plain = OmegaConf.to_container(own, resolve=False)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items() if key not in ELSEWHERE}
    for share in SHARES:
        settings.get("machine", {}).pop(share, None)
    root = settings.get("data", {}).get("root")
    if isinstance(root, str):
        settings["data"]["root"] = str(Path(root).expanduser().absolute())
    return settings
