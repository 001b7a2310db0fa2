"""What surrounds a run does not speak in it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fer_lightning
from fer_lightning.core.quiet_libraries import TELEMETRY, import_onnxruntime

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


def imported(source: str) -> Iterator[str]:
    """Yield the names of modules that a program imports, by statement or by a function that is given a name."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "importorskip")):
            yield ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else ""


def test_onnxruntime_is_imported_in_one_place() -> None:
    mistakes = "import onnxruntime as ort", "from onnxruntime.quantization import a", "importorskip('onnxruntime')"
    assert [next(imported(line)).split(".")[0] for line in mistakes] == ["onnxruntime"] * 3
    package = Path(fer_lightning.__path__[0])
    files = [*package.rglob("*.py"), *package.parent.glob("tests/**/*.py")]
    sources = {file.name: source for file in files if "onnxruntime" in (source := file.read_text())}
    assert [
        file for file, source in sources.items() for name in imported(source) if name.startswith("onnxruntime")
    ] == []


def test_the_user_may_allow_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in TELEMETRY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert import_onnxruntime("onnxruntime.quantization").__name__ == "onnxruntime.quantization"
    assert {name: os.environ[name] for name in TELEMETRY} == TELEMETRY | {"ORT_DISABLE_TELEMETRY": "0"}


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
