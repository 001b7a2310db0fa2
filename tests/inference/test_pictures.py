"""Which images a Predictor takes, and that one picture gives the same pixels however it is given."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fer_lightning.inference.pictures import Picture, as_images, read_image, read_size

RGB = np.random.default_rng(0).integers(0, 256, (12, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()


def pixels(image: Any) -> np.ndarray:
    picture = read_image(image)
    assert picture.pixels is not None, picture.note
    assert picture.pixels.dtype == np.uint8
    return picture.pixels


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_one_colour_picture_in_every_form(tmp_path: Path) -> None:
    image = Image.fromarray(RGB)
    file = tmp_path / "a.png"
    file.write_bytes(encoded(image))
    tensor = torch.from_numpy(RGB.copy()).permute(2, 0, 1)
    alpha = np.dstack([RGB, np.full(GREY.shape, 255, np.uint8)])
    forms: list[Any] = [
        *(RGB, RGB.astype(np.int64), RGB.astype(np.uint16) * 257, RGB / 255, (RGB / 255).astype(np.float32)),
        *(alpha, alpha / 255, tensor, tensor / 255, (tensor / 255).requires_grad_(), tensor.to(torch.int32)),
        *(image, image.convert("RGBA"), Image.open(file), file, str(file), os.fsencode(file).decode()),
        *(file.read_bytes(), bytearray(file.read_bytes()), memoryview(file.read_bytes()), Picture(RGB)),
        np.asfortranarray(RGB),
    ]
    for form in forms:
        np.testing.assert_array_equal(pixels(form), RGB)
    assert read_image(RGB).pixels is RGB, "it is not copied"
    assert read_image(file).source == read_image(Image.open(file)).source == str(file)
    assert pixels(tensor.to(torch.bfloat16) / 255).shape == RGB.shape


def test_one_grey_picture_in_every_form() -> None:
    image, tensor = Image.fromarray(GREY), torch.from_numpy(GREY)
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    forms = [GREY, GREY[..., None], GREY / 255, tensor, tensor[None], image, deep, encoded(image), encoded(deep)]
    for form in forms:
        np.testing.assert_array_equal(pixels(form), GREY)
    black = GREY > 127
    np.testing.assert_array_equal(pixels(black), black * np.uint8(255))
    np.testing.assert_array_equal(pixels(Image.fromarray(black)), black * np.uint8(255))


def test_pictures_of_pillow_are_turned_and_pasted_on_white() -> None:
    exif = Image.Exif()
    exif[274] = 6
    turned = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), exif=exif)))
    np.testing.assert_array_equal(pixels(turned), np.rot90(RGB, -1))
    clear = Image.fromarray(np.dstack([RGB, np.zeros_like(GREY)]))
    assert (pixels(clear) == 255).all()
    assert (pixels(np.dstack([RGB, np.zeros_like(GREY)])) == 255).all()
    cmyk = Image.fromarray(RGB).convert("CMYK")
    np.testing.assert_array_equal(pixels(cmyk), RGB)


def test_several_images_at_once(tmp_path: Path) -> None:
    batch = np.stack([RGB, RGB[::-1]])
    tensors = torch.from_numpy(batch).permute(0, 3, 1, 2)
    several: list[Any] = [batch, tensors, [RGB, RGB[::-1]], (RGB, RGB[::-1]), iter([RGB, RGB[::-1]])]
    for images in several:
        found = [pixels(image) for image in as_images(images)]
        assert len(found) == 2
        np.testing.assert_array_equal(found, batch)
    assert [len(pixels(image)) for image in as_images(batch[..., :1])] == [12, 12]
    for one in (RGB, GREY, tensors[0], Image.fromarray(RGB), "a.png", Path("a.png"), b"content", Picture(RGB)):
        (only,) = as_images(one)
        assert only is one
    pandas = pytest.importorskip("pandas")
    assert [*as_images(pandas.Series(["a.png", "b.png"]))] == [*as_images(np.array(["a.png", "b.png"]))]
    assert [*as_images([])] == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((3, 48, 48), np.uint8), r"channels come last, np\.moveaxis\(image, 0, -1\).* images\[\.\.\., None\]"),
        (np.zeros((10, 48, 48), np.uint8), r"images\[\.\.\., None\]"),
        (np.zeros(48, np.uint8), r"an array \(48,\) is no picture"),
        (np.zeros((0, 48), np.uint8), r"an array \(0, 48\)"),
        (np.zeros((2, 2, 48, 48, 3), np.uint8), r"\(2, 2, 48, 48, 3\) is no picture"),
        (torch.zeros(48, 48, 3), r"a tensor \(48, 48, 3\) is no picture: give \(C, H, W\)"),
        (RGB.astype(np.float32), r"float32 goes from 0 to 1, not from 0 to 255: give uint8, such as"),
        (RGB / 127.5 - 1, r"float64 goes from 0 to 1, not from -1 to 1: scale it first"),
        (np.full((8, 8), np.nan), "not from nan to nan: scale it first"),
        (np.full((8, 8), 300), "int64 goes from 0 to 255, not from 300"),
        (np.zeros((8, 8), complex), "dtype complex128 is no picture"),
        (np.zeros((8, 8), "U3"), "dtype <U3 is no picture"),
        ({"a.jpg": RGB}, "no image but dict"),
        (None, "no image but NoneType: give a path"),
        (5, "no image but int"),
        (io.BytesIO(b"x"), "no image but BytesIO"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_refused_with_what_to_give(image: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        read_image(next(iter(as_images(image))))


def test_advice_for_arrays_works() -> None:
    channels_first, grey_batch = np.moveaxis(RGB, -1, 0), np.stack([GREY] * 5)
    np.testing.assert_array_equal(pixels(np.moveaxis(channels_first, 0, -1)), RGB)
    assert len([pixels(image) for image in as_images(grey_batch[..., None])]) == 5
    image = RGB.astype(np.float32)
    np.testing.assert_array_equal(pixels(image.astype("uint8")), RGB)


def test_floats_may_leave_their_range_by_what_an_interpolation_does() -> None:
    assert pixels(np.array([[-1e-4, 1 + 1e-4]])).tolist() == [[0, 255]]


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    whole, huge = encoded(Image.fromarray(RGB), "JPEG"), encoded(Image.new("1", (8, 8)), "BMP")
    huge = huge[:18] + (20_000).to_bytes(4, "little") * 2 + huge[26:]  # by its header
    contents = {"empty.jpg": b"", "cut.jpg": whole[:-20], "text.jpg": b"hello", "huge.bmp": huge}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    reasons = {
        "empty.jpg": "empty file (0 bytes)",
        "cut.jpg": "damaged image: ",
        "text.jpg": "not an image of a known format",
        "huge.bmp": "20,000 x 20,000 pixels by its header, more than 64,000,000 pixels: make it smaller",
        "pipe": "not a file but a pipe, socket or device",
        "none.jpg": "cannot be opened: No such file or directory",
        ".": "a folder: give its files, such as pathlib.Path(FOLDER).glob('*.jpg')",
    }
    for name, reason in reasons.items():
        found, source, note, *_ = read_image(tmp_path / name)
        assert (found, source) == (None, str(tmp_path / name))
        assert str(note).startswith(reason)
    assert str(read_image("a\0b.jpg").note).startswith("cannot be opened: embedded null")
    assert str(read_image("https://example.org/a.jpg").note).startswith("an address: give the bytes that are there")
    images = {
        "8,001 x 8,000 pixels by its header, more than": Image.new("1", (8001, 8000)),
        "damaged image: ": Image.open(tmp_path / "cut.jpg"),
        "its pixels are floating-point numbers": Image.fromarray(GREY.astype(np.float32)),
    }
    for reason, image in images.items():
        found, _, note, *_ = read_image(image)
        assert found is None
        assert str(note).startswith(reason)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_used_and_it_is_said(kind: str) -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (255, 0)]
    picture = read_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert picture.pixels is not None
    assert picture.pixels.min() > 250
    assert picture.note == "it holds several frames: the first is used"
    assert read_image(encoded(frames[0], kind)).note is None


def test_the_size_of_an_image_is_known_without_decoding(tmp_path: Path) -> None:
    image, tensor = Image.fromarray(RGB), torch.zeros(3, 12, 9)
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(image, "JPEG"))
    for form in (
        RGB,
        GREY,
        tensor,
        tensor[0],
        image,
        file,
        str(file),
        file.read_bytes(),
        encoded(image, "WEBP"),
        Picture(RGB),
    ):
        assert read_size(form) == (9, 12)
    (tmp_path / "text.jpg").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    files = [tmp_path / name for name in ("text.jpg", "none.jpg", ".", "pipe")]
    for form in (*files, b"", 5, None, Picture(None), np.zeros(3), torch.tensor(1)):
        assert read_size(form) is None
