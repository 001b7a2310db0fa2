"""Decode once: the same bytes again at no cost, whatever other processes do and however they die."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.build import DecodedImages
from fer_lightning.data.cache.decode import decode_image
from fer_lightning.data.cache.image_cache import ImageCache, open_cache
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.synthetic.dataset import write_tree
from fer_lightning.data.table.image_table import ImageTable


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_tree(tmp_path / "faces", layout="train_validation", per_class=2)
    return tmp_path / "faces"


def table_of(root: Path) -> ImageTable:
    """Every file there, whatever it is: what cannot be read must come out as a failure."""
    paths = np.array(sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()), dtype=str)
    zeros = np.zeros(len(paths), dtype=np.int64)
    splits = np.full(len(paths), "train")
    return ImageTable(root, "folders", paths, zeros, splits, ("happy",), "", np.arange(len(paths)))


def open_small(root: Path, cache_dir: Path, size: int = 24, channels: int = 1) -> ImageCache:
    return open_cache(table_of(root), image_size=size, channels=channels, cache_dir=cache_dir, progress=False)


def folders_in(cache_dir: Path) -> list[str]:
    return sorted(p.name for p in cache_dir.iterdir() if p.is_dir() and p.name != "keys")


@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_those_of_the_files(tree: Path, tmp_path: Path, channels: int) -> None:
    cache = open_small(tree, tmp_path / "cache", channels=channels)
    paths = table_of(tree).paths
    expected = np.stack([decode_image((tree / path).read_bytes(), 24, channels) for path in paths])
    np.testing.assert_array_equal(cache.images, expected)
    assert cache.images.dtype == np.uint8
    assert cache.digests.shape == (28,)
    assert cache.built
    assert not cache.failures
    with pytest.raises(ValueError, match="read-only"):
        cache.images[0] = 0


def test_second_open_decodes_nothing(tree: Path, tmp_path: Path) -> None:
    first = open_small(tree, tmp_path / "cache")
    for path in tree.rglob("*.png"):  # the same size and age, but nothing that could be decoded
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    second = open_small(tree, tmp_path / "cache")
    assert (first.built, second.built) == (True, False)
    np.testing.assert_array_equal(second.images, first.images)
    np.testing.assert_array_equal(second.digests, first.digests)
    assert (second.path, second.fingerprint) == (first.path, first.fingerprint)


@pytest.mark.parametrize("change", ["content", "added", "removed", "renamed"])
def test_changed_files_are_noticed(tree: Path, tmp_path: Path, change: str) -> None:
    before = open_small(tree, tmp_path / "cache")
    victim = tree / "train/happy/3.png"
    if change == "content":
        victim.write_bytes((tree / "train/happy/10.png").read_bytes())
    elif change == "added":
        shutil.copy(victim, tree / "train/happy/99.png")
    elif change == "removed":
        victim.unlink()
    else:
        victim.rename(victim.with_name("98.png"))
    after = open_small(tree, tmp_path / "cache")
    assert after.built
    assert after.fingerprint != before.fingerprint
    if change == "content":
        row = table_of(tree).paths.tolist().index("train/happy/3.png")
        expected = decode_image(victim.read_bytes(), 24, 1)
        np.testing.assert_array_equal(after.images[row], expected)


def test_same_content_elsewhere_has_the_same_fingerprint_and_folder(tree: Path, tmp_path: Path) -> None:
    first = open_small(tree, tmp_path / "cache")
    shutil.copytree(tree, tmp_path / "copy", copy_function=shutil.copyfile)
    second = open_small(tmp_path / "copy", tmp_path / "cache")
    elsewhere = open_small(tmp_path / "copy", tmp_path / "other cache")
    assert second.built
    assert first.fingerprint == second.fingerprint == elsewhere.fingerprint
    assert folders_in(tmp_path / "cache") == [first.fingerprint]
    assert not open_small(tmp_path / "copy", tmp_path / "cache").built


def test_fingerprint_is_the_one_that_checkpoints_remember(tmp_path: Path) -> None:
    for number, name in enumerate(("train/happy/1.png", "train/sad/ü.png", "validation/sad/2.png")):
        (tmp_path / "faces" / name).parent.mkdir(parents=True)
        picture = np.arange(256, dtype=np.uint8).reshape(16, 16) + np.uint8(number)
        (tmp_path / "faces" / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes() if number < 2 else b"")
    cache = open_small(tmp_path / "faces", tmp_path / "cache", size=16)
    assert cache.fingerprint == "a46c155c20a650e14a1611a61329f3c8"


def test_each_size_and_channel_count_has_its_own_cache(tree: Path, tmp_path: Path) -> None:
    caches = [open_small(tree, tmp_path / "cache", *sizes) for sizes in ((24, 1), (32, 1), (24, 3))]
    assert len({cache.fingerprint for cache in caches}) == 3
    assert caches[1].images.shape == (28, 1, 32, 32)


def test_digests_tell_twins(tree: Path, tmp_path: Path) -> None:
    picture = cv2.imread(str(tree / "train/sad/5.png"), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tree / "validation/sad/duplicate.bmp"), picture)  # the same pixels in another format
    cache, paths = open_small(tree, tmp_path / "cache"), table_of(tree).paths.tolist()
    duplicates = [paths.index("train/sad/5.png"), paths.index("validation/sad/duplicate.bmp")]
    assert cache.digests[duplicates[0]] == cache.digests[duplicates[1]]
    assert len(np.unique(cache.digests)) == len(paths) - 1


def test_unreadable_files_become_failures(tree: Path, tmp_path: Path) -> None:
    whole = (tree / "train/fear/2.png").read_bytes()
    broken = {
        "train/fear/cut.png": (whole[: len(whole) // 2], "damaged"),
        "train/fear/empty.jpg": (b"", "0 bytes"),
        "train/fear/page.jpg": (b"<html>", "not an image"),
        "train/fear/also empty.jpg": (b"", "0 bytes"),
    }
    for name, (content, _) in broken.items():
        (tree / name).write_bytes(content)
    (tree / "train/fear/wrong extension.jpg").write_bytes(whole)  # a PNG is a picture whatever its name
    for cache in (open_small(tree, tmp_path / "cache"), open_small(tree, tmp_path / "cache")):
        paths = table_of(tree).paths
        reasons = {str(paths[row]): reason for row, reason in cache.failures.items()}
        assert set(reasons) == set(broken)
        assert all(re.search(expected, reasons[name]) for name, (_, expected) in broken.items())
        assert not cache.images[list(cache.failures)].any()
        assert len(np.unique(cache.digests[list(cache.failures)])) == len(broken)


def test_file_that_vanishes_is_a_failure(tree: Path, tmp_path: Path) -> None:
    table = table_of(tree)
    (tree / "train/fear/2.png").unlink()
    cache = open_cache(table, image_size=24, channels=1, cache_dir=tmp_path / "cache", progress=False)
    assert list(cache.failures.values()) == ["cannot be opened: No such file or directory"]


def test_file_that_can_be_opened_again_is_no_failure_any_more() -> None:
    """Neither its size nor its age tells that its permissions were wrong."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # whom no permission stops
    with tempfile.TemporaryDirectory() as name:
        tree, cache_dir = Path(name, "faces"), Path(name, "cache")
        write_tree(tree, layout="train_validation", per_class=1)
        cache_dir.mkdir()
        for folder in (Path(name), cache_dir):
            folder.chmod(0o777)
        victim, age = tree / "train/fear/2.png", (tree / "train/fear/2.png").stat().st_mtime_ns
        victim.chmod(0)
        try:
            os.seteuid(65534 if root else os.geteuid())
            caches = [open_small(tree, cache_dir) for _ in range(2)]
        finally:
            os.seteuid(0 if root else os.geteuid())
        assert [list(cache.failures.values()) for cache in caches] == [["cannot be opened: Permission denied"]] * 2
        victim.chmod(0o644)
        assert victim.stat().st_mtime_ns == age
        whole = open_small(tree, cache_dir)
        assert whole.failures == {}
        assert not open_small(tree, cache_dir).built


def test_reason_of_a_failure_is_the_latest(tree: Path, tmp_path: Path) -> None:
    table, victim = table_of(tree), tree / "train/fear/2.png"
    victim.unlink()
    sizes = {"image_size": 24, "channels": 1, "cache_dir": tmp_path / "cache", "progress": False}
    open_cache(table, **sizes)  # type: ignore[arg-type]
    victim.write_bytes(b"")
    assert list(open_cache(table, **sizes).failures.values()) == ["empty file (0 bytes)"]  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["csv", "icml"])
def test_csv_gives_the_bytes_of_the_folders(tmp_path: Path, layout: str) -> None:
    tables, images = [], []
    for name in (layout, "official"):
        write_tree(tmp_path / name, layout=name, per_class=2)
        tables.append(read_layout(tmp_path / name))
        cache = open_cache(tables[-1], image_size=32, channels=3, cache_dir=tmp_path / "cache", progress=False)
        images.append(np.sort(cache.digests))
    assert tables[0].source == "csv"
    np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.parametrize("damage", ["images.npy", "digests.npy", "cache.json", "folder"])
def test_damaged_cache_is_built_again(tree: Path, tmp_path: Path, damage: str) -> None:
    first = open_small(tree, tmp_path / "cache")
    expected = np.array(first.images)
    if damage == "folder":
        shutil.rmtree(first.path)
    else:
        content = (first.path / damage).read_bytes()
        (first.path / damage).write_bytes(content[: len(content) // 2])
    second = open_small(tree, tmp_path / "cache")
    assert second.built
    np.testing.assert_array_equal(second.images, expected)


def test_cache_dir_that_cannot_be_written(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"file.*data\.cache_dir=PATH"):
        open_small(tree, tmp_path / "file" / "cache")


def test_selection_is_refused(tree: Path, tmp_path: Path) -> None:
    table = table_of(tree)
    part = ImageTable(
        tree, "folders", table.paths[3:], table.labels[3:], table.splits[3:], ("happy",), "", table.rows[3:]
    )
    with pytest.raises(ValueError, match="whole table"):
        open_cache(part, image_size=24, channels=1, cache_dir=tmp_path / "cache", progress=False)


def test_failing_build_cleans_up(tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", layout="csv", per_class=1)
    table = read_layout(tmp_path / "faces")
    file = tmp_path / "faces" / "fer2013.csv"
    file.write_text(file.read_text().replace(" ", " x", 1))
    with pytest.raises(DataError):
        open_cache(table, image_size=24, channels=1, cache_dir=tmp_path / "cache", progress=False)
    assert folders_in(tmp_path / "cache") == []


def test_mended_image_whose_name_holds_a_hash(tree: Path, tmp_path: Path) -> None:
    victim = (tree / "train/happy/3.png").rename(tree / "train/happy/a#3.png")
    whole = victim.read_bytes()
    victim.write_bytes(b"")
    table = table_of(tree)
    options = {"image_size": 24, "channels": 1, "cache_dir": tmp_path / "cache", "progress": False, "state": "one"}
    assert len(open_cache(table, **options).failures) == 1  # type: ignore[arg-type]
    assert not open_cache(table, **options).built  # type: ignore[arg-type]
    victim.write_bytes(whole)
    os.utime(victim, (2**31, 2**31))  # the clock of a file system is too coarse for what follows at once
    assert open_cache(table, **options).failures == {}  # type: ignore[arg-type]


def test_mended_csv_whose_name_holds_a_hash(tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", layout="csv", per_class=1, image_size=24)
    file = (tmp_path / "faces/fer2013.csv").rename(tmp_path / "faces/fer#2013.csv")
    table, failures = read_layout(file), [{0: "damaged"}, {}]

    def decode(table: ImageTable, shape: tuple[int, ...], path: Path, **_: object) -> DecodedImages:
        np.save(path, np.zeros(shape, dtype=np.uint8))
        digests = np.arange(len(table), dtype=np.uint64)
        return DecodedImages(digests, digests, failures.pop(0), set())

    options = {"image_size": 24, "channels": 1, "cache_dir": tmp_path / "cache", "state": "one", "decode": decode}
    assert len(open_cache(table, **options).failures) == 1  # type: ignore[arg-type]
    assert not open_cache(table, **options).built  # type: ignore[arg-type]
    os.utime(file, (2**31, 2**31))
    assert open_cache(table, **options).failures == {}  # type: ignore[arg-type]


def write_pictures(root: Path, pictures: dict[str, np.ndarray]) -> Path:
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), picture)
    return root


def test_the_identity_of_a_picture_is_that_of_its_file_at_any_size_and_in_grey_or_colour(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    grey = colour[..., 0].copy()
    pictures = {"colour.png": colour, "grey.png": grey, "stored.bmp": np.dstack([grey] * 3), "turned.png": grey.T}
    root = write_pictures(tmp_path / "faces", pictures)
    caches = [open_small(root, tmp_path / "cache", *sizes) for sizes in ((24, 1), (32, 1), (24, 3))]
    assert len({tuple(cache.identities.tolist()) for cache in caches}) == 1
    (first, plain, stored, turned) = caches[0].identities.tolist()
    assert (plain == stored, len({first, plain, turned})) == (True, 3)


def test_pictures_that_become_the_same_pixels_keep_their_identities(tmp_path: Path) -> None:
    small = {f"happy/{n}.png": np.random.default_rng(n).integers(0, 256, (24, 24), dtype=np.uint8) for n in range(3)}
    large = {name: picture.repeat(2, axis=0).repeat(2, axis=1) for name, picture in small.items()}
    roots = [write_pictures(tmp_path / name, some) for name, some in (("small", small), ("large", large))]
    for _ in range(2):  # decoded, then found
        one, two = (open_small(root, tmp_path / "cache") for root in roots)
        assert one.fingerprint == two.fingerprint
        assert not np.isin(one.identities, two.identities).any()


def test_a_cache_of_version_0_1_is_built_again(tree: Path, tmp_path: Path) -> None:
    first = open_small(tree, tmp_path / "cache")
    (first.path / "identities.npy").unlink()
    second, third = (open_small(tree, tmp_path / "cache") for _ in range(2))
    assert (second.built, third.built, second.path) == (True, False, first.path)
    np.testing.assert_array_equal(second.identities, first.identities)
