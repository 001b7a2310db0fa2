"""`format=onnx`: one file for onnxruntime and other runtimes."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fer_lightning.core.command_words import path_setting
from fer_lightning.core.errors import ConfigError, UserError, first_lines
from fer_lightning.core.quiet_libraries import import_onnxruntime
from fer_lightning.inference.export.half_storage import store_half
from fer_lightning.inference.export.quiet_exporters import quiet
from fer_lightning.inference.export.shared_weights import share_weights
from fer_lightning.inference.export.trained import Classify, Trained
from fer_lightning.inference.onnx_recognizer import INPUT, OUTPUT, OnnxRecognizer

SUFFIX = ".onnx"
OPSET = 18  # what torch's exporter is written in from 2.6 on; every onnxruntime that we take runs it
LARGEST = 2**31 - 2**24  # bytes of weights: a protobuf holds 2 GiB


def check(trained: Trained, output: Path) -> None:
    """Raise a ConfigError where a library is missing, or the network is too large for one file."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401

        import_onnxruntime()
    except ImportError as error:
        raise ConfigError(f'format=onnx needs {error.name}: pip install "fer_lightning[onnx]"') from error
    size = 4 * sum(value.numel() for value in trained.original.model.state_dict().values())
    if size > LARGEST:
        raise ConfigError(
            f"{trained.backbone} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2: type format=torch_export"
        )


def write(trained: Trained, path: Path, beside: Path | None = None) -> None:
    """Write the graph with its weights and what it says of itself.

    Args:
        trained: the model.
        path: of the file.
        beside: a safetensors file of the model in the same folder, whose weights the graph then reads; see
            `share_weights`. Norms and convolutions are merged by the runtime when it loads the file.

    Raises:
        ConfigError: onnxscript is too old for this torch.
        UserError: ONNX lacks one of the operations.
    """
    try:
        with quiet():
            program = torch.onnx.export(
                trained.network if beside is None else trained.unfused,
                (trained.example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
                verbose=False,
                optimize=beside is None,
            )
            assert program is not None  # for mypy: it is None for the exporter of TorchScript
            if beside is not None:  # what optimizing does, but for merging, which would change the weights
                from onnxscript import optimizer

                optimizer.fold_constants(program.model)
                optimizer.remove_unused_nodes(program.model)
        model: Any = program.model_proto
    except ImportError as error:  # torch looks for the module of onnxscript that was made for it
        raise ConfigError(
            f"torch {torch.__version__} needs another onnxscript than {version('onnxscript')} ({first_lines(error)}): "
            "pip install --upgrade onnxscript"
        ) from error
    except Exception as error:  # torch's own types, one a reason
        raise UserError(
            f"{trained.backbone} cannot be written as ONNX ({first_lines(error)}): type format=torch_export"
        ) from error
    _tidy(model)
    if beside is not None:
        share_weights(model, beside)
    if trained.storage == "float16":
        store_half(model)
    describe(model, trained.facts | ({} if beside is None else {"weights": beside.name}))
    path.write_bytes(model.SerializeToString())


def load(path: Path) -> Classify:
    """Return what classifies by the file."""
    return OnnxRecognizer.load(path)


def usage(path: Path) -> str:
    """Return a command that uses the file."""
    return f"python -m fer_lightning.predict {path_setting('model', path)} source=photo.jpg"


def describe(model: Any, facts: dict[str, Any]) -> None:
    """Write facts into the metadata of a graph, as the texts that ONNX keeps: what is no text is JSON."""
    for key, value in facts.items():
        model.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))


def _tidy(model: Any) -> None:
    """Remove what the exporter notes at each node, such as lines of source files of this machine, and its name."""
    from fer_lightning import __version__

    del model.graph.value_info[:]
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output, model.graph):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    del model.metadata_props[:]
    model.producer_name, model.producer_version, model.graph.name = "fer_lightning", __version__, "fer_lightning"
