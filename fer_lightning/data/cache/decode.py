"""Decode image files into the pixels that the network sees.

The same picture gives the same pixels in every lossless encoding: grey, colour, opaque alpha, palette, 16 bit, CMYK or
rotated by its EXIF tag. OpenCV decodes plain JPEG and PNG, nearly all files, in a third of Pillow's time; Pillow
decodes the rest, and its errors say what is wrong with a damaged file.
"""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# PNG chunks that OpenCV ignores: a transparent colour, animation, and three encodings of the orientation.
_PNG_EXTRAS = (b"tRNS", b"acTL", b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15 without tables and reserved markers

# The messages here say what is wrong with a file, so OpenCV need not; it moved this function in 4.12.
(cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging).setLogLevel(0)


class DecodeError(ValueError):
    """The data is not a complete image; the message is the reason."""


def decode_image(data: bytes, image_size: int, channels: int) -> np.ndarray:
    """Decode and resize the content of one file to (C, H, W), uint8; see `decode_picture` and `fit_image`."""
    return fit_image(decode_picture(data), image_size, channels)


def decode_picture(data: bytes) -> np.ndarray:
    """Decode the content of one file, turned upright, at its own size: (H, W) grey or (H, W, 3) RGB, uint8.

    The content determines the format. Of an animation, the first frame is used. Transparent parts become white. Grey
    stored as colour becomes grey.

    Raises:
        DecodeError: the data is empty, cut short, or no image.
    """
    if not data:
        raise DecodeError("empty file (0 bytes)")
    picture = _decode_by_opencv(data) if _is_plain_jpeg(data) or _is_plain_png(data) else None
    return _as_grey(_decode_any(data) if picture is None else picture)


def fit_image(picture: np.ndarray, image_size: int, channels: int) -> np.ndarray:
    """Resize a picture, (H, W) grey or (H, W, 3) red, green, blue, uint8, and convert its channels.

    Returns:
        (C, `image_size`, `image_size`), uint8, with `channels` 1 or 3; the sides are scaled independently.
    """
    picture = _as_grey(picture)  # resized as grey, to round the same way
    if picture.ndim == 3 and channels == 1:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    if picture.shape[:2] != (image_size, image_size):
        method = cv2.INTER_AREA if min(picture.shape[:2]) > image_size else cv2.INTER_LINEAR
        picture = cv2.resize(np.ascontiguousarray(picture), (image_size, image_size), interpolation=method)
    if picture.ndim == 2:
        return np.repeat(picture[None], channels, axis=0)
    return np.ascontiguousarray(picture.transpose(2, 0, 1))


def _as_grey(picture: np.ndarray) -> np.ndarray:
    """Return (H, W) of a picture (H, W, 3) whose three channels are the same, any other as it is."""
    is_grey = picture.ndim == 3 and (picture[..., :1] == picture[..., 1:]).all()
    return picture[..., 0] if is_grey else picture


def _decode_by_opencv(data: bytes) -> np.ndarray | None:
    try:
        picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_ANYCOLOR)  # rotates by the EXIF tag
    except cv2.error:  # such as a picture larger than OpenCV allows
        return None
    if picture is None or picture.ndim == 2:
        return picture
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _is_plain_jpeg(data: bytes) -> bool:
    """Return whether this is a complete JPEG, grey or YCbCr.

    Older versions of OpenCV pad a truncated file, and OpenCV converts CMYK differently from Pillow.
    """
    if data[:3] != b"\xff\xd8\xff":
        return False
    components, at = 0, 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            components = data[at + 9]
        if marker == 0xDA:  # start of scan: an end-of-image marker after it is genuine
            return components in (1, 3) and data.find(b"\xff\xd9", at) > 0
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


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


def _decode_any(data: bytes) -> np.ndarray:
    """Return (H, W) or (H, W, 3) red, green, blue of any file that Pillow knows, else raise DecodeError."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            return _flatten(ImageOps.exif_transpose(opened))
    except UnidentifiedImageError:
        picture = _decode_by_opencv(data)  # knows a few more formats, such as TIFF with 16 bits per colour
        if picture is not None:
            return picture
        raise DecodeError(f"not an image of a known format: it starts with {data[:16]!r}") from None
    except DecodeError:
        raise
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, zlib.error …
        raise DecodeError(f"damaged image: {error}") from error


def _flatten(image: Image.Image) -> np.ndarray:
    """Return an image of any mode as 8-bit grey (H, W) or colour (H, W, 3) on white."""
    if image.mode == "F":
        raise DecodeError("its pixels are floating-point numbers without a known range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # 16 bits, which some versions of Pillow store in 32
        wide = np.asarray(image)
        if wide.min() < 0 or wide.max() > 65535:
            raise DecodeError("its pixels have 32 bits; save it with 8 or 16 bits")
        return (wide >> 8).astype(np.uint8)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.uint16)
        colour, alpha = rgba[..., :3], rgba[..., 3:]
        return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
