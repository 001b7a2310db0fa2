"""The garbage collector waits while libraries are imported, and works on afterwards whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import gc, sys
from fer_lightning.core.fast_imports import fast_imports

def state():
    return [gc.isenabled(), gc.get_freeze_count() > 0]

found = [state()]
try:
    with fast_imports():
        found.append(state())
        BODY
except ImportError:
    pass
found.append(state())
with fast_imports():
    found.append(state())
print(found)
"""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        # a second time nothing is left to import, and what a first run left behind must not be kept for ever
        ("import torch", [[True, False], [False, False], [True, True], [True, True]]),
        ("raise ImportError", [[True, False], [False, False], [True, True], [False, True]]),
    ],
)
def test_collecting_stops_only_while_importing(body: str, expected: list[list[bool]]) -> None:
    command = [sys.executable, "-c", PROGRAM.replace("BODY", body)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(expected)


@pytest.mark.slow
def test_a_run_says_nothing_of_its_libraries(tmp_path: Path) -> None:
    """The first run on a machine: Matplotlib looks for fonts, and a TensorFlow is there for TensorBoard."""
    site = tmp_path / "site" / "tensorflow"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("print('a line of TensorFlow')\n")
    small = ["data.synthetic={train: 14, validation: 7, test: 7}", "trainer.max_epochs=1", f"hydra.run.dir={tmp_path}"]
    command = [sys.executable, "-m", "fer_lightning.train", "trainer=cpu", "trainer.precision=32-true", *small]
    path = os.pathsep.join([str(site.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = done.stdout + done.stderr
    assert said.startswith("drawn faces")
    assert [word for word in ("leaked", "fontManager", "TensorFlow") if word in said] == []
