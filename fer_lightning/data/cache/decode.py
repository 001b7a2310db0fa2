"""Decode image files into the pixels that the network sees.

The same picture gives the same pixels in every lossless encoding: grey, colour, opaque alpha, palette, 16 bit, CMYK or
rotated by its EXIF tag. OpenCV decodes plain JPEG and PNG, nearly all files, in a third of Pillow's time; Pillow
decodes the rest, and its errors say what is wrong with a damaged file. Neither sees a picture of too many pixels.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fer_lightning.data.cache.image_header import MAX_PIXELS, JpegFrame, promises_too_much, read_jpeg_frame, read_size

# Named, because some of Pillow's other plugins start programs (EPS), decode in Python or read what is no picture.
_PILLOW_FORMATS = (
    *("JPEG", "PNG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "AVIF", "HEIF"),
    *("JPEG2000", "MPO", "PCX", "SGI", "SUN", "TGA"),
)
# PNG chunks that OpenCV ignores: a transparent colour, animation, and three encodings of the orientation.
_PNG_EXTRAS = (b"tRNS", b"acTL", b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# The messages here say what is wrong with a file, so OpenCV need not; it moved this function in 4.12.
(cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging).setLogLevel(0)


class DecodeError(ValueError):
    """The data is not a complete image, or too large a one; the message is the reason."""


class TooLargeError(DecodeError):
    """The data has more than `max_pixels`; `what` says how many, without the setting that would accept them."""

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message)
        self.what = what


def decode_image(data: bytes, image_size: int, channels: int, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode and resize the content of one file to (C, H, W), uint8; see `decode_picture` and `fit_image`."""
    return fit_image(decode_picture(data, max_pixels), image_size, channels)


def decode_picture(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the content of one file, turned upright, at its own size: (H, W) grey or (H, W, 3) RGB, uint8.

    The content determines the format. Of an animation, the first frame is used. Transparent parts become white. Grey
    stored as colour becomes grey.

    Raises:
        DecodeError: the data is empty, cut short, no image, or has more pixels than `max_pixels` by its header.
    """
    if not data:
        raise DecodeError("empty file (0 bytes)")
    frame = read_jpeg_frame(data)
    size = read_size(data) if frame is None else (frame.width, frame.height)
    if size is not None and promises_too_much(data, size):
        raise DecodeError(f"damaged image: {size[0]:,} x {size[1]:,} pixels do not fit into {len(data):,} bytes")
    if size is not None:
        _check_size(size, max_pixels)
    picture = _decode_by_opencv(data) if _is_plain_jpeg(data, frame) or _is_plain_png(data) else None
    return _as_grey(_decode_any(data, max_pixels) if picture is None else picture)


def peek_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height that the beginning of a file states; None if it is no image, or it stands further on."""
    frame = read_jpeg_frame(data)
    size = read_size(data) if frame is None else (frame.width, frame.height)
    if size is not None:
        return size
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_pillow_formats()) as opened:
        return opened.size
    return None


def is_animated(data: bytes) -> bool:
    """Return whether a file that can be decoded holds more frames or pages than the first, which is what is used.

    A JPEG with previews behind it does not count.
    """
    if data[:2] == b"\xff\xd8" or (data[:4] == b"\x89PNG" and b"acTL" not in data):
        return False
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data), formats=_pillow_formats()) as opened:
        return bool(getattr(opened, "is_animated", False))
    return False


def fit_image(picture: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Resize a picture, (H, W) grey or (H, W, 3) red, green, blue, uint8, and convert its channels.

    Returns:
        (C, `image_size`, `image_size`), uint8, with `channels` 1 or 3; the sides are scaled independently. It may be a
        view of `picture`.
    """
    picture = _as_grey(picture)  # resized as grey, to round the same way
    if picture.ndim == 3 and channels == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if picture.shape[:2] != (image_size, image_size):
        method = cv2.INTER_AREA if min(picture.shape[:2]) > image_size else cv2.INTER_LINEAR
        picture = cv2.resize(np.ascontiguousarray(picture), (image_size, image_size), interpolation=method)
    if picture.ndim == 2:
        return picture[None] if channels == 1 else np.repeat(picture[None], channels, axis=0)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _as_grey(picture: np.ndarray) -> np.ndarray:
    """Return (H, W) of a picture (H, W, 3) whose three channels are the same, any other as it is."""
    some = picture[::16, ::16]  # where colour, if there is any, shows in a hundredth of the time
    is_grey = picture.ndim == 3 and all((part[..., :1] == part[..., 1:]).all() for part in (some, picture))
    return picture[..., 0] if is_grey else picture


def _decode_by_opencv(data: bytes) -> np.ndarray | None:
    try:
        picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_ANYCOLOR)  # rotates by the EXIF tag
    except cv2.error:  # such as a picture larger than OpenCV allows
        return None
    if picture is None or picture.ndim == 2:
        return picture
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _is_plain_jpeg(data: bytes, frame: JpegFrame | None) -> bool:
    """Return whether this is a complete JPEG, grey or YCbCr.

    Older versions of OpenCV pad a truncated file, and OpenCV converts CMYK differently from Pillow.
    """
    if frame is None or frame.components not in (1, 3):
        return False
    return data.find(b"\xff\xd9", frame.scan) > 0  # an end-of-image marker after the start of a scan is genuine


def _is_plain_png(data: bytes) -> bool:
    """Return whether this is an undamaged PNG without chunks that OpenCV ignores.

    Check sums are verified here because libpng would print its own messages to the terminal.
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33 or data[25] in (4, 6):  # which have alpha
        return False
    if any(extra in data for extra in _PNG_EXTRAS) or data[16:18] != b"\0\0" or data[20:22] != b"\0\0":
        return False  # or a side of 65,536 pixels and more
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(view[at : at + 4], "big")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return True
        at = end + 4
    return False


def _decode_any(data: bytes, max_pixels: int) -> np.ndarray:
    """Return (H, W) or (H, W, 3) red, green, blue of any file that Pillow knows, else raise DecodeError."""
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own guard, which stays where it is the weaker one
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=_pillow_formats()) as opened:
            return flatten_image(opened, max_pixels)
    except UnidentifiedImageError:
        # OpenCV knows TIFF with 16 bits per colour. It gets no other file whose size is not known.
        picture = _decode_by_opencv(data) if data.startswith(_TIFF) and read_size(data) is not None else None
        if picture is not None:
            return picture
        raise DecodeError(_describe_unknown(data)) from None
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLargeError(f"more pixels than data.max_pixels={max_pixels}: {error}", str(error)) from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, zlib.error …
        raise DecodeError(f"damaged image: {error}") from error


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise TooLargeError if a picture of this width and height has too many pixels."""
    pixels = size[0] * size[1]
    if pixels > max_pixels:
        what = f"{size[0]:,} x {size[1]:,} pixels by its header"
        cure = f"data.max_pixels={pixels} accepts it"
        raise TooLargeError(f"{what}, more than data.max_pixels={max_pixels}; {cure}", what)


@functools.cache
def _pillow_formats() -> list[str]:
    """Return the formats that are read and that the installed Pillow knows, with HEIC where pillow-heif is there."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return [name for name in _PILLOW_FORMATS if name in Image.OPEN]


def _describe_unknown(data: bytes) -> str:
    """Return what kind of file this is, without its content, which may be somebody's secret behind a link."""
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"mif1", b"hevc", b"msf1"):
        return 'a HEIC image; pip install "fer_lightning[heic]", or convert it to JPEG'
    if brand in (b"avif", b"avis"):
        return "an AVIF image, which this version of Pillow cannot read; pip install --upgrade pillow"
    if data.startswith(b"version https://git-lfs"):
        return "not an image but a pointer of Git LFS; git lfs pull fetches the image"
    if data[:512].lstrip().startswith(b"<"):
        return "not an image but a web page, perhaps of a failed download"
    return "not an image of a known format"


def flatten_image(image: Image.Image, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Return an image of any mode, turned upright, as 8-bit grey (H, W) or colour (H, W, 3) on white.

    Raises:
        DecodeError: it has more pixels than `max_pixels`, or pixels without a known range.
        Exception: its file is damaged; Pillow's plugins raise OSError, SyntaxError, ValueError …
    """
    _check_size(image.size, max_pixels)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise DecodeError("its pixels are floating-point numbers without a known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits, which some versions of Pillow store in 32
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise DecodeError("its pixels have 32 bits; save it with 8 or 16 bits")
        return (wide >> 8).astype(np.uint8)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        return paste_on_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def paste_on_white(rgba: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) of (H, W, 4), both uint8; row by row where rows are long, because products take 16 bits."""
    colour = np.empty((*rgba.shape[:2], 3), dtype=np.uint8)
    step = max(1, 2**20 // rgba.shape[1])
    for top in range(0, len(rgba), step):
        part = rgba[top : top + step].astype(np.uint16)
        alpha = part[..., 3:]
        colour[top : top + step] = (part[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return colour
