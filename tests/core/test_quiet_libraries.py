"""What surrounds a run does not speak in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from fer_lightning.core.quiet_libraries import silence_libraries
silence_libraries()
from torch.utils.tensorboard import SummaryWriter
with SummaryWriter(sys.argv[1]) as writer:
    writer.add_scalar("score", 1.0, 0)
    writer.add_text("config", "seed: 1")
print("tensorflow" in sys.modules)
"""


def test_onnxruntime_reports_nothing_and_leaves_no_file(tiny_onnx: Path, tmp_path: Path) -> None:
    program = "import sys; from fer_lightning.inference.predictor import Predictor; Predictor.load(sys.argv[1])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", program, str(tiny_onnx)]
    subprocess.run(command, env={**environment, "TMPDIR": str(tmp_path)}, check=True)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_leaves_an_installed_tensorflow_alone(tmp_path: Path) -> None:
    (tmp_path / "tensorflow").mkdir()
    (tmp_path / "tensorflow" / "__init__.py").write_text("print('All log messages are written to STDERR')\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "events")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr
    assert list((tmp_path / "events").iterdir())
