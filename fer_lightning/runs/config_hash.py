"""The identity of a job: a hash of its composed settings, without where and how it is run."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from fer_lightning.config.overrides import override_key
from fer_lightning.core.home import expand_user

# where a run is written and what drives it, not what it computes
ELSEWHERE = ("output_dir", "sweep", "logger", "security")


def identify(cfg: DictConfig) -> str:
    """Return 16 hexadecimal digits of the resolved settings of a run, composed with or without Hydra's own."""
    return _digits(json.dumps(settings_of(cfg), sort_keys=True, default=str))


def identify_overrides(overrides: list[str]) -> str:
    """Return 16 hexadecimal digits of overrides that cannot be composed."""
    return _digits("\n".join(word for word in overrides if override_key(word) != "security.allow"))


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """Return the settings that determine what a run computes, as plain resolved values."""
    own = OmegaConf.create({key: cfg._get_node(key) for key in cfg if key != "hydra"})
    with open_dict(own):
        own.output_dir = None
        if "optimizer" in own:  # continuing a training does not change it, but an evaluation depends on its checkpoint
            own.ckpt_path = None
        if isinstance(own.get("sweep"), DictConfig):  # other keys refer to it: it is removed after they are resolved
            own.sweep = dict.fromkeys(own.sweep)
    try:
        plain = OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException:  # the run itself will report what cannot be resolved
        plain = OmegaConf.to_container(own, resolve=False)
    assert isinstance(plain, dict)
    settings = {str(key): value for key, value in plain.items() if key not in ELSEWHERE}
    for name in ("threads", "jobs"):
        settings.get("machine", {}).pop(name, None)
    root = settings.get("data", {}).get("root")
    if isinstance(root, str):
        settings["data"]["root"] = str(expand_user(root).absolute())
    return settings
