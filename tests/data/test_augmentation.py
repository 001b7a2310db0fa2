"""Draws are functions of (seed, epoch, row, repeat); the specification says what is wrong with it."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch.utils.data import Dataset

from fer_lightning.data.augmentation import AlbumentationsEngine, Augmentation
from fer_lightning.data.dataset import CachedImages
from fer_lightning.data.sampler import Draw, TrainBatchSampler, TrainLoader
from fer_lightning.data.table import ImageTable
from fer_lightning.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf" / "augmentation"
STRENGTHS = sorted(path.stem for path in CONF.glob("*.yaml"))
RANDOM = [name for name in STRENGTHS if name != "none"]


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


def test_the_four_strengths_are_there() -> None:
    assert set(STRENGTHS) >= {"none", "light", "standard", "strong"}


@pytest.mark.parametrize("strength", STRENGTHS)
def test_configs_open_with_their_command_and_list_every_key(strength: str) -> None:
    text = (CONF / f"{strength}.yaml").read_text()
    assert text.startswith(f"# python -m fer_lightning.train augmentation={strength}\n")
    keys = set(OmegaConf.load(CONF / f"{strength}.yaml")) - {"_target_"}
    assert keys == set(Augmentation.__dataclass_fields__)


@pytest.mark.parametrize("strength", RANDOM)
@pytest.mark.parametrize("channels", [1, 3])
def test_images_stay_uint8_contiguous_and_of_their_shape(strength: str, channels: int) -> None:
    engine, image = AlbumentationsEngine(_spec(strength), 0), _face(channels)
    before = _digest(image)
    for row in range(60):
        augmented = engine(image, 0, row)
        assert (augmented.shape, augmented.dtype) == ((48, 48, channels), np.uint8)
        assert augmented.flags.c_contiguous
        assert type(augmented) is np.ndarray
    assert _digest(image) == before


def test_strided_views_of_a_channels_first_cache_are_taken() -> None:
    cache = np.random.default_rng(0).integers(0, 256, (2, 3, 48, 48), dtype=np.uint8)
    engine = AlbumentationsEngine(_spec("strong"), 0)
    view = cache[1].transpose(1, 2, 0)
    np.testing.assert_array_equal(engine(view, 0, 5), engine(np.ascontiguousarray(view), 0, 5))


@pytest.mark.parametrize("strength", RANDOM)
def test_draws_are_functions_of_seed_epoch_and_row(strength: str) -> None:
    spec, image = _spec(strength, flip=0.5, affine=1.0), _face()
    engine = AlbumentationsEngine(spec, 3)
    first = engine(image, 2, 9).copy()
    for row in range(20):  # whatever happened before
        engine(image, 5, row)
    np.testing.assert_array_equal(engine(image, 2, 9), first)
    np.testing.assert_array_equal(AlbumentationsEngine(spec, 3)(image, 2, 9), first)
    others = [
        AlbumentationsEngine(spec, seed)(image, epoch, row) for seed, epoch, row in ((4, 2, 9), (3, 9, 2), (3, 2, 8))
    ]
    assert len({_digest(draw) for draw in [first, *others]}) == 4


@pytest.mark.parametrize("extra", [None, [{"name": "PixelDropout", "p": 1.0}]])
def test_an_image_that_comes_again_in_an_epoch_is_drawn_anew(extra: list[dict[str, Any]] | None) -> None:
    engine, image = AlbumentationsEngine(_spec("standard", affine=1.0, extra=extra), 3), _face()
    draws = [_digest(engine(image, 2, 9, repeat)) for repeat in range(10)]
    assert len(set(draws)) == 10
    assert draws == [_digest(engine(image, 2, 9, repeat=np.int64(repeat))) for repeat in range(10)]
    assert draws[0] == _digest(engine(image, 2, 9))
    assert not set(draws) & {_digest(engine(image, epoch, 9)) for epoch in range(10) if epoch != 2}


def test_a_balanced_epoch_shows_no_picture_twice() -> None:
    labels = np.repeat([0, 1], [95, 5])
    images = np.random.default_rng(0).integers(0, 256, (100, 1, 24, 24), dtype=np.uint8)
    table = ImageTable(
        root=Path(), source="synthetic", paths=np.arange(100).astype(str), labels=labels,
        splits=np.full(100, "train"), classes=("happy", "disgust"), explanation="", rows=np.arange(100),
    )  # fmt: skip
    dataset = CachedImages(images, table, np.arange(100), AlbumentationsEngine(_spec("standard", affine=1.0), 0))
    sampler = TrainBatchSampler(labels, 10, strategy="balanced", seed=0)
    batches = [dataset.__getitems__(draws) for draws in sampler]
    assert sum(int((batch.labels == 1).sum()) for batch in batches) == 50
    assert len({_digest(image.numpy()) for batch in batches for image in batch.images}) == 100


def test_draws_do_not_repeat() -> None:
    engine, image = AlbumentationsEngine(_spec("standard", affine=1.0), 0), _face()
    draws = {_digest(engine(image, epoch, row)) for epoch in range(10) for row in range(100)}
    assert len(draws) == 1000


def test_large_seeds_epochs_and_numpy_rows_are_taken() -> None:
    engine = AlbumentationsEngine(_spec("strong"), 2**64 - 1)
    row = np.int64(2**40)
    np.testing.assert_array_equal(engine(_face(), np.int64(10**6), row), engine(_face(), 10**6, int(row)))


def test_none_gives_the_image_back() -> None:
    np.testing.assert_array_equal(AlbumentationsEngine(_spec("none"), 0)(_face(3), 0, 0), _face(3))


def test_one_number_raised_over_none_takes_effect() -> None:
    raised = {"flip": 0.5, "rotate": 20, "shift": 0.1, "zoom": 0.2, "brightness": 0.3, "contrast": 0.3, "erase": 0.9}
    for name, value in raised.items():
        engine = AlbumentationsEngine(_spec("none", **{name: value}), 0)
        assert any((engine(_face(), 0, row) != _face()).any() for row in range(8)), name


def test_flip_mirrors_with_its_probability() -> None:
    engine, image = AlbumentationsEngine(Augmentation(flip=0.25), 0), _face()
    flipped = 0
    for row in range(2000):
        draw = engine(image, 0, row)
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
        rows, columns = np.nonzero(engine(image, 0, row)[..., 0] > 60)
        moves.append((rows.mean() - 24, columns.mean() - 24))
    extent = np.abs(moves)
    assert 10 < extent.max() <= 12.5
    assert abs(np.corrcoef(np.transpose(moves))[0, 1]) < 0.2
    bright = np.full((48, 48, 1), 200, np.uint8)
    assert all((engine(bright, 0, row) == 200).all() for row in range(20)), "no black borders"


def test_zoom_keeps_the_aspect_ratio_within_its_range() -> None:
    image = np.zeros((48, 48, 1), np.uint8)
    image[16:32, 16:32] = 255
    engine = AlbumentationsEngine(Augmentation(zoom=0.25), 0)
    sides = []
    for row in range(200):
        rows, columns = np.nonzero(engine(image, 0, row)[..., 0] > 127)
        sides.append((np.ptp(rows) + 1, np.ptp(columns) + 1))
    heights, widths = np.transpose(sides)
    assert np.abs(heights - widths).max() <= 1
    assert 11 <= heights.min() <= 13
    assert 19 <= heights.max() <= 21


def test_brightness_and_contrast_keep_to_their_ranges() -> None:
    flat = np.full((48, 48, 1), 100, np.uint8)
    lit = AlbumentationsEngine(Augmentation(brightness=0.2), 0)
    levels = [int(lit(flat, 0, row)[0, 0, 0]) for row in range(300)]
    assert 79 <= min(levels) < 83
    assert 117 < max(levels) <= 121
    contrasted = AlbumentationsEngine(Augmentation(contrast=0.2), 0)
    draws = [contrasted(_gradient(), 0, row) for row in range(300)]
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
        rows, columns = np.nonzero(engine(black, 0, row).any(-1))
        shares.append((np.ptp(rows) + 1) * (np.ptp(columns) + 1) / 48**2)
    assert min(shares) >= area[0] * 0.8
    assert max(shares) <= area[1] * 1.1
    assert max(shares) > area[1] * 0.9
    erased = engine(black, 0, 0)
    assert len(np.unique(erased)) > 20


def test_the_smallest_erased_area_is_no_error() -> None:
    engine = AlbumentationsEngine(Augmentation(erase=1.0, erase_area=(1e-6, 1e-6)), 0)
    assert engine(_face(), 0, 0).shape == (48, 48, 1)


def test_extra_transforms_are_drawn_by_the_same_rule() -> None:
    extra = [
        {"name": "GaussNoise", "std_range": [0.1, 0.2], "p": 1.0},
        {"name": "OneOf", "p": 1.0, "transforms": [{"name": "GaussianBlur"}, {"name": "GridDistortion"}]},
        {"name": "PixelDropout", "p": 1.0},
    ]
    spec = _spec("none", extra=extra)
    assert spec.extra == extra
    assert type(spec.extra[0]) is dict
    one, two = (AlbumentationsEngine(spec, 0) for _ in range(2))
    one.check(48, 1)
    later = [_digest(two(_face(), 0, row)) for row in reversed(range(20))][::-1]
    assert [_digest(one(_face(), 0, row)) for row in range(20)] == later
    assert len(set(later)) == 20


def test_extra_comes_before_erase() -> None:
    spec = Augmentation(erase=1.0, extra=[{"name": "InvertImg", "p": 1.0}])
    augmented = AlbumentationsEngine(spec, 0)(np.zeros((48, 48, 1), np.uint8), 0, 0)
    assert (augmented == 255).mean() > 0.7
    assert (augmented != 255).any()
    assert augmented[augmented != 255].std() > 40  # noise, not inverted noise of zeros


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([{"name": "GausNoise"}], r"no transform 'GausNoise'; did you mean GaussNoise"),
        ([{"name": "gaussnoise"}], r"did you mean GaussNoise"),
        ([{"name": "GaussNoise", "sigma": 3}], r"GaussNoise: got an unexpected keyword argument 'sigma'"),
        ([{"name": "ToSepia", "sigma": 3}], r"ToSepia: got an unexpected keyword argument 'sigma'"),
        ([{"name": "GaussNoise", "std_range": [3, 5]}], r"GaussNoise: std_range: .*must be >= 0 and <= 1"),
        ([{"name": "GaussNoise", "p": 7}], r"GaussNoise: p: .*\(got 7\)"),
        ([{"name": "OneOf", "transforms": [{"name": "Bluur"}]}], r"no transform 'Bluur'; did you mean Blur"),
        ([{"name": "OneOf"}], r"OneOf: missing a required argument: 'transforms'"),
        ([{"p": 0.5}], r"must name a transform"),
        (["GaussNoise"], r"'GaussNoise' must name a transform"),
        ({"name": "GaussNoise"}, r"must be a list"),
    ],
)
def test_bad_extras_are_refused_with_the_reason(extra: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"augmentation\.extra.*{message}"):
        Augmentation(extra=extra)


@pytest.mark.parametrize(
    ("extra", "channels", "message"),
    [
        ({"name": "Resize", "height": 32, "width": 32}, 1, r"Resize gives uint8 \(32, 32, 1\)"),
        ({"name": "ToFloat"}, 1, r"ToFloat gives float32"),
        ({"name": "ISONoise", "p": 0.001}, 1, r"ISONoise fails on 48x48x1 images: .*3-channel"),
        ({"name": "FDA"}, 3, r"FDA fails on 48x48x3 images"),
    ],
)
def test_check_finds_extras_that_do_not_fit_the_images(extra: dict[str, Any], channels: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AlbumentationsEngine(Augmentation(extra=[extra]), 0).check(48, channels)


def test_an_extra_that_changes_the_size_is_refused_when_drawn() -> None:
    engine = AlbumentationsEngine(Augmentation(extra=[{"name": "Resize", "height": 32, "width": 32, "p": 1}]), 0)
    with pytest.raises(ConfigError, match="Resize gives"):
        engine(_face(), 0, 0)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"flip": 1.5}, ["augmentation.flip=1.5"]),
        ({"rotate": -5, "zoom": 1.0}, ["augmentation.rotate=-5", "augmentation.zoom=1.0"]),
        ({"erase": float("nan")}, ["augmentation.erase=nan"]),
        ({"erase_area": (0.3, 0.1)}, ["augmentation.erase_area=[0.3, 0.1]"]),
        ({"erase_area": (0.0, 0.1)}, ["augmentation.erase_area"]),
        ({"erase_area": (0.1, 0.6)}, ["augmentation.erase_area"]),
        ({"erase_area": (0.1,)}, ["augmentation.erase_area"]),
    ],
)
def test_numbers_out_of_range_are_named_all_at_once(changes: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ValueError, match="augmentation") as caught:
        Augmentation(**changes)
    assert all(name in str(caught.value) for name in names)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="seed=-1"):
        AlbumentationsEngine(Augmentation(), -1)


def test_an_engine_pickles_small_and_draws_the_same() -> None:
    engine = AlbumentationsEngine(_spec("strong", extra=[{"name": "GaussNoise", "p": 1.0}]), 11)
    engine(_face(), 0, 0)
    packed = pickle.dumps(engine)
    assert len(packed) < 2000
    np.testing.assert_array_equal(pickle.loads(packed)(_face(), 1, 2), engine(_face(), 1, 2))


def test_importing_does_not_ask_the_network() -> None:
    code = "import fer_lightning.data.augmentation, os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "1"
    assert run.stderr == ""  # where Albumentations tells of a newer version, or that it could not ask


# --- in DataLoader workers: the bug of Albumentations 2.0.8 that this module works round ---


class _OneFace(Dataset[Any]):
    """The same face in each row: two draws can only be alike if their random streams are."""

    def __init__(self, engine: AlbumentationsEngine) -> None:
        self.engine, self.face = engine, _face()

    def __len__(self) -> int:
        return 32

    def __getitems__(self, draws: list[Draw]) -> list[tuple[int, str]]:
        worker = torch.utils.data.get_worker_info()
        return [
            (-1 if worker is None else worker.id, _digest(self.engine(self.face, draw.epoch, draw.row)))
            for draw in draws
        ]


def _two_epochs(
    seed: int, num_workers: int, persistent: bool, context: str | None = None
) -> list[list[tuple[int, str]]]:
    sampler = TrainBatchSampler(np.zeros(32, np.int64), 4, strategy="shuffle", seed=seed)
    loader = TrainLoader(
        _OneFace(AlbumentationsEngine(_spec("standard", affine=1.0), seed)),
        sampler,
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
