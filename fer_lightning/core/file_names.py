"""Names of files that are no valid text: written as the file system has them, shown with their bytes escaped."""

from __future__ import annotations

import codecs
import re

# bytes hidden in surrogates, control characters but tab and line feed, and those that change the direction of the text
UNPRINTABLE = r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
ON_DISK = "fer_lightning.on_disk"  # how text is encoded where it may hold such names; for `open(errors=…)`


def _encode(error: UnicodeError) -> tuple[bytes, int]:
    """Encode the bytes that `os.fsdecode` hid in surrogates as these bytes; others are not of a file system."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    hidden = (ord(letter) - 0xDC00 for letter in error.object[error.start : error.end])
    return b"".join(bytes([byte]) if 0x80 <= byte <= 0xFF else b"?" for byte in hidden), error.end


codecs.register_error(ON_DISK, _encode)


def shown(text: str) -> str:
    r"""Return text that can be printed: the bytes of such names, and what would steer a terminal, are escaped.

    >>> shown("caf\udce9.png"), shown("\x1b[2Jgone"), shown("gpj.\u202egnp")
    ('caf\\xe9.png', '\\x1b[2Jgone', 'gpj.\\u202egnp')
    """
    return re.sub(UNPRINTABLE, _escaped, text)


def on_one_line(text: str) -> str:
    r"""Return the same with spaces for line feeds, for a figure, which has no room for them.

    >>> on_one_line("a\nb.png")
    'a b.png'
    """
    return shown(text).replace("\n", " ")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return rf"\u{code:04x}" if 0xFF < code < 0xD800 else rf"\x{code & 0xFF:02x}"
