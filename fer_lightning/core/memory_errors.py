"""How Python, torch and the system say that there is no memory left."""

from __future__ import annotations

_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed", "cannot allocate memory")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the device or on the host.

    >>> is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …"))
    True
    """
    said = isinstance(error, (RuntimeError, OSError)) and any(text in str(error).lower() for text in _NO_MEMORY)
    return said or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
