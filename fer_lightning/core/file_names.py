"""Names of files that are no valid text: written as the file system has them, shown with their bytes escaped."""

from __future__ import annotations

import codecs
import re

ON_DISK = "fer_lightning.on_disk"  # how text is encoded where it may hold such names; for `open(errors=…)`


def _encode(error: UnicodeError) -> tuple[bytes, int]:
    """Encode the bytes that `os.fsdecode` hid in surrogates as these bytes; others are not of a file system."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    hidden = (ord(letter) - 0xDC00 for letter in error.object[error.start : error.end])
    return b"".join(bytes([byte]) if 0x80 <= byte <= 0xFF else b"?" for byte in hidden), error.end


codecs.register_error(ON_DISK, _encode)


def shown(text: str) -> str:
    r"""Return text that can be printed, with the bytes of such names escaped.

    >>> shown("caf\udce9.png")
    'caf\\xe9.png'
    """
    return re.sub(r"[\ud800-\udfff]", lambda found: rf"\x{ord(found[0]) & 0xFF:02x}", text)
