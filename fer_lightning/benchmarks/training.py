"""Suite `train`: our runs against the loops of `baselines`, images a second."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fer_lightning.benchmarks.bench import Bench, attempt, contender, left_out, textbook
from fer_lightning.benchmarks.paired_timing import Contender
from fer_lightning.benchmarks.rows import Goal, Row, number, unmet
from fer_lightning.config.compose import conf_dir

# as the notebooks train it: Adam 1e-4, batches of 128, flip, 10°, 10 % shift, 10 % zoom
KERAS = (
    *("model=keras_cnn", "optimizer=adam", "optimizer.lr=1e-4", "scheduler=none", "data.batch_size=128"),
    *("augmentation=none", "augmentation.flip=0.5", "augmentation.rotate=10"),
    *("augmentation.shift=0.1", "augmentation.zoom=0.1", "data.channels=1"),
)
VGG = ("model=vgg16", "data.batch_size=1024", "data.image_size=48", "trainer.precision=bf16-mixed")
KERAS_ROW = Row("train", "keras_cnn, batch 128", "Keras fit", goal=Goal("ratio", "least", 1.6))
# dense bf16 of a whole card as its maker lists it, TFLOP/s; the first name that occurs in the card's own counts
PEAKS = {"B200": 2250.0, "H200": 989.5, "H100 PCIe": 756.0, "H100": 989.5, "A100": 312.0, "L40S": 362.0, "L4": 121.0}
EQUAL = "the same settings on both sides"
# values that the expert loop supports, or that make no difference; with any others, ours does more than the expert loop
PLAIN: dict[str, tuple[Any, ...]] = {
    "trainer.accumulate_grad_batches": (1,),
    "trainer.gradient_clip_val": (None, 0),
    "trainer.precision": ("auto", "32-true", "32", 32, "bf16-mixed", "bf16"),
    "trainer.overfit_batches": (0,),
    "trainer.deterministic": (None, False),
    "trainer.detect_anomaly": (False,),
    "trainer.profiler": (None,),
    "data.sampler": ("shuffle",),
    "data.resident": ("auto", True),
    "model.unfreeze_epoch": (None,),
    "model.mixup": (0,),
    "model.cutmix": (0,),
    "callbacks.progressive_resizing.start_size": (None,),
}
GPU_ROWS = {
    ("model=small_cnn", "data.batch_size=512"): 0.97,
    ("model=resnet50", "model.input_size=224", "data.batch_size=128"): 0.99,
}


def train(bench: Bench) -> Iterator[Row]:
    """Time training steps."""
    cfg, machine, expert = bench.cfg, bench.facts["machine"], partial(_against_expert, bench)
    small, odd = (cfg.model.backbone == "small_cnn", "small_cnn"), differences(bench.cfg)
    needs = unmet(
        small,
        (machine["accelerator"] == "cpu" and machine["threads"] == 2, "a CPU with 2 cores used"),
        (64 <= cfg.data.batch_size <= 128, "batches of 64 to 128"),
        (not odd, EQUAL),
    )
    goal, notes = Goal("ratio", "least", 3, needs), (*left_out(bench), *_describe("textbook", odd))
    row = Row("train", _batches(cfg), "textbook loop", goal=goal, notes=notes)
    yield bench.measure(row, _ours(bench.settings()), textbook(bench, "train"))
    yield expert((), Goal("ratio", "least", 0.97, unmet(small, (cfg.data.batch_size >= 128, "batches of 128 or more"))))
    installed = importlib.util.find_spec("tensorflow") is not None
    missing = None if installed else 'needs TensorFlow: pip install "fer_lightning[keras]"'
    yield attempt(replace(KERAS_ROW, skipped=missing), partial(_against_keras, bench))
    no_gpu = None if bench.on_gpu else "needs a GPU, and none is used here"
    for fixed, ratio in GPU_ROWS.items():
        row, goal = Row("train", " ".join(fixed), "expert loop", skipped=no_gpu), Goal("ratio", "least", ratio)
        yield attempt(row, partial(expert, fixed, goal))
    yield attempt(Row("train", " ".join(VGG), "bf16 matmul", skipped=no_gpu), partial(utilisation, bench))


def differences(cfg: DictConfig, resident: bool = True) -> list[str]:
    """Return what our run does and the expert loop does not; `resident` if our images lie in the device's memory."""
    found = {key: OmegaConf.select(cfg, key, default=plain[0]) for key, plain in PLAIN.items()}
    odd = [f"{key}={str(value).lower()}" for key, value in found.items() if value not in PLAIN[key]]
    usual = OmegaConf.load(conf_dir() / "callbacks" / "default.yaml")
    odd += [f"callbacks.{name}" for name in cfg.callbacks if name not in usual]
    return odd if resident or not found["data.resident"] else [*odd, "reading images from disk"]


def _against_expert(bench: Bench, fixed: tuple[str, ...], goal: Goal) -> Row:
    settings = bench.settings(*fixed)
    cfg: Any = OmegaConf.load(settings)
    odd = differences(cfg, bench.facts["resident"])
    goal = replace(goal, needs=unmet((not goal.needs, goal.needs), (not odd, EQUAL)))
    row = Row("train", _batches(cfg), "expert loop", goal=goal, notes=_describe("expert loop", odd))
    if bench.on_gpu and (cfg.data.engine == "albumentations" or OmegaConf.select(cfg, "augmentation.extra")):
        row = replace(row, skipped="Albumentations cannot change images where the expert keeps them, on the GPU")
    expert = contender("expert loop", "contenders.train_expert", settings=settings)
    return bench.measure(row, _ours(settings), expert)


def _against_keras(bench: Bench) -> Row:
    options = {"size": bench.cfg.data.image_size, "batch_size": 128, "learning_rate": 1e-4}
    keras = contender("Keras", "keras_baseline.keras_fit", folder=bench.facts["faces"], **options)
    return bench.measure(KERAS_ROW, _ours(bench.settings(*KERAS)), keras)


def utilisation(bench: Bench, fixed: tuple[str, ...] = VGG, side: int = 8192) -> Row:
    """Compare the arithmetic of our training steps with a product of matrices of `side`, and with the listed peak."""
    settings = bench.settings(*fixed)
    cfg: Any = OmegaConf.load(settings)
    what = f"{cfg.model.backbone} at {cfg.data.image_size} px, bf16, batch {cfg.data.batch_size}: arithmetic"
    goal = Goal("fraction", "least", 0.35)
    row = Row("train", what, f"bf16 matmul of side {side}", unit="TFLOP/s", goal=goal)
    matmul = contender("matmul", "baselines.matmul", size=side, device="cuda" if bench.on_gpu else "cpu")
    row = bench.measure(row, _ours(settings, count_flops=True), matmul, unit=1e12)
    if row.ours is None or row.ratio is None:
        return row
    peak = listed_peak(bench.facts["device"])
    if peak is None:  # the matmul is the best estimate
        return replace(row, fraction=row.ratio.median, notes=(*row.notes, "peak: the matmul's, none is listed"))
    return replace(row, fraction=row.ours.median / peak, notes=(*row.notes, f"listed peak: {number(peak)} TFLOP/s"))


def listed_peak(device: str) -> float | None:
    """Return the TFLOP/s of bf16 that a GPU of this name is sold with, if we know.

    >>> listed_peak("NVIDIA H200"), listed_peak("CPU with 2 cores")
    (989.5, None)
    """
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def _ours(settings: str, **options: Any) -> Contender:
    return contender("ours", "contenders.train", settings=settings, **options)


def _batches(cfg: DictConfig) -> str:
    side = "" if cfg.model.input_size is None else f" at {cfg.model.input_size} px"
    return f"{cfg.model.backbone}{side}, batch {cfg.data.batch_size}"


def _describe(whose: str, odd: list[str]) -> tuple[str, ...]:
    return (f"the {whose} does without {', '.join(odd)}",) if odd else ()
