"""Short digests of pixels: whether two images are the same, without keeping either."""

from __future__ import annotations

import hashlib

import numpy as np


def digest_of(content: memoryview | bytes) -> int:
    """Return 64 bits of BLAKE2b: among a million different contents, two agree with a chance of 3 in 100 million."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def identity_of(picture: np.ndarray) -> int:
    """Return 64 bits that tell a picture from others by its height, width and pixels, uint8 (H, W) or (H, W, 3).

    >>> grey = np.zeros((2, 3), dtype=np.uint8)
    >>> identity_of(grey) == identity_of(grey.copy()), identity_of(grey) == identity_of(grey.T)
    (True, False)
    """
    return digest_of(np.array(picture.shape, dtype="<i8").tobytes() + picture.tobytes())
