"""BatchIndices are functions of (seed, epoch, row, repeat), whatever the process, the batch and the past."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import DataLoader, Dataset

from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.loading.sampler import BatchIndices, TrainBatchSampler

CONF = Path(__file__).parents[3] / "conf" / "augmentation"
RANDOM = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "none")


def _spec(strength: str, **changes: Any) -> Augmentation:
    return instantiate(OmegaConf.merge(OmegaConf.load(CONF / f"{strength}.yaml"), changes))


def _face(channels: int = 1, size: int = 48) -> np.ndarray:
    """Without symmetry, so that every change shows."""
    image = np.random.default_rng(7).integers(0, 256, (size, size, channels), dtype=np.uint8)
    image.flags.writeable = False  # as rows of the cache are
    return image


def _digest(image: np.ndarray) -> str:
    return hashlib.md5(image.tobytes()).hexdigest()


def _gradient() -> np.ndarray:
    """Brighter to the right and towards the bottom, far enough from black and white to bear more contrast."""
    return np.add.outer(np.arange(60, 108), 2 * np.arange(48))[..., None].astype(np.uint8)


@pytest.mark.parametrize("strength", RANDOM)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_uint8_contiguous_and_of_their_shape(strength: str, channels: int) -> None:
    engine, image = AlbumentationsEngine(_spec(strength), 0), _face(channels)
    before = _digest(image)
    for row in range(60):
        augmented = engine.augment_one(image, 0, row)
        assert (augmented.shape, augmented.dtype) == ((48, 48, channels), np.uint8)
        assert augmented.flags.c_contiguous
        assert type(augmented) is np.ndarray
    assert _digest(image) == before


def test_strided_views_of_a_channels_first_cache_are_taken() -> None:
    cache = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48), dtype=np.uint8)
    engine = AlbumentationsEngine(_spec("strong"), 0)
    view = cache[1].transpose(1, 2, 0)
    np.testing.assert_array_equal(engine.augment_one(view, 0, 5), engine.augment_one(np.ascontiguousarray(view), 0, 5))


@pytest.mark.parametrize("strength", RANDOM)
def test_draws_are_functions_of_seed_epoch_and_row(strength: str) -> None:
    spec, image = _spec(strength, flip=0.5, affine=1.0), _face()
    engine = AlbumentationsEngine(spec, 3)
    first = engine.augment_one(image, 2, 9).copy()
    for row in range(20):  # whatever happened before
        engine.augment_one(image, 5, row)
    np.testing.assert_array_equal(engine.augment_one(image, 2, 9), first)
    np.testing.assert_array_equal(AlbumentationsEngine(spec, 3).augment_one(image, 2, 9), first)
    others = [
        AlbumentationsEngine(spec, seed).augment_one(image, epoch, row)
        for seed, epoch, row in ((4, 2, 9), (3, 9, 2), (3, 2, 8))
    ]
    assert len({_digest(draw) for draw in [first, *others]}) == 4


@pytest.mark.parametrize("extra", [None, [{"name": "PixelDropout", "p": 1.0}]])
def test_an_image_that_comes_again_in_an_epoch_is_drawn_anew(extra: list[dict[str, Any]] | None) -> None:
    engine, image = AlbumentationsEngine(_spec("standard", affine=1.0, extra=extra), 3), _face()
    draws = [_digest(engine.augment_one(image, 2, 9, repeat)) for repeat in range(10)]
    assert len(set(draws)) == 10
    assert draws == [_digest(engine.augment_one(image, 2, 9, repeat=np.int64(repeat))) for repeat in range(10)]
    assert draws[0] == _digest(engine.augment_one(image, 2, 9))
    assert not set(draws) & {_digest(engine.augment_one(image, epoch, 9)) for epoch in range(10) if epoch != 2}


def test_draws_do_not_repeat() -> None:
    engine, image = AlbumentationsEngine(_spec("standard", affine=1.0), 0), _face()
    draws = {_digest(engine.augment_one(image, epoch, row)) for epoch in range(10) for row in range(100)}
    assert len(draws) == 1000


def test_large_seeds_epochs_and_numpy_rows_are_taken() -> None:
    engine = AlbumentationsEngine(_spec("strong"), 2**64 - 1)
    row = np.int64(2**40)
    np.testing.assert_array_equal(
        engine.augment_one(_face(), np.int64(10**6), row), engine.augment_one(_face(), 10**6, int(row))
    )


def test_none_gives_the_image_back() -> None:
    np.testing.assert_array_equal(AlbumentationsEngine(_spec("none"), 0).augment_one(_face(3), 0, 0), _face(3))


def test_one_number_raised_over_none_takes_effect() -> None:
    raised = {"flip": 0.5, "rotate": 20, "shift": 0.1, "zoom": 0.2, "brightness": 0.3, "contrast": 0.3, "erase": 0.9}
    for name, value in raised.items():
        engine = AlbumentationsEngine(_spec("none", **{name: value}), 0)
        assert any((engine.augment_one(_face(), 0, row) != _face()).any() for row in range(8)), name


def test_flip_mirrors_with_its_probability() -> None:
    engine, image = AlbumentationsEngine(Augmentation(flip=0.25), 0), _face()
    flipped = 0
    for row in range(2000):
        draw = engine.augment_one(image, 0, row)
        mirrored = bool((draw == image[:, ::-1]).all())
        assert mirrored or (draw == image).all()
        flipped += mirrored
    assert 420 < flipped < 580  # 500 expected, 4 standard deviations


def test_shift_moves_the_axes_apart_within_its_range_and_mirrors_the_border() -> None:
    image = np.zeros((48, 48, 1), np.uint8)
    image[24, 24] = 255
    engine = AlbumentationsEngine(Augmentation(shift=0.25), 0)
    moves = []
    for row in range(300):
        rows, columns = np.nonzero(engine.augment_one(image, 0, row)[..., 0] > 60)
        moves.append((rows.mean() - 24, columns.mean() - 24))
    extent = np.abs(moves)
    assert 10 < extent.max() <= 12.5
    assert abs(np.corrcoef(np.transpose(moves))[0, 1]) < 0.2
    bright = np.full((48, 48, 1), 200, np.uint8)
    assert all((engine.augment_one(bright, 0, row) == 200).all() for row in range(20)), "no black borders"


def test_zoom_keeps_the_aspect_ratio_within_its_range() -> None:
    image = np.zeros((48, 48, 1), np.uint8)
    image[16:32, 16:32] = 255
    engine = AlbumentationsEngine(Augmentation(zoom=0.25), 0)
    sides = []
    for row in range(200):
        rows, columns = np.nonzero(engine.augment_one(image, 0, row)[..., 0] > 127)
        sides.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    heights, widths = np.transpose(sides)
    assert np.abs(heights - widths).max() <= 1
    assert 11 <= heights.min() <= 13
    assert 19 <= heights.max() <= 21


def test_brightness_and_contrast_keep_to_their_ranges() -> None:
    flat = np.full((48, 48, 1), 100, np.uint8)
    lit = AlbumentationsEngine(Augmentation(brightness=0.2), 0)
    levels = [int(lit.augment_one(flat, 0, row)[0, 0, 0]) for row in range(300)]
    assert 79 <= min(levels) < 83
    assert 117 < max(levels) <= 121
    contrasted = AlbumentationsEngine(Augmentation(contrast=0.2), 0)
    draws = [contrasted.augment_one(_gradient(), 0, row) for row in range(300)]
    assert max(abs(draw.mean() - _gradient().mean()) for draw in draws) < 1
    ratios = [np.ptp(draw) / np.ptp(_gradient()) for draw in draws]
    assert 0.79 <= min(ratios) < 0.85
    assert 1.15 < max(ratios) <= 1.21


@pytest.mark.parametrize("area", [(0.02, 0.2), (0.3, 0.5)])
def test_erase_keeps_to_its_area_and_fills_with_noise(area: tuple[float, float]) -> None:
    black = np.zeros((48, 48, 3), np.uint8)
    engine = AlbumentationsEngine(Augmentation(erase=1.0, erase_area=area), 0)
    shares = []
    for row in range(300):
        rows, columns = np.nonzero(engine.augment_one(black, 0, row).any(-1))
        shares.append((np.ptp(rows) + 1) * (np.ptp(columns) + 1) / 48**2)
    assert min(shares) >= area[0] * 0.8
    assert max(shares) <= area[1] * 1.1
    assert max(shares) > area[1] * 0.9
    erased = engine.augment_one(black, 0, 0)
    assert len(np.unique(erased)) > 20


def test_the_smallest_erased_area_is_no_error() -> None:
    engine = AlbumentationsEngine(Augmentation(erase=1.0, erase_area=(1e-6, 1e-6)), 0)
    assert engine.augment_one(_face(), 0, 0).shape == (48, 48, 1)


def test_an_engine_pickles_small_and_draws_the_same() -> None:
    engine = AlbumentationsEngine(_spec("strong", extra=[{"name": "GaussNoise", "p": 1.0}]), 11)
    engine.augment_one(_face(), 0, 0)
    packed = pickle.dumps(engine)
    assert len(packed) < 2000
    np.testing.assert_array_equal(pickle.loads(packed).augment_one(_face(), 1, 2), engine.augment_one(_face(), 1, 2))


# --- whole batches ---


def _faces(count: int, channels: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).integers(0, 256, (count, channels, 24, 24), dtype=np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_its_images_one_by_one(channels: int) -> None:
    engine, images = AlbumentationsEngine(_spec("strong"), 5), _faces(6, channels)
    rows, repeats = torch.tensor([4, 9, 2, 4, 7, 0]), torch.tensor([0, 0, 1, 1, 0, 0])
    before, batch = images.clone(), engine(images, 3, rows, repeats)
    assert (batch.dtype, batch.shape, batch.is_contiguous()) == (torch.uint8, images.shape, True)
    for place in range(6):
        image = images[place].permute(1, 2, 0).numpy()
        single = engine.augment_one(image, 3, int(rows[place]), int(repeats[place]))
        np.testing.assert_array_equal(batch[place].permute(1, 2, 0).numpy(), single)
    assert torch.equal(images, before)


def test_nothing_to_draw_gives_the_batch_back() -> None:
    images, rows = _faces(2), torch.arange(2)
    assert AlbumentationsEngine(Augmentation(), 0)(images, 0, rows, rows) is images


def test_images_on_another_device_are_refused() -> None:
    engine, rows = AlbumentationsEngine(Augmentation(flip=0.5), 0), torch.arange(2)
    with pytest.raises(ValueError, match=r"not on meta: use data\.engine=batched"):
        engine(_faces(2).to("meta"), 0, rows, rows)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=f"seed={seed}"):
        AlbumentationsEngine(Augmentation(), seed)


def test_a_balanced_epoch_shows_no_picture_twice() -> None:
    labels = np.repeat([0, 1], [95, 5])
    images, engine = _faces(100), AlbumentationsEngine(_spec("standard", affine=1.0), 0)
    shown: list[str] = []
    for draws in TrainBatchSampler(labels, 10, strategy="balanced", seed=0):
        rows = torch.from_numpy(draws.rows)
        batch = engine(images[rows], draws.epoch, rows, torch.from_numpy(draws.repeats))
        shown += [_digest(image.numpy()) for image in batch]
    assert len(shown) == len(set(shown)) == 100


# --- in DataLoader workers: the bug of Albumentations 2.0.8 that this module works round ---


class _OneFace(Dataset[Any]):
    """The same face in each row: two draws can only be alike if their random streams are."""

    def __init__(self, engine: AlbumentationsEngine) -> None:
        self.engine, self.face = engine, torch.from_numpy(_face().copy()).permute(2, 0, 1)

    def __len__(self) -> int:
        return 32

    def __getitems__(self, draws: BatchIndices) -> list[tuple[int, str]]:
        worker = torch.utils.data.get_worker_info()
        rows, repeats = torch.from_numpy(draws.rows), torch.from_numpy(draws.repeats)
        batch = self.engine(self.face.expand(len(rows), -1, -1, -1), draws.epoch, rows, repeats)
        return [(-1 if worker is None else worker.id, _digest(image.numpy())) for image in batch]


def _two_epochs(seed: int, num_workers: int, persistent: bool) -> list[list[tuple[int, str]]]:
    sampler = TrainBatchSampler(np.zeros(32, np.int64), 4, strategy="shuffle", seed=seed)
    loader = DataLoader(
        _OneFace(AlbumentationsEngine(_spec("standard", affine=1.0), seed)),
        batch_sampler=sampler,
        num_workers=num_workers,
        persistent_workers=persistent,
        collate_fn=list,
    )
    epochs = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs.append([item for batch in loader for item in batch])
    return epochs


@pytest.mark.parametrize(("num_workers", "persistent"), [(0, False), (2, False), (2, True)])
def test_draws_differ_between_workers_and_epochs_and_repeat_under_a_seed(num_workers: int, persistent: bool) -> None:
    epochs = _two_epochs(1, num_workers, persistent)
    assert {worker for epoch in epochs for worker, _ in epoch} == ({0, 1} if num_workers else {-1})
    digests = [[digest for _, digest in epoch] for epoch in epochs]
    assert len({*digests[0], *digests[1]}) == 64  # within and across workers and epochs
    assert digests == [[digest for _, digest in epoch] for epoch in _two_epochs(1, 0, False)]
    assert not {*digests[0]} & {digest for epoch in _two_epochs(2, 0, False) for _, digest in epoch}
