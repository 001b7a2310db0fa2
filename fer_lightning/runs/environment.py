"""The record of what a run ran on: versions, commit, command and machine."""

from __future__ import annotations

import json
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fer_lightning.core.atomic_write import make_folder, write_text
from fer_lightning.runs.files import ENVIRONMENT
from fer_lightning.runs.status import now

PACKAGES = (
    "fer_lightning", "torch", "torchvision", "lightning", "hydra-core", "omegaconf", "timm", "torchmetrics",
    "albumentations", "opencv-python-headless", "numpy", "pandas", "scikit-learn",
)  # fmt: skip


def describe_environment(**facts: Any) -> dict[str, Any]:
    """Return a JSON-ready record: versions, git commit, command, machine, and the `facts` given."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = [sys.argv[0]] if spec is None else ["-m", spec.name.removesuffix(".__main__")]
    return {
        "time": now(),
        "command": shlex.join([Path(sys.executable).name, *program, *sys.argv[1:]]),
        "git": _git_state(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: installed_version(name) for name in PACKAGES},
        **facts,
    }


def write_environment(folder: Path, **facts: Any) -> None:
    """Write `describe_environment(**facts)` to `environment.json`; an earlier record is kept under `before`."""
    file = folder / ENVIRONMENT
    record = describe_environment(**facts)
    if file.is_file():
        record["before"] = json.loads(file.read_text())
    write_text(make_folder(folder) / ENVIRONMENT, json.dumps(record, indent=2) + "\n")


def installed_version(package: str) -> str | None:
    """Return the version of a package as pip knows it; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the checkout that this package runs from, and whether it was changed; None if installed."""
    folder = Path(__file__).parents[1]

    def ask(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(ask("rev-parse", "--show-toplevel")) != folder.parent.resolve():
            return None  # installed into an environment inside of another checkout
        changed = ask("status", "--porcelain", "--untracked-files=no")
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(changed)}
    except (OSError, subprocess.SubprocessError):
        return None
