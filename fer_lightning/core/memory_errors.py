"""How Python, torch and the system say that there is no memory left, and how some is given back."""

from __future__ import annotations

import gc

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the device or on the host.

    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"))
    True
    """
    said = isinstance(error, (RuntimeError, OSError)) and any(text in str(error).lower() for text in _NO_MEMORY)
    return said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def release_memory() -> None:
    """Give back the memory of what is no longer used, a GPU's too."""
    import torch  # slow to import, and in use already where there is something to give back

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
