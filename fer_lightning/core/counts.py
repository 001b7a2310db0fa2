"""Numbers of images in words."""

from __future__ import annotations


def count_images(count: int, split: str | None = None) -> str:
    """Return how many images of a split there are; all splits together have no name.

    >>> count_images(1, "validation"), count_images(1280, "all")
    ('1 validation image', '1,280 images')
    """
    name = f" {split}" if split and split != "all" else ""
    return f"{count:,}{name} image{'s' * (count != 1)}"
