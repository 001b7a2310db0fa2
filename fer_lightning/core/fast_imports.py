"""Importing large libraries without looking for garbage meanwhile."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fast_imports() -> Iterator[None]:
    """Hold Python's garbage collection back while PyTorch and Lightning are imported, if they are not yet.

    The collector starts after every few hundred new objects and goes through all there are; modules make millions and
    throw none away. That was a quarter of the time from a command to its first step. What has been imported is taken
    out of later collections too.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        atexit.register(gc.unfreeze)  # or libraries that count what they left behind would complain at the end
