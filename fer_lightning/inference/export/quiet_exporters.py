"""Keeps what exporters print, log and warn of from the screen."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

TALKATIVE = ("torch.onnx", "torch.export", "torch._dynamo", "onnxscript", "onnx_ir", "timm")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporters, onnxruntime's quantizer and timm for a block."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels, disabled = [logger.level for logger in loggers], logging.root.manager.disable
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        logging.disable(logging.WARNING)  # onnxruntime's quantizer speaks through the root logger
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
