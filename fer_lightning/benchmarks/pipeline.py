"""Suite `pipeline`: from files on disk to augmented batches on the device, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fer_lightning.benchmarks.bench import Bench, contender, left_out, textbook
from fer_lightning.benchmarks.rows import Goal, Row, unmet
from fer_lightning.system.resources import available_cores

ENOUGH = 10_000  # images, for goals in seconds: below that, fixed costs of a start dominate


def pipeline(bench: Bench) -> Iterator[Row]:
    """Time decoding, opening, augmenting and loading."""
    settings = bench.settings()
    yield from _from_disk(bench, settings)
    threads = f"{bench.facts['machine']['threads']} threads of torch against one of Albumentations"
    goal, augment = Goal("ratio", "least", 5), {"settings": settings, "batch_size": 512}
    row = Row("pipeline", "augment whole batches", "Albumentations, one by one", goal=goal, notes=(threads,))
    yield bench.measure(
        replace(row, skipped=_nothing_to_augment(bench.cfg)),
        contender("batched engine", "contenders.augment", engine="batched", **augment),
        contender("Albumentations", "contenders.augment", engine="albumentations", **augment),
    )
    goal = Goal("ours", "least", 3e6, unmet(("H200" in bench.facts["device"], "an NVIDIA H200")))
    yield bench.measure(
        Row("pipeline", "training batches on the device", "textbook loader", goal=goal, notes=left_out(bench)),
        contender("our loader", "contenders.load", settings=settings),
        textbook(bench, "load"),
    )


def _from_disk(bench: Bench, settings: str) -> Iterator[Row]:
    """Both sides count what they open; the figures are seconds of one pass over as many pictures as ours opens."""
    data, faces = bench.cfg.data, bench.facts["faces"]  # the class folders that the baselines read
    images, train = bench.facts["pictures"], bench.facts["train"]
    own, needs = {"settings": settings, "faces": faces}, unmet((images >= ENOUGH, f"{ENOUGH:,} images"))
    passes: dict[str, Any] = {"unit": images, "inverse": True}
    cores = f"ours decodes in {available_cores()} threads, Pillow in one process"
    text = ("ours reads the text of a CSV, Pillow the same pictures as PNG files",)
    more = f"the baseline goes over the {train:,} of the training split: scaled to {images:,}"
    scaled = (more,) if images != train else ()
    notes = (cores, *(text if bench.facts["source"] == "csv" else ()), *scaled)
    goal, what = Goal("ours", "most", 3.0 * images / 32_284, needs), f"decode {images:,} pictures into a cache"
    sizes = {"size": data.image_size, "channels": data.channels}
    yield bench.measure(
        Row("pipeline", what, "a pass with Pillow", unit="s", goal=goal, notes=notes),
        contender("cache build", "contenders.build_cache", **own),
        contender("Pillow pass", "baselines.decode_folder", folder=faces, **sizes),
        **passes,
    )
    goal, what = Goal("ours", "most", 0.15 * images / 32_284, needs), f"open {images:,} pictures, decoded before"
    yield bench.measure(
        Row("pipeline", what, "ImageFolder", unit="s", goal=goal, notes=scaled),
        contender("warm open", "contenders.open_warm", **own),
        contender("ImageFolder", "baselines.list_folder", folder=faces),
        **passes,
    )


def _nothing_to_augment(cfg: DictConfig) -> str | None:
    """Return why the engines cannot be compared; `~augmentation` removes the whole group."""
    spec = OmegaConf.select(cfg, "augmentation", default=OmegaConf.create())
    if spec.get("extra"):
        return "augmentation.extra is Albumentations' own, which changes image by image"
    changes = ("flip", "rotate", "shift", "zoom", "brightness", "contrast", "erase")
    changed = any(spec.get(name) for name in changes)
    return None if changed else "the settings change no image: type augmentation=standard"
