"""Columns that stay small with millions of rows: paths in one run of bytes, and few words as one number a row."""

from __future__ import annotations

import mmap
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

_PIECE = 4096  # rows that are turned into Python objects together
_LONG = 512  # bytes; paths this long on average are taken for selected ones that do not lie side by side


class PathColumn:
    """The paths of many images, `(N,)`: indexed as an array of str, kept as bytes and where each begins.

    A selection shares the bytes of the whole.

    Args:
        blob: bytes or a memory map: UTF-8 (what is no text as "surrogateescape"), each path ended by a zero byte.
        starts: (N,) unsigned, where in `blob` each path begins.
    """

    def __init__(self, blob: bytes | mmap.mmap, starts: np.ndarray) -> None:
        self._blob, self._starts = blob, starts

    @classmethod
    def of(cls, paths: PathColumn | np.ndarray | Iterable[str]) -> PathColumn:
        """Return a column of these paths, none of which has a zero byte in it.

        >>> PathColumn.of(["train/happy/1.jpg", "train/sad/2.jpg"])[1]
        'train/sad/2.jpg'
        """
        if isinstance(paths, PathColumn):
            return paths
        blob = "".join(f"{path}\0" for path in paths).encode("utf-8", "surrogateescape")
        return cls(blob, starts_in(blob))

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: Any) -> Any:
        """Return one path, str, for an int, else the column of a slice, a mask or an array of rows."""
        if isinstance(index, (int, np.integer)):
            return self._bytes_at(operator.index(self._starts[index])).decode("utf-8", "surrogateescape")
        return PathColumn(self._blob, self._starts[index])

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces():
            yield from piece.decode("utf-8", "surrogateescape").split("\0")

    def tolist(self) -> list[str]:
        return list(self)

    def joined(self, separator: bytes) -> Iterator[bytes]:
        """Yield the bytes of all paths, a separator between each two, some thousand paths at a time."""
        between = b""
        for piece in self._pieces():
            yield between + piece.replace(b"\0", separator)
            between = separator

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.tolist(), dtype=str if dtype is None else dtype)

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return np.asarray(self) == np.asarray(other)

    def __ne__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple:
        return PathColumn.of, (self.tolist(),)  # a memory map cannot be sent

    def _bytes_at(self, start: int) -> bytes:
        return self._blob[start : self._blob.find(b"\0", start)]

    def _pieces(self) -> Iterator[bytes]:
        """Yield some paths at a time, a zero byte between each two."""
        for first in range(0, len(self), _PIECE):
            starts = self._starts[first : first + _PIECE]
            begin, end = int(starts[0]), self._blob.find(b"\0", int(starts[-1]))
            if (starts[1:] > starts[:-1]).all() and end - begin < _LONG * len(starts):
                run = self._blob[begin:end]
                if run.count(b"\0") == len(starts) - 1:  # just these, side by side
                    yield run
                    continue
            yield b"\0".join(map(self._bytes_at, starts.tolist()))
        if isinstance(self._blob, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._blob.madvise(mmap.MADV_DONTNEED)  # pages of a map that were touched count as memory


class CategoricalColumn:
    """A column of few distinct words, `(N,)`: compared and indexed as an array of str, kept as numbers.

    Args:
        codes: (N,) unsigned, into `words`.
        words: each once.
    """

    def __init__(self, codes: np.ndarray, words: Sequence[str]) -> None:
        self.codes, self.words = codes, tuple(words)

    @classmethod
    def of(cls, column: CategoricalColumn | np.ndarray | Iterable[str], words: Sequence[str]) -> CategoricalColumn:
        """Return a column in terms of `words`.

        Raises:
            ValueError: a word in the column is none of them.
        """
        if not isinstance(column, CategoricalColumn):
            found, codes = np.unique(np.asarray(column, dtype=str), return_inverse=True)
            column = cls(codes.reshape(-1), found.tolist())
        if column.words == tuple(words):
            return column
        unknown = [word for word in column.words if word not in words and word in column]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(words)}")
        meaning = [words.index(word) if word in words else 0 for word in column.words]
        return cls(np.array(meaning, dtype=np.uint8)[column.codes], words)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        """Return one word, str, for an int, else the column of a slice, a mask or an array of rows."""
        if isinstance(index, (int, np.integer)):
            return self.words[self.codes[index]]
        return CategoricalColumn(self.codes[index], self.words)

    def __iter__(self) -> Iterator[str]:
        return map(self.words.__getitem__, self.codes.tolist())

    def __contains__(self, word: object) -> bool:
        return bool(np.any(self == word))

    def tolist(self) -> list[str]:
        return list(self)

    def joined(self, separator: bytes) -> Iterator[bytes]:
        """Yield the bytes of all words, a separator between each two, some thousand words at a time."""
        words, between = [word.encode() for word in self.words], b""
        for first in range(0, len(self), _PIECE):
            yield between + separator.join(map(words.__getitem__, self.codes[first : first + _PIECE].tolist()))
            between = separator

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.words, dtype=str if dtype is None else dtype)[self.codes]

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]
        """Return bool (N,): where the column holds a word, or what another column holds there."""
        if not isinstance(other, str):
            return np.asarray(self) == np.asarray(other)
        return self.codes == self.words.index(other) if other in self.words else np.zeros(len(self), dtype=bool)

    def __ne__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return ~(self == other)

    __hash__ = None  # type: ignore[assignment]


def starts_in(blob: bytes, offset: int = 0) -> np.ndarray:
    """Return where each zero-ended piece of `blob` begins, counted from `offset`: (N,) uint32, uint64 beyond 4 GB."""
    ends = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 0)
    starts = np.zeros(len(ends), dtype=np.uint32 if offset + len(blob) < 2**32 else np.uint64)
    starts[1:] = ends[:-1] + 1
    return starts + starts.dtype.type(offset)
