"""Reads the bytes of an image file, or says why not."""

from __future__ import annotations

import os
import stat

from fer_lightning.data.cache.decode import DecodeError, TooLargeError
from fer_lightning.data.cache.image_header import MAX_PIXELS

_MOST_BYTES_PER_PIXEL = 16  # 8 for 16-bit colour with alpha, as much again for what a file holds beside


class UnopenedError(DecodeError):
    """A file could not be opened now, so that its bytes are not known to be bad."""


def read_image_file(path: str, max_pixels: int = MAX_PIXELS) -> bytes:
    """Return the content of a file.

    Raises:
        UnopenedError: there is none, it is a folder or a pipe, or it may not be read.
        TooLargeError: it has more bytes than an image of `max_pixels` pixels can have, and was not read.
    """
    try:
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise UnopenedError("not a file but a pipe, socket or device")  # a pipe would wait for its other end
        if status.st_size > _MOST_BYTES_PER_PIXEL * max_pixels + 2**20:
            what = f"{status.st_size:,} bytes"
            raise TooLargeError(f"{what}, too many for an image of data.max_pixels={max_pixels}", what)
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except DecodeError:
        raise
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise UnopenedError(f"cannot be opened: {getattr(error, 'strerror', None) or error}") from error
