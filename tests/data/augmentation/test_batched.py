"""Each image is a function of its own draws, and each step does what the specification says, exactly where it can."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.spec import Augmentation

CONF = Path(__file__).parents[3] / "conf" / "augmentation"
RANDOM = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")
EVERYTHING = {"flip": 0.5, "affine": 1.0, "light": 1.0, "erase": 0.5, "brightness": 0.3, "contrast": 0.3}


def _spec(strength: str, **changes: Any) -> Augmentation:
    return instantiate(OmegaConf.merge(OmegaConf.load(CONF / f"{strength}.yaml"), changes))


def _faces(count: int, channels: int = 1, height: int = 24, width: int = 24) -> Tensor:
    """Noise: without symmetry, so that every change shows."""
    return torch.randint(0, 256, (count, channels, height, width), generator=torch.manual_seed(0)).to(torch.uint8)


def _zeros(count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.int64)


def _augment(images: Tensor, seed: int = 0, epoch: int = 0, **spec: Any) -> Tensor:
    return BatchedEngine(Augmentation(**spec), seed)(images, epoch, torch.arange(len(images)), _zeros(len(images)))


@pytest.mark.parametrize("strength", RANDOM)
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_stay_uint8_and_of_their_shape(strength: str, channels: int) -> None:
    images = _faces(40, channels, 24, 20)
    before = images.clone()
    augmented = BatchedEngine(_spec(strength), 0)(images, 0, torch.arange(40), _zeros(40))
    assert (augmented.shape, augmented.dtype) == (images.shape, torch.uint8)
    assert torch.equal(images, before)
    assert (augmented != images).flatten(1).any(1).sum() > 20


@pytest.mark.parametrize("channels", [1, 3])
def test_how_images_are_grouped_changes_nothing(channels: int) -> None:
    images, rows, repeats = _faces(1000, channels), torch.arange(1000) % 600, torch.arange(1000) // 600
    engine = BatchedEngine(_spec("strong", **EVERYTHING), 3)
    whole = engine(images, 2, rows, repeats)  # more than a CPU takes at once
    sevens = zip(images.split(7), rows.split(7), repeats.split(7), strict=True)
    parts = [engine(image, 2, row, repeat) for image, row, repeat in sevens]
    assert torch.equal(torch.cat(parts), whole)
    mixed = torch.randperm(1000, generator=torch.manual_seed(1))
    assert torch.equal(engine(images[mixed], 2, rows[mixed], repeats[mixed]), whole[mixed])
    assert torch.equal(BatchedEngine(engine.spec, 3)(images, torch.tensor(2), rows, repeats), whole)


@pytest.mark.parametrize("threads", [1, 2])
def test_neither_threads_nor_large_images_change_anything(threads: int) -> None:
    images, rows = _faces(12, 3, 224, 224), torch.arange(12)
    engine, before = BatchedEngine(_spec("strong", **EVERYTHING), 1), torch.get_num_threads()
    whole = engine(images, 0, rows, rows)
    torch.set_num_threads(threads)
    try:
        single = [engine(images[at : at + 1], 0, rows[at : at + 1], rows[at : at + 1]) for at in range(12)]
        assert torch.equal(torch.cat(single), whole)
    finally:
        torch.set_num_threads(before)


def test_seeds_epochs_rows_and_repeats_draw_anew() -> None:
    face, spec = _faces(1).expand(50, -1, -1, -1), _spec("standard", affine=1.0)
    rows = torch.arange(50)
    draws = [
        BatchedEngine(spec, seed)(face, epoch, rows + first, torch.full_like(rows, repeat))
        for seed, epoch, first, repeat in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 50, 0), (0, 0, 0, 1)]
    ]
    assert len(np.unique(torch.cat(draws).flatten(1).numpy(), axis=0)) == 250


def test_a_batch_without_images_is_taken() -> None:
    empty = _faces(0)
    assert BatchedEngine(_spec("strong"), 0)(empty, 0, _zeros(0), _zeros(0)).shape == empty.shape


def test_nothing_to_draw_gives_the_batch_back() -> None:
    images = _faces(3)
    assert _augment(images) is images
    assert _augment(images, rotate=30, affine=0.0, contrast=0.5, light=0.0) is images


@pytest.mark.parametrize("size", [(24, 24), (48, 48), (37, 64), (224, 224)])
def test_what_changes_nothing_is_exact(size: tuple[int, int]) -> None:
    images = _faces(6, 3, *size)
    assert torch.equal(_augment(images, rotate=1e-9, zoom=1e-9), images)
    assert torch.equal(_augment(images, rotate=90, shift=0.5, zoom=0.5, affine=1e-9), images)
    assert torch.equal(_augment(images, brightness=1e-9, contrast=1e-9), images)
    assert torch.equal(_augment(images, brightness=1, contrast=1, light=1e-9), images)
    assert torch.equal(_augment(images, erase=1e-9), images)


@pytest.mark.parametrize("others", [{}, {"rotate": 1e-9}, {"rotate": 1e-9, "light": 1.0, "contrast": 1e-9}], ids=str)
def test_flips_are_exact(others: dict[str, float]) -> None:
    images = _faces(200, 3, 24, 21)
    flipped = _augment(images, flip=0.3, **others)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert torch.equal(mirrored, ~(flipped == images).flatten(1).all(1))
    assert 35 < mirrored.sum() < 85
    assert torch.equal(_augment(images, flip=1.0, **others), images.flip(-1))


def test_shifts_are_whole_pixels_and_mirror_the_border_without_repeating_it() -> None:
    image = _faces(1, 1, 20, 30)
    moved = _augment(image.expand(300, -1, -1, -1), shift=0.25)
    padded = np.pad(image[0, 0].numpy(), ((5, 5), (7, 7)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (20, 30))
    found = set()
    for result in moved[:, 0].numpy():
        places = np.argwhere((windows == result).all((2, 3)))
        assert len(places) == 1
        found.add(tuple(places[0]))
    rows, columns = np.transpose(list(found))
    assert {min(rows), max(rows), min(columns), max(columns)} >= {1, 9}
    assert len(found) > 100


@pytest.mark.parametrize("channels", [1, 3])
def test_contrast_keeps_the_grey_mean(channels: int) -> None:
    weights = torch.tensor([0.299, 0.587, 0.114] if channels == 3 else [1.0])[:, None, None]
    tint = torch.tensor([30, 0, -20] if channels == 3 else [0])[:, None, None]
    images = (_faces(200, channels) // 4 + 96 + tint).to(torch.uint8)
    changed = _augment(images, contrast=0.4).float()
    grey, greyer = ((part * weights).sum(1).flatten(1) for part in (images.float(), changed))
    assert (grey.mean(1) - greyer.mean(1)).abs().max() < 0.2
    ratios = greyer.std(1) / grey.std(1)
    assert 0.595 < ratios.min() < 0.65
    assert 1.35 < ratios.max() < 1.405


def test_brightness_multiplies_rounds_and_clips() -> None:
    levels = torch.arange(0, 256, dtype=torch.uint8).view(1, 1, 16, 16).expand(100, -1, -1, -1)
    changed = _augment(levels, brightness=0.5).flatten(1)
    gains = changed[:, 160].float() / 160
    assert 0.5 <= gains.min() < 0.53
    assert 1.47 < gains.max() <= 1.5
    expected = (levels.flatten(1).float() * gains[:, None]).clamp(max=255)
    assert (changed.float() - expected).abs().max() < 1.3  # of 0.5 / 160 in the gain, and the rounding
    assert torch.equal(changed[:, 0], torch.zeros(100, dtype=torch.uint8))


def test_the_bits_of_an_erased_rectangle_are_noise_and_the_rest_untouched() -> None:
    images = _faces(300, 3, 48, 48)
    erased = _augment(images, erase=1.0, erase_area=(0.1, 0.2))
    for image, result in zip(images, erased, strict=True):
        changed = (image != result).any(0)
        rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
        tall, wide = (int(side.max() - side.min()) + 1 for side in (rows, columns))
        assert 0.09 < tall * wide / 48**2 < 0.21
        assert changed.sum() > 0.99 * tall * wide


def test_the_smallest_and_the_largest_erased_areas_are_no_error() -> None:
    images = _faces(100)
    assert torch.equal(_augment(images, erase=1.0, erase_area=(1e-6, 1e-6)), images)
    changed = (_augment(images, erase=1.0, erase_area=(0.5, 0.5)) != images).float().mean()
    assert 0.47 < changed < 0.52


def test_what_only_albumentations_has_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"augmentation\.extra .*: type data\.engine=albumentations"):
        BatchedEngine(Augmentation(flip=0.5, extra=[{"name": "GaussNoise"}]), 0)
    BatchedEngine(Augmentation(flip=0.5, extra=[]), 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed={seed}"):
        BatchedEngine(Augmentation(), seed)


def test_an_engine_pickles_small_and_draws_the_same() -> None:
    engine, images = BatchedEngine(_spec("strong"), 2**64 - 1), _faces(20)
    first = engine(images, 1, torch.arange(20), _zeros(20))
    packed = pickle.dumps(engine)
    assert len(packed) < 1000
    assert torch.equal(pickle.loads(packed)(images, 1, torch.arange(20), _zeros(20)), first)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_compiles_as_one_graph_for_all_epochs(channels: int) -> None:
    engine, images, rows = BatchedEngine(_spec("strong", **EVERYTHING), 0), _faces(200, channels), torch.arange(200)
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(engine, fullgraph=True, backend=keep)
    for epoch in range(3):
        assert torch.equal(compiled(images, torch.tensor(epoch), rows, rows), engine(images, epoch, rows, rows))
    assert len(graphs) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_draws_the_same_without_waiting_and_replays_as_a_cuda_graph() -> None:
    engine, images, rows = BatchedEngine(_spec("strong", **EVERYTHING), 0), _faces(500, 3), torch.arange(500)
    expected = [engine(images, epoch, rows, rows) for epoch in range(3)]
    images, rows, epoch = images.cuda(), rows.cuda(), torch.zeros((), dtype=torch.int64, device="cuda")
    engine(images, epoch, rows, rows)
    torch.cuda.set_sync_debug_mode("error")
    try:
        engine(images, 1, rows, rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = engine(images, epoch, rows, rows)
    for number in range(3):
        epoch.fill_(number)
        graph.replay()
        far = (result.cpu().int() - expected[number].int()).abs()
        assert far.max() <= 1 or (far > 1).float().mean() < 1e-4  # sines differ in the last bit, roundings with them
