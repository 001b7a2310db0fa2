"""Suite `pipeline`: from files on disk to augmented batches on the device, without a network."""

from __future__ import annotations

from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from fer_lightning.benchmarks.bench import Bench, contender, left_out, textbook
from fer_lightning.benchmarks.rows import Goal, Row, unmet
from fer_lightning.system.resources import available_cores

ENOUGH = 10_000  # images, for goals in seconds: what a start costs anyway does not count then
AUGMENTED_TOGETHER = 512
CHANGES = ("flip", "rotate", "shift", "zoom", "brightness", "contrast", "erase")


def pipeline(bench: Bench) -> Iterator[Row]:
    """Time decoding, opening, augmenting and loading."""
    settings = bench.settings()
    yield from _from_disk(bench, settings)
    yield _augment(bench, settings)
    yield _load(bench, settings)


def _from_disk(bench: Bench, settings: str) -> Iterator[Row]:
    """Both sides count what they open; the figures are seconds of one pass over as many pictures as ours opens."""
    cfg, images = bench.cfg, bench.pictures
    sizes = {"size": cfg.data.image_size, "channels": cfg.data.channels}
    passes = {"unit": images, "inverse": True}
    needs = unmet((images >= ENOUGH, f"{ENOUGH:,} images"))
    cores = f"ours decodes in {available_cores()} threads, Pillow in one process"
    text = "ours reads the text of a CSV, Pillow the same pictures as PNG files"
    scaled = (f"the yardstick goes over the {bench.facts['train']:,} of the training split: scaled to {images:,}",)
    scaled = scaled if images != bench.facts["train"] else ()
    yield bench.measure(
        Row(
            "pipeline",
            f"decode {images:,} pictures into a cache",
            "a pass with Pillow",
            unit="s",
            goal=Goal("ours", "most", 3.0 * images / 32_284, needs),
            notes=(cores, *((text,) if bench.facts["source"] == "csv" else ()), *scaled),
        ),
        contender("cache build", "build_cache", settings=settings, faces=bench.faces),
        contender("Pillow pass", "fer_lightning.benchmarks.baselines.decode_folder", folder=bench.faces, **sizes),
        **passes,
    )
    goal = Goal("ours", "most", 0.15 * images / 32_284, needs)
    yield bench.measure(
        Row("pipeline", f"open {images:,} pictures, decoded before", "ImageFolder", unit="s", goal=goal, notes=scaled),
        contender("warm open", "open_warm", settings=settings, faces=bench.faces),
        contender("ImageFolder", "fer_lightning.benchmarks.baselines.list_folder", folder=bench.faces),
        **passes,
    )


def _augment(bench: Bench, settings: str) -> Row:
    threads = f"{bench.facts['machine']['threads']} threads of torch against one of Albumentations"
    row = Row(
        "pipeline",
        "augment whole batches",
        "Albumentations, one by one",
        goal=Goal("ratio", "least", 5),
        notes=(threads,),
        skipped=_nothing_to_augment(bench.cfg),
    )
    if row.skipped is not None:
        return row
    options = {"settings": settings, "batch_size": AUGMENTED_TOGETHER}
    return bench.measure(
        row,
        contender("batched engine", "augment", engine="batched", **options),
        contender("Albumentations", "augment", engine="albumentations", **options),
    )


def _nothing_to_augment(cfg: DictConfig) -> str | None:
    """Return why the engines cannot be compared; `~augmentation` takes the whole group away."""
    spec = OmegaConf.select(cfg, "augmentation", default=OmegaConf.create())
    if spec.get("extra"):
        return "augmentation.extra is Albumentations' own, which changes image by image"
    if not any(spec.get(name) for name in CHANGES):
        return "the settings change no image: type augmentation=standard"
    return None


def _load(bench: Bench, settings: str) -> Row:
    goal = Goal("ours", "least", 3e6, unmet(("H200" in bench.facts["device"], "an NVIDIA H200")))
    return bench.measure(
        Row("pipeline", "training batches on the device", "textbook loader", goal=goal, notes=left_out(bench)),
        contender("our loader", "load", settings=settings),
        textbook(bench, "load"),
    )
