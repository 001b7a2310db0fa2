"""Splits that the names of files tell, as in PublicTest_28709.jpg."""

from __future__ import annotations

import re

from fer_lightning.core.counts import count_images
from fer_lightning.core.errors import DataError
from fer_lightning.data.table.split_names import split_of

Files = dict[tuple[str, str], list[str]]
"""(split, class) to the posix paths of its images, relative to the tree."""
_OFFICIAL = frozenset({"publictest", "privatetest"})


def recover_official_split(files: Files) -> tuple[Files, str]:
    """Divide test/ into the official validation and test images by its file names, if possible; return also a note."""
    in_train, in_test = (
        {_first_word(path) for (split, _), paths in files.items() if split == folder for path in paths}
        for folder in ("train", "test")
    )
    if any(split == "validation" for split, _ in files) or not in_test & _OFFICIAL:
        return files, ""
    if "training" in in_test or in_train & _OFFICIAL:
        return files, "Training_, PublicTest_ and PrivateTest_ images are mixed: split by folder, not the official way"
    recovered: Files = {key: [] for key, paths in files.items() if not paths}
    for (split, name), paths in files.items():
        for path in paths:
            public = split == "test" and _first_word(path) == "publictest"
            recovered.setdefault(("validation" if public else split, name), []).append(path)
    return recovered, "official split by the file names in test/: PublicTest_ is validation, PrivateTest_ is test"


def split_by_name(files: Files) -> tuple[Files, str]:
    """Divide files without a split by the first or last word of their names, as in test_1.jpg; return also a note.

    Raises:
        DataError: Most names say a split, or some an official one such as PublicTest, and others none.
    """
    if any(split for split, _ in files):
        return files, ""
    paths = [path for found in files.values() for path in found]
    sample = paths[:: 1 + len(paths) // 1000]
    for word_of in (_first_word, _last_word):
        most = 2 * sum(split_of(word_of(path)) is not None for path in sample) > len(sample)
        if not most and not (word_of is _first_word and _any_official(paths)):
            continue
        words = {word_of(path) for path in paths}
        meanings = {word: split for word in words if (split := split_of(word)) is not None}
        undivided = [path for path in paths if word_of(path) not in meanings]
        if len(set(meanings.values())) < 2 and not (undivided and _any_official(paths)):
            continue
        examples = ", ".join(f"{word} is {split}" for word, split in sorted(meanings.items()))
        if undivided:
            what = f"the split of {count_images(len(undivided))}, such as {undivided[0]}, is not in their names"
            raise DataError(f"{what}, as it is in others ({examples}): rename or sort them into train/happy/ and so on")
        divided: Files = {}
        for (_, name), found in files.items():
            for path in found:
                divided.setdefault((meanings[word_of(path)], name), []).append(path)
        return divided, f"split by the file names: {examples}"
    return files, ""


def _any_official(paths: list[str]) -> bool:
    names = "\n".join(paths).lower()  # one search for all takes 3 ms
    return any(f"/{word}" in names for word in _OFFICIAL)


def _first_word(path: str) -> str:
    """Return the letters that a file name begins with, in lower case: "publictest" for PublicTest_28709.jpg."""
    found = re.match(r"[^\W\d_]+", path.rpartition("/")[2])
    return "" if found is None else found[0].lower()


def _last_word(path: str) -> str:
    """Return the letters before the suffix, in lower case: "test" for 28709-test.jpg."""
    found = re.search(r"[^\W\d_]+$", path.rpartition("/")[2].rpartition(".")[0])
    return "" if found is None else found[0].lower()
