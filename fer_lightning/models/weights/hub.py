"""Pretrained weights of timm: on its hub, or in the cache that an earlier download left."""

from __future__ import annotations

import contextlib
import functools
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import timm
import torch
from huggingface_hub import get_session

from fer_lightning.core.errors import ConfigError

PROBE_SECONDS = 5.0  # the hub's own client retries for three quarters of a minute before it gives up


def pretrained_source(name: str) -> dict[str, Any]:
    """Return timm's `pretrained_cfg_overlay`: where the weights of `name` lie here; empty if timm is to download.

    It is a ConfigError if there are none, or if they are not here and their server does not answer.
    """
    cfg: Any = timm.get_pretrained_cfg(name)
    if cfg is None or not cfg.has_weights:
        hint = "type model.pretrained=false or model.weights=FILE"
        raise ConfigError(f"timm has no pretrained weights for model.backbone={name}; {hint}")
    if cfg.hf_hub_id:
        server, cached = huggingface_hub.constants.ENDPOINT, _cached_hub_file(cfg.hf_hub_id, cfg.hf_hub_filename)
    else:
        server = cfg.url
        cached = Path(torch.hub.get_dir(), "checkpoints", Path(urlsplit(server).path).name)
    if cached is not None and cached.is_file():
        return {"file": str(cached), "custom_load": cfg.custom_load}
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise unreachable(name, "HF_HUB_OFFLINE is set")
    if not answers(server, PROBE_SECONDS):
        raise unreachable(name, f"{urlsplit(server).hostname} does not answer")
    return {}


def _cached_hub_file(repository: str, filename: str | None) -> Path | None:
    """Return a weights file that an earlier download left on this machine, safetensors if there is a choice."""
    repository, _, revision = repository.partition("@")
    filename = filename or "pytorch_model.bin"
    renamed = {"pytorch_model.bin": "model.bin", "open_clip_pytorch_model.bin": "open_clip_model.bin"}
    safe = str(Path(renamed.get(filename, filename)).with_suffix(".safetensors"))
    look = functools.partial(huggingface_hub.try_to_load_from_cache, repository, revision=revision or None)
    return next((Path(found) for found in map(look, (safe, filename)) if isinstance(found, str)), None)


def answers(url: str, seconds: float) -> bool:
    """Return whether the server of `url` answers the hub's own client within `seconds`.

    That client has the proxies, certificates and offline switch of a real download. It asks in a thread, since looking
    up a name has no time limit.
    """
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(Exception):  # of whichever HTTP library the client is made; all of them mean no
            if get_session().head(url, timeout=seconds).status_code < 500:
                answered.set()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def unreachable(name: str, reason: str) -> ConfigError:
    return ConfigError(
        f"the pretrained weights of model.backbone={name} are not on this machine and cannot be downloaded ({reason}); "
        "type model.pretrained=false to start from scratch, or model.weights=FILE to read them from a file"
    )
