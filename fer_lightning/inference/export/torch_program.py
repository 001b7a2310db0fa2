"""`format=torch_export`: a program of torch that needs no other library."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import numpy as np
import torch

from fer_lightning.core.errors import UserError, first_lines
from fer_lightning.inference.export.quiet_exporters import quiet
from fer_lightning.inference.export.trained import Classify, Trained

SUFFIX = ".pt2"
FACTS = "fer_lightning.json"  # in the file: torch.export.load(path, extra_files={FACTS: ""})


def check(trained: Trained, output: Path) -> None:
    """Pass: torch is there, and every network may be tried."""


def write(trained: Trained, path: Path) -> None:
    """Write the program with its weights and what it says of itself; a UserError if torch cannot export it."""
    shapes = ({0: torch.export.Dim("N", min=1)},)
    buffer = io.BytesIO()
    try:
        with quiet():
            program = torch.export.export(trained.network, (trained.example,), dynamic_shapes=shapes)
            for node in program.graph.nodes:
                node.meta.pop("stack_trace", None)  # lines of source files of this machine
            torch.export.save(program, buffer, extra_files={FACTS: json.dumps(trained.facts, indent=2)})
    except Exception as error:  # torch's own types, one a reason
        raise UserError(f"torch.export cannot export {trained.backbone} ({first_lines(error)})") from error
    path.write_bytes(buffer.getvalue())


def load(path: Path) -> Classify:
    """Return what classifies by the file."""
    with quiet():
        module = torch.export.load(io.BytesIO(path.read_bytes())).module()

    def classify(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.asarray(module(torch.from_numpy(faces)))

    return classify


def usage(path: Path) -> str:
    """Return a command that uses the file."""
    program = f"import torch; print(torch.export.load({json.dumps(str(path))}).module())"
    return f"python -c {shlex.quote(program)}"
