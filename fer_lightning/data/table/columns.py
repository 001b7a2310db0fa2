"""Text columns that stay small with millions of rows: paths as one run of bytes, few distinct words as codes."""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np


class _TextColumn(Sequence[str]):
    """A column `(N,)` that is indexed, compared and converted as an array of str."""

    @abstractmethod
    def _joined(self) -> bytes:
        """Return the bytes of one row or more, a zero byte between each two."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Any:
        """Return one str for an int, else the column of a slice, a mask or an array of rows."""

    def _pieces(self) -> Iterator[bytes]:
        return (self[first : first + 4096]._joined() for first in range(0, len(self), 4096))

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces():
            yield from piece.decode("utf-8", "surrogateescape").split("\0")

    def tolist(self) -> list[str]:
        return list(self)

    def joined(self, separator: bytes) -> Iterator[bytes]:
        """Yield the bytes of all rows, a separator between each two, some thousand rows at a time."""
        between = b""
        for piece in self._pieces():
            yield between + piece.replace(b"\0", separator)
            between = separator

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.tolist(), dtype=str if dtype is None else dtype)

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]  # as NumPy's arrays do
        return np.asarray(np.asarray(self) == np.asarray(other))

    def __ne__(self, other: object) -> np.ndarray:  # type: ignore[override]  # likewise
        return ~(self == other)


class PathColumn(_TextColumn):
    """The paths of many images; a selection shares the bytes of the whole.

    `blob` holds UTF-8 (undecodable bytes as "surrogateescape"), each path ended by a zero byte; `starts` says where in
    it each path begins, (N,) unsigned.
    """

    def __init__(self, blob: bytes | mmap.mmap, starts: np.ndarray) -> None:
        self._blob, self._starts = blob, starts

    @classmethod
    def of(cls, paths: PathColumn | np.ndarray | Iterable[str]) -> PathColumn:
        """Return a column of these paths, none of which contains a zero byte.

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
        if isinstance(index, (int, np.integer)):
            return self._bytes_at(int(self._starts[index])).decode("utf-8", "surrogateescape")
        return PathColumn(self._blob, self._starts[index])

    def __reduce__(self) -> tuple[Any, ...]:
        return PathColumn.of, (self.tolist(),)  # a memory map cannot be pickled

    def _bytes_at(self, start: int) -> bytes:
        return self._blob[start : self._blob.find(b"\0", start)]

    def _joined(self) -> bytes:
        begin, end = int(self._starts[0]), self._blob.find(b"\0", int(self._starts[-1]))
        near = (self._starts[1:] > self._starts[:-1]).all() and end - begin < 512 * len(self)  # bytes
        joined = self._blob[begin:end] if near else b""
        if not near or joined.count(b"\0") != len(self) - 1:  # else these are exactly these rows, side by side
            joined = b"\0".join(map(self._bytes_at, self._starts.tolist()))
        if isinstance(self._blob, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            self._blob.madvise(mmap.MADV_DONTNEED)  # pages that were read count as memory of the process
        return joined


class CategoricalColumn(_TextColumn):
    """A column of few distinct words: codes, (N,) unsigned, into `words`, each once and without zero bytes."""

    def __init__(self, codes: np.ndarray, words: Sequence[str]) -> None:
        self.codes, self.words = codes, tuple(words)

    @classmethod
    def of(cls, column: CategoricalColumn | np.ndarray | Iterable[str], words: Sequence[str]) -> CategoricalColumn:
        """Return a column with codes into `words`; raise ValueError if it holds a word that is not among them."""
        if not isinstance(column, CategoricalColumn):
            found, codes = np.unique(np.asarray(column, dtype=str), return_inverse=True)
            column = cls(codes.reshape(-1), found.tolist())
        if column.words == tuple(words):
            return column
        unknown = [word for word in column.words if word not in words and word in column]
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(words)}")
        new_codes = [words.index(word) if word in words else 0 for word in column.words]
        return cls(np.array(new_codes, dtype=np.uint8)[column.codes], words)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, (int, np.integer)):
            return self.words[self.codes[index]]
        return CategoricalColumn(self.codes[index], self.words)

    def __contains__(self, word: object) -> bool:
        return bool(np.any(self == word))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(np.array(self.words, dtype=str if dtype is None else dtype)[self.codes])

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]  # as NumPy's arrays do
        if not isinstance(other, str):
            return super().__eq__(other)
        code = self.words.index(other) if other in self.words else -1
        return np.asarray(self.codes == code)

    def _joined(self) -> bytes:
        return "\0".join(map(self.words.__getitem__, self.codes.tolist())).encode()


def starts_in(blob: bytes, offset: int = 0) -> np.ndarray:
    """Return where each zero-ended piece of `blob` begins, counted from `offset`: (N,) uint32, uint64 beyond 4 GB."""
    ends = np.flatnonzero(np.frombuffer(blob, dtype=np.uint8) == 0)
    starts = np.concatenate([[0], ends + 1])[:-1] + offset
    return starts.astype(np.uint32 if offset + len(blob) < 2**32 else np.uint64)
