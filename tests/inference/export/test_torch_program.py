"""The program of torch: it needs no fer_lightning."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.inference.export.torch_program import FACTS, usage

LOAD = """
import numpy, sys, torch
faces = torch.from_numpy(numpy.load("faces.npy"))
found = torch.export.load("model.pt2").module()(faces)
numpy.save("found.npy", found.numpy())
assert "fer_lightning" not in sys.modules and "lightning" not in sys.modules
"""


@pytest.mark.slow
def test_another_process_loads_it_without_this_package(checkpoint: Path, tmp_path: Path) -> None:
    export_checkpoint(checkpoint, tmp_path / "model.pt2", "torch_export")
    faces = np.random.default_rng(0).integers(0, 256, (5, 1, 24, 24), dtype=np.uint8)
    np.save(tmp_path / "faces.npy", faces)
    subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD], cwd=tmp_path, check=True)
    found = np.load(tmp_path / "found.npy")
    np.testing.assert_allclose(found, CheckpointRecognizer.load(checkpoint)(faces), atol=1e-5)


def test_it_says_what_it_is_and_how_it_is_used(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "it's a folder"
    path = export_checkpoint(checkpoint, folder / "model.pt2", "torch_export").path
    extra = {FACTS: ""}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra[FACTS])["backbone"] == "small_cnn"
    assert b"classifier.py" not in path.read_bytes(), "lines of source files"
    program, flag, code = shlex.split(usage(path))
    assert (program, flag) == ("python", "-c")
    exec(code, {})
    assert "GraphModule" in capsys.readouterr().out
