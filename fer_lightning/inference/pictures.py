"""What may be given to a `Predictor`: files, arrays, tensors, images of Pillow; one, or any number of them.

What could be understood in two ways is decided here, once:

- Arrays are grey `(H, W)`, or have their channels last: `(H, W, C)`, and `(N, H, W, C)` for N pictures, with C of 1
  (grey), 3 (RGB) or 4 (RGB and alpha, pasted on white). Channels of `cv2.imread` are BGR: give `picture[..., ::-1]`.
- Tensors of torch have theirs first: `(H, W)`, `(C, H, W)`, `(N, C, H, W)`.
- The dtype says the range, not the values: uint8 0…255, uint16 0…65535, other integers 0…255, floats 0…1, bool.
- A string or a Path is the name of a file; bytes are the content of one.
- A file that cannot be read has no pixels but a note that says why; an argument that is no picture at all raises.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from os import PathLike, fsdecode
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from fer_lightning.data.cache.decode import (
    DecodeError,
    TooLargeError,
    decode_picture,
    flatten_image,
    is_animated,
    paste_on_white,
    peek_size,
)
from fer_lightning.data.cache.image_file import read_image_file
from fer_lightning.data.cache.image_header import MAX_PIXELS

HEADER = 2**18  # bytes in which the size of a picture stands
SLACK = 1e-3  # by which floats may leave 0…1, as after an interpolation

_FILES = (str, PathLike, bytes, bytearray, memoryview, Image.Image)  # their names, their content, and who reads them


class Picture(NamedTuple):
    """A picture that was read, or why it could not be.

    Attributes:
        pixels: uint8 `(H, W)` grey or `(H, W, 3)` RGB, turned upright; None if it could not be read.
        source: name of its file, or its address; empty for one from memory.
        note: what is to be said about it; None for nothing.
        frame: its number in a video, from 0; None for a photograph.
        time: seconds since the beginning of the video; None for a photograph.
    """

    pixels: np.ndarray | None
    source: str = ""
    note: str | None = None
    frame: int | None = None
    time: float | None = None


def as_images(images: Any) -> Iterable[Any]:
    """Return one image, several in an array or tensor, or any iterable of images, as an iterable; none is read."""
    if _is_image(images) or isinstance(images, Mapping):  # of a mapping, the names would be taken for files
        return [images]
    if _is_tensor(images) or hasattr(images, "__array__"):
        return list(images) if images.ndim == 4 or _holds_paths(images) else [images]
    return images if isinstance(images, Iterable) else [images]


def read_size(image: Any) -> tuple[int, int] | None:
    """Return width and height of an image without decoding it, or None where that cannot be told."""
    if isinstance(image, (str, PathLike)):
        if not os.path.isfile(image):  # to open a pipe would wait for its other end
            return None
        try:
            with open(image, "rb") as file:
                return peek_size(file.read(HEADER))
        except OSError:
            return None
    if isinstance(image, (bytes, bytearray, memoryview)):
        return peek_size(bytes(image[:HEADER]))
    if isinstance(image, Image.Image):
        return image.size
    image = image.pixels if isinstance(image, Picture) else image
    shape = tuple(getattr(image, "shape", ()))
    if len(shape) not in (2, 3):
        return None
    height, width = shape[-2:] if _is_tensor(image) else shape[:2]
    return width, height


def read_image(image: Any) -> Picture:
    """Return one image as a picture.

    Args:
        image: see the top of this file.

    Raises:
        TypeError, ValueError: it is no image, or an array of another shape, dtype or range.

    >>> read_image(np.array([[0.0, 0.5, 1.0]])).pixels
    array([[  0, 128, 255]], dtype=uint8)
    """
    if isinstance(image, np.ndarray):  # first, because it shall be quick
        return Picture(_of_array(image))
    if isinstance(image, Picture):
        return image
    if isinstance(image, _FILES):
        return _read_file(image)
    if _is_tensor(image):
        return Picture(_of_array(_channels_last(image)))
    if hasattr(image, "__array__"):
        return Picture(_of_array(np.asarray(image)))
    raise TypeError(
        f"no image but {type(image).__name__}: give a path, an array (H, W) or (H, W, 3), a tensor (C, H, W), an image "
        "of Pillow, or a list of these"
    )


def _read_file(file: Any) -> Picture:
    """Return the picture in a file, its content, or an image of Pillow, which reads its file when it is used."""
    source = ""
    try:
        if isinstance(file, Image.Image):
            source = str(getattr(file, "filename", ""))
            return Picture(_flattened(file), source)
        if isinstance(file, (str, PathLike)):
            source = fsdecode(file)
            if os.path.isdir(source):
                return Picture(None, source, "a folder: give its files, such as pathlib.Path(FOLDER).glob('*.jpg')")
            if "://" in source:
                return Picture(
                    None,
                    source,
                    "an address: give the bytes that are there; the verb predict fetches them itself",
                )
            file = read_image_file(source)
        data = bytes(file)
        picture = decode_picture(data)
    except TooLargeError as error:
        return Picture(None, source, f"{error.what}, more than {MAX_PIXELS:,} pixels: make it smaller")
    except DecodeError as error:
        return Picture(None, source, str(error))
    return Picture(picture, source, "it holds several frames: the first is used" if is_animated(data) else None)


def _flattened(image: Image.Image) -> np.ndarray:
    try:
        return flatten_image(image)
    except DecodeError:
        raise
    except Exception as error:  # a dozen types of Pillow's plugins
        raise DecodeError(f"damaged image: {error}") from error


def _is_image(value: Any) -> bool:
    """Return whether this is one image, though some can be iterated over, or an open file, which is none."""
    return isinstance(value, (*_FILES, Picture)) or hasattr(value, "read")


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # without it, nothing can be a tensor
    return torch is not None and isinstance(value, torch.Tensor)


def _holds_paths(array: Any) -> bool:
    """Return whether this is a column of a table or an array of names."""
    return array.ndim == 1 and np.asarray(array).dtype.kind in "OU"


def _channels_last(tensor: Any) -> np.ndarray:
    """Return a tensor `(H, W)` or `(C, H, W)` as an array `(H, W)` or `(H, W, C)`."""
    shape = tuple(tensor.shape)
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and shape[0] not in (1, 3, 4)):
        raise ValueError(f"a tensor {shape} is no picture: give (C, H, W) or (N, C, H, W) with C of 1, 3 or 4")
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.is_floating_point() else tensor  # numpy has no bfloat16
    return np.asarray(tensor.numpy() if tensor.ndim == 2 else tensor.permute(1, 2, 0).numpy())


def _of_array(array: np.ndarray) -> np.ndarray:
    """Return an array `(H, W)` or `(H, W, C)` of any range as uint8 `(H, W)` or `(H, W, 3)`."""
    shape = array.shape
    if array.ndim == 3 and shape[2] not in (1, 3, 4):
        hint = "a batch of grey pictures is images[..., None]"
        hint = f"channels come last, np.moveaxis(image, 0, -1), and {hint}" if shape[0] in (1, 3, 4) else hint
        raise ValueError(f"an array {shape} is no picture: give (H, W) or (H, W, C) with C of 1, 3 or 4; {hint}")
    if array.ndim not in (2, 3) or 0 in shape:
        raise ValueError(f"an array {shape} is no picture: give (H, W) or (H, W, C) with C of 1, 3 or 4")
    array = array if array.dtype == np.uint8 else _to_bytes(array)
    if array.ndim == 2 or shape[2] == 3:
        return array
    return array[..., 0] if shape[2] == 1 else paste_on_white(array)


def _to_bytes(array: np.ndarray) -> np.ndarray:
    """Return values of any dtype as uint8, 0…255."""
    kind = array.dtype.kind
    if kind == "b":
        return array * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if kind not in "iuf":
        raise TypeError(f"an array of dtype {array.dtype} is no picture: give uint8, or floats from 0 to 1")
    low, high = array.min(), array.max()
    top, slack = (1, SLACK) if kind == "f" else (255, 0)
    if not (-slack <= low and high <= top + slack):  # false for NaN, too
        cure = "give uint8, such as image.astype('uint8')" if 0 <= low <= high <= 255 else "scale it first"
        raise ValueError(f"a picture of dtype {array.dtype} goes from 0 to {top}, not from {low:g} to {high:g}: {cure}")
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8) if kind == "f" else array.astype(np.uint8)
