"""Logged lines in which nothing steers the terminal, whatever the names of files and other people's texts hold."""

from __future__ import annotations

import logging

from fer_lightning.core.file_names import shown


class ShownRecord(logging.LogRecord):
    """A record whose message is escaped; see `shown`. Colours that a formatter adds are not."""

    def getMessage(self) -> str:
        return shown(super().getMessage())
