"""What may choose: the scores that training logs, and never those of the test split."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from omegaconf import DictConfig

from fer_lightning.config.nodes import get, own_value, walk
from fer_lightning.core.suggestions import close_matches

MONITORS = {"val/acc": "max", "val/f1_macro": "max", "val/loss": "min", "train/acc": "max", "train/loss": "min"}
_TEST = re.compile(r"(?<![a-z])(private[\W_]?)?test(s|ing)?", re.IGNORECASE)  # not PublicTest, which is for choosing


def nearest_score(name: str, known: Collection[str] = MONITORS) -> str:
    """Return the known score that is most like `name`; for one of the test split, that of the validation split.

    >>> nearest_score("test_loss"), nearest_score("val_f1"), nearest_score("speed")
    ('val/loss', 'val/f1_macro', 'val/acc')
    """
    return (close_matches(_TEST.sub("val", name).replace("_", "/"), known) or ["val/acc"])[0]


def why_not(name: str, known: Collection[str] = MONITORS) -> str:
    """Return why a score that is not among the `known` ones cannot choose anything.

    >>> why_not("test/acc")
    'would choose by the test split, which is read once, after all choices'
    """
    if _TEST.search(name):
        return "would choose by the test split, which is read once, after all choices"
    return f"is never measured; there are {', '.join(known)}"


def monitors(cfg: DictConfig) -> Iterator[str]:
    """Check that every `monitor` is a score that is logged, and that its `mode` is the right one."""
    for path, node in walk(cfg, ""):
        if path == "model.":
            continue  # which gets it from the program
        monitor, mode = own_value(node, "monitor"), get(node, "mode")
        if monitor is not None and monitor not in MONITORS:
            near = nearest_score(str(monitor))
            cure = f"type {path}monitor={near} {path}mode={MONITORS[near]}"
            yield f"{path}monitor={monitor} {why_not(str(monitor))}: {cure}"
        elif mode in ("min", "max") and (monitor or own_value(node, "mode")):
            wanted = MONITORS.get(get(node, "monitor"))
            if wanted not in (None, mode):
                watched = f"{path}monitor={get(node, 'monitor')}"
                yield f"{watched} goes with {path}mode={wanted}, not {mode}: type {path}mode={wanted}"
