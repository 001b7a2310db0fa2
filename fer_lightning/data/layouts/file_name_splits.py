"""Splits that the names of files tell, as in PublicTest_28709.jpg."""

from __future__ import annotations

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.naming_advice import count_images
from fer_lightning.data.table.split_names import split_of

Files = dict[tuple[str, str], list[str]]
"""(split, class) to the posix paths of its images, relative to the tree."""
_OFFICIAL = frozenset({"publictest", "privatetest"})  # prefixes of file names


def recover_official_split(files: Files) -> tuple[Files, str]:
    """Divide test/ into the official validation and test images by its file names, if possible; return also a note."""
    in_train, in_test = (
        {_usage(path) for (split, _), paths in files.items() if split == folder for path in paths}
        for folder in ("train", "test")
    )
    if any(split == "validation" for split, _ in files) or not in_test & _OFFICIAL:
        return files, ""
    if "training" in in_test or in_train & _OFFICIAL:
        return files, "Training_, PublicTest_ and PrivateTest_ images are mixed: split by folder, not the official way"
    recovered: Files = {key: [] for key, paths in files.items() if not paths}
    for (split, name), paths in files.items():
        for path in paths:
            public = split == "test" and _usage(path) == "publictest"
            recovered.setdefault(("validation" if public else split, name), []).append(path)
    return recovered, "official split by the file names in test/: PublicTest_ is validation, PrivateTest_ is test"


def split_by_prefix(files: Files) -> tuple[Files, str]:
    """Divide files without a split by their prefixes, as in test_0001.jpg, if each names one; return also a note.

    Raises:
        DataError: Some have an official prefix, such as PublicTest_, and others none.
    """
    if any(split for split, _ in files):
        return files, ""
    paths = [path for found in files.values() for path in found]
    meanings = {prefix: split_of(prefix) for prefix in {_usage(path) for path in paths[:1000]}}
    names = "\n".join(paths).lower() if None in meanings.values() else ""
    if names and not any(f"/{prefix}_" in names for prefix in _OFFICIAL):
        return files, ""  # as most are: one search for all names takes 3 ms
    meanings = {prefix: split_of(prefix) for prefix in map(_usage, paths)}
    undivided = [path for path in paths if meanings[_usage(path)] is None]
    if undivided and not _OFFICIAL.isdisjoint(meanings):
        what = f"the split of {count_images(len(undivided))}, such as {undivided[0]}, is not in their names"
        raise DataError(
            f"{what}, while others are called PublicTest_…: sort them into train/happy/, test/happy/ and so on"
        )
    if undivided or len(set(meanings.values())) < 2:
        return files, ""
    divided: Files = {}
    for (_, name), found in files.items():
        for path in found:
            divided.setdefault((str(meanings[_usage(path)]), name), []).append(path)
    prefixes = sorted({path.rpartition("/")[2].partition("_")[0] for path in paths})
    return divided, f"split by the file names: {', '.join(f'{prefix}_ is {split_of(prefix)}' for prefix in prefixes)}"


def _usage(path: str) -> str:
    """Return the folded word before the first underscore of a file name: "publictest" for PublicTest_28709.jpg."""
    return path.rpartition("/")[2].partition("_")[0].lower()
