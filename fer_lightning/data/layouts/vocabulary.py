"""What names of folders, files and values mean: those that everybody uses, and the user's own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fer_lightning.data.table.emotions import CodeOrder, canonical, fold
from fer_lightning.data.table.split_names import own_split, split_of

_CONTAINERS = frozenset(
    (
        *("image", "images", "img", "imgs", "picture", "pictures", "photos", "faces", "data", "dataset", "all"),
        *("samples", "aligned", "original", "cropped", "crops", "raw", "jpg", "png"),
        *("unknown", "unlabelled", "unlabeled"),
    )
)


class Vocabulary:
    """The names of classes and splits.

    Args:
        aliases: The user's own spellings of classes and splits, see `emotions.canonical` and `split_names.split_of`;
            None leaves a folder, file or row out.
        code_order: What classes that are numbers mean; None where they are not expected.
        own_names: Whether folders of images are classes under their own names, expressions or not.
    """

    def __init__(
        self, aliases: Mapping[str, str | None] | None, code_order: CodeOrder | None = None, own_names: bool = False
    ) -> None:
        meant = {} if aliases is None else {str(name): meaning for name, meaning in aliases.items()}
        self.unwanted = frozenset(fold(name) for name, meaning in meant.items() if meaning is None)
        self._meant = {name: str(meaning) for name, meaning in meant.items() if meaning is not None}
        self.aliases = {name: meaning for name, meaning in self._meant.items() if own_split(meaning) is None}
        self.code_order, self.own_names = code_order, own_names
        self._spellings: dict[str, str] = {}  # of own names: "cats" to "Cats"

    def split(self, name: str) -> str | None:
        """Return the split that a folder's name stands for, or None."""
        return split_of(name, self._meant)

    def is_own_name(self, name: str) -> bool:
        """Return whether the user has said what a name means."""
        return fold(name) in map(fold, self._meant)

    def meaning(self, name: str) -> str | None:
        """Return the class that a folder's name stands for, or None; with `own_names`, each stands for itself."""
        if not self.own_names or fold(name) in map(fold, self.aliases):
            return canonical(name, self.aliases, self.code_order)
        return self._spellings.setdefault(name.strip().casefold(), name.strip())

    def split_and_class(self, name: str) -> tuple[str, str] | None:
        """Return the split and the class that a folder such as train_angry or angry-test stands for."""
        words = [word for word in re.split(r"[\W_]+", name) if word]
        for word, rest in ((words[0], words[1:]), (words[-1], words[:-1])) if len(words) > 1 else ():
            split, emotion = self.split(word), canonical("_".join(rest), self.aliases)
            if split is not None and emotion is not None and not self.is_own_name(name):
                return split, emotion
        return None

    def may_be_class(self, name: str) -> bool:
        """Return whether a folder may be a class of the user's own, and is not a split or a mere container."""
        return self.split(name) is None and fold(name) not in _CONTAINERS

    def is_known(self, name: str) -> bool:
        """Return whether a name is one of a class or a split."""
        return canonical(name, self.aliases) is not None or self.split(name) is not None
