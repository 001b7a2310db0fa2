"""The same picture must give the same bytes whichever way it is stored."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_lightning.data.cache.decode import DecodeError, decode_image, decode_picture, fit_image

GREY = np.random.default_rng(0).integers(0, 256, (40, 56), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (40, 56, 3), dtype=np.uint8)
OPAQUE = np.full((40, 56, 1), 255, dtype=np.uint8)
ORIENTATION = 0x0112
# how to turn an upright picture so that the tag turns it back
TURNED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: np.rot90,
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}


def encode(picture: np.ndarray | Image.Image, fmt: str = "PNG", **options: object) -> bytes:
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def encode_wide(picture: np.ndarray, suffix: str = ".png") -> bytes:
    """16 bits: every 8-bit value g becomes 257 g, so that white stays white."""
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    return cv2.imencode(suffix, np.ascontiguousarray(bgr).astype(np.uint16) * 257)[1].tobytes()


def cmyk(picture: np.ndarray) -> Image.Image:
    """Without loss: colour in C, M and Y and no black, or grey in black alone."""
    if picture.ndim == 2:
        return Image.fromarray(np.dstack([np.zeros((*picture.shape, 3), np.uint8), 255 - picture]), "CMYK")
    return Image.fromarray(np.dstack([255 - picture, np.zeros(picture.shape[:2], np.uint8)]), "CMYK")


def rgb(picture: np.ndarray) -> np.ndarray:
    return np.dstack([picture] * 3) if picture.ndim == 2 else picture


LOSSLESS = {
    "RGB PNG": lambda p: encode(rgb(p)),
    "opaque RGBA PNG": lambda p: encode(np.dstack([rgb(p), OPAQUE])),
    "16-bit PNG": encode_wide,
    "16-bit RGB PNG": lambda p: encode_wide(rgb(p)),
    "16-bit RGBA PNG": lambda p: cv2.imencode(".png", np.dstack([rgb(p)[..., ::-1], OPAQUE]).astype(np.uint16) * 257)[
        1
    ].tobytes(),
    "16-bit TIFF": lambda p: encode_wide(p, ".tiff"),
    "BMP": lambda p: encode(p, "BMP"),
    "WebP": lambda p: encode(rgb(p), "WEBP", lossless=True),
    "CMYK TIFF": lambda p: encode(cmyk(p), "TIFF"),
    "TIFF": lambda p: encode(p, "TIFF"),
    "LZW TIFF": lambda p: encode(p, "TIFF", compression="tiff_lzw"),
    "PNM": lambda p: encode(p, "PPM"),
    "JPEG 2000": lambda p: encode(p, "JPEG2000", irreversible=False),
    "TGA": lambda p: encode(p, "TGA"),
    "PCX": lambda p: encode(p, "PCX"),
    "SGI": lambda p: encode(p, "SGI"),
}
LOSSLESS_GREY = {
    "16-bit PGM": lambda p: b"P5\n# by hand\n56 40\n65535\n" + (p.astype(">u2") * 257).tobytes(),
    "plain PGM": lambda p: b"P2 56 40 255 " + " ".join(map(str, p.ravel())).encode(),
    "opaque LA PNG": lambda p: encode(np.dstack([p, OPAQUE])),
    "palette PNG": lambda p: encode(Image.fromarray(p).convert("P")),
    "shuffled palette PNG": lambda p: encode(shuffled_palette(p)),
    "palette and opaque tRNS": lambda p: encode(Image.fromarray(p).convert("P"), transparency=bytes([255] * 256)),
    "GIF": lambda p: encode(p, "GIF"),
    "16-bit TIFF by Pillow": lambda p: encode(p.astype(np.uint16) * 257, "TIFF"),
}


def shuffled_palette(picture: np.ndarray) -> Image.Image:
    order = np.random.default_rng(2).permutation(256).astype(np.uint8)
    image = Image.fromarray(np.argsort(order).astype(np.uint8)[picture], "P")
    image.putpalette(np.repeat(order, 3).tobytes())
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [48, 24, 80])
@pytest.mark.parametrize("way", [*LOSSLESS, *LOSSLESS_GREY])
def test_grey_picture_is_the_same_in_every_lossless_format(way: str, size: int, channels: int) -> None:
    plain = decode_image(encode(GREY), size, channels)
    stored = (LOSSLESS | LOSSLESS_GREY)[way](GREY)
    assert plain.shape == (channels, size, size)
    assert plain.dtype == np.uint8
    np.testing.assert_array_equal(decode_image(stored, size, channels), plain)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("way", LOSSLESS)
def test_colour_picture_is_the_same_in_every_lossless_format(way: str, channels: int) -> None:
    np.testing.assert_array_equal(
        decode_image(LOSSLESS[way](COLOUR), 32, channels), decode_image(encode(COLOUR), 32, channels)
    )


def test_pixels_are_those_that_were_stored() -> None:
    square, colour = GREY[:40, :40], COLOUR[:40, :40]
    np.testing.assert_array_equal(decode_image(encode(square), 40, 1)[0], square)
    np.testing.assert_array_equal(decode_image(encode(colour), 40, 3), colour.transpose(2, 0, 1))
    luma = np.rint(colour @ (0.299, 0.587, 0.114))
    np.testing.assert_allclose(decode_image(encode(colour), 40, 1)[0], luma, atol=1)


@pytest.mark.parametrize("at", [(5, 7), (16, 32), (39, 55)])
def test_one_pixel_of_colour_makes_a_picture_of_colour(at: tuple[int, int]) -> None:
    picture = np.repeat(GREY[..., None], 3, axis=2)
    assert decode_picture(encode(picture)).ndim == 2
    picture[at][0] ^= 1
    np.testing.assert_array_equal(decode_picture(encode(picture)), picture)


def test_grey_picture_has_equal_channels() -> None:
    one, three = (decode_image(encode(GREY), 24, channels) for channels in (1, 3))
    np.testing.assert_array_equal(three, np.repeat(one, 3, axis=0))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("picture", [GREY, COLOUR], ids=["grey", "colour"])
@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "WEBP"])
def test_exif_turned_equals_upright(fmt: str, picture: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if fmt == "WEBP" else {}
    turned = rgb(TURNED[orientation](picture)) if fmt == "WEBP" else TURNED[orientation](picture)
    stored = encode(turned, fmt, exif=exif, **options)
    np.testing.assert_array_equal(decode_image(stored, 30, 3), decode_image(encode(picture), 30, 3))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("picture", [GREY, COLOUR], ids=["grey", "colour"])
def test_exif_turned_jpeg_equals_upright(picture: np.ndarray, orientation: int) -> None:
    """Blocks of 8x8 make a turned JPEG another JPEG, so what is stored is decoded untagged and turned by hand."""
    stored = TURNED[orientation](cv2.resize(picture, (48, 48)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tagged = decode_image(encode(stored, "JPEG", quality=95, exif=exif), 48, 3)
    untagged = decode_image(encode(stored, "JPEG", quality=95), 48, 3).transpose(1, 2, 0)
    back = TURNED[{6: 8, 8: 6}.get(orientation, orientation)](untagged)
    np.testing.assert_array_equal(tagged, back.transpose(2, 0, 1))


def test_cmyk_jpeg_is_close_to_the_rgb_one() -> None:
    """JPEG loses something different in each colour space, so this one is close and not equal."""
    smooth = cv2.GaussianBlur(COLOUR, (0, 0), 6)
    stored = encode(cmyk(smooth), "JPEG", quality=100, subsampling=0)
    assert np.abs(decode_image(stored, 40, 3).astype(int) - decode_image(encode(smooth), 40, 3)).max() <= 4


def test_transparent_is_white_and_half_transparent_lies_between() -> None:
    alpha = np.repeat(np.array([0, 128, 255], dtype=np.uint8), 16)[None].repeat(48, 0)[..., None]
    black = np.zeros((48, 48, 3), np.uint8)
    decoded = decode_image(encode(np.dstack([black, alpha])), 48, 3)
    assert [decoded[0, 0, x] for x in (0, 20, 40)] == [255, 127, 0]


def test_transparent_palette_entry_is_white() -> None:
    image = Image.fromarray(np.zeros((8, 8), np.uint8)).convert("P")
    for fmt in ("PNG", "GIF"):
        assert (decode_image(encode(image, fmt, transparency=0), 8, 1) == 255).all()


def test_first_frame_of_an_animation() -> None:
    frames = [Image.fromarray(np.full((20, 20), value, np.uint8)) for value in (50, 120, 200)]
    for fmt in ("GIF", "PNG"):  # the latter is an animated PNG
        stored = encode(frames[0], fmt, save_all=True, append_images=frames[1:])
        assert (decode_image(stored, 16, 1) == 50).all(), fmt


def test_resizing_averages_down_and_interpolates_up() -> None:
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((4, 4))).astype(np.uint8) * 200
    assert (fit_image(np.tile(np.array([[0, 200], [200, 0]], np.uint8), (16, 16)), 8, 1) == 100).all()
    assert len(np.unique(fit_image(board, 64, 1))) > 2


def test_avif_is_close_to_the_picture() -> None:
    if "AVIF" not in Image.registered_extensions().values():
        pytest.skip("this Pillow does not write AVIF")
    smooth = cv2.GaussianBlur(COLOUR, (0, 0), 6)
    stored = encode(smooth, "AVIF", quality=100, subsampling="4:4:4")
    assert np.abs(decode_image(stored, 40, 3).astype(int) - decode_image(encode(smooth), 40, 3)).max() <= 4


def test_heic_is_close_to_the_picture() -> None:
    pytest.importorskip("pillow_heif", reason="needs the extra heic").register_heif_opener()
    picture = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8) * 2
    difference = decode_image(encode(picture, "HEIF", quality=95), 64, 1)[0].astype(int) - picture
    assert np.abs(difference).mean() < 3


def test_pictures_above_the_limit_are_not_decoded() -> None:
    """Every format, also those whose header only Pillow reads; one at the limit is decoded."""
    for store in (LOSSLESS | LOSSLESS_GREY).values():
        stored, pixels = store(GREY), GREY.size
        decode_image(stored, 24, 1, max_pixels=pixels)
        with pytest.raises(DecodeError, match=rf"56 x 40 pixels.*data\.max_pixels={pixels} accepts it"):
            decode_image(stored, 24, 1, max_pixels=pixels - 1)


def test_a_limit_above_that_of_pillow_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    stored = encode(GREY, "PCX")
    assert decode_image(stored, 24, 1, max_pixels=GREY.size).shape == (1, 24, 24)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DecodeError, match=r"more pixels than data\.max_pixels=900.*2240 pixels"):
        decode_image(stored, 24, 1, max_pixels=900)


def broken_png() -> bytes:
    stored = bytearray(encode(GREY))
    stored[len(stored) // 2] ^= 0xFF
    return bytes(stored)


def png_of_32_bit_float() -> bytes:
    return encode(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF")


def huge_png() -> bytes:
    """A header that promises 2**31 pixels a side and no data."""
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    parts = [struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>", "not an image"),
        (b"\x00" * 500, "not an image"),
        (b"\xff\xd8\xff", "image"),
        (encode(GREY, "JPEG")[:-300], "truncated"),
        (encode(COLOUR, "JPEG", progressive=True)[:-700], "truncated"),
        (encode(GREY)[:-200], "damaged"),
        (encode(GREY)[:60], "damaged"),
        (broken_png(), "damaged"),
        (encode(GREY, "GIF")[:1500], "damaged"),
        (png_of_32_bit_float(), "floating-point"),
        (huge_png(), "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_whole_picture_is_refused(data: bytes, reason: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DecodeError, match=reason):
        decode_image(data, 48, 1)
    assert capfd.readouterr().err == ""


def test_jpeg_with_trailing_bytes_is_a_picture() -> None:
    stored = encode(GREY, "JPEG")
    np.testing.assert_array_equal(decode_image(stored + b"\r\n\x00", 48, 1), decode_image(stored, 48, 1))
