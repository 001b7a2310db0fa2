"""From a network to an ONNX graph in one piece."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from fer_lightning.core.errors import ConfigError, UserError, first_lines
from fer_lightning.inference.export.probabilities import Probabilities
from fer_lightning.inference.onnx_recognizer import INPUT, OUTPUT

OPSET = 18  # what torch's exporter is written in, from 2.6 on; later ones are converted from it
TALKATIVE = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def to_onnx(network: Probabilities, example: torch.Tensor, metadata: Mapping[str, str]) -> Any:
    """Return an `onnx.ModelProto` that holds its weights.

    Args:
        network: in evaluation mode, on the CPU.
        example: images uint8 `(N, C, S, S)`, two or more: a batch of one would be fixed in the graph.
        metadata: for `metadata_props`.

    Raises:
        ConfigError: onnx or onnxscript is not installed.
        UserError: the network has an operation that ONNX has not.
    """
    _check_installed()
    try:
        with quiet():
            program = torch.onnx.export(
                network,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                verbose=False,
            )
        assert program is not None  # for mypy: it is None for the exporter of TorchScript
        model: Any = program.model_proto
    except Exception as error:  # torch's own types, one a reason
        raise UserError(f"the network cannot be written as ONNX ({first_lines(error)})") from error
    return _tidied(model, metadata)


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(f'format=onnx needs {error.name}: pip install "fer_lightning[onnx]"') from error


def _tidied(model: Any, metadata: Mapping[str, str]) -> Any:
    """Remove what the exporter notes of each node, such as lines of source files of this machine; add ours."""
    from fer_lightning import __version__

    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.graph.value_info[:]
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.graph.name = "fer_lightning", __version__, "fer_lightning"
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what torch's exporters print and warn of from the screen."""
    loggers = [logging.getLogger(name) for name in TALKATIVE]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
