"""The wheel carries `conf/`, and all six ways to start the program find the right one."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("build") is None, reason="needs the packages build and hatchling"),
]


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [str(part) for part in command]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    done = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    done = run(*pip, folder, wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_the_package_with_its_templates_and_yaml_files_and_nothing_beside(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fer_lightning"}
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert {f"fer_lightning/{name}" for name in files} <= names
    package = [path for path in (ROOT / "fer_lightning").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {"page.html.j2", "style.css", "py.typed", "predict.py"} <= {path.name for path in package}
    assert {path.relative_to(ROOT).as_posix() for path in package} <= names
    assert {name for name in names if name.endswith(".yaml")} == {f"fer_lightning/{name}" for name in files}


SITUATIONS = [
    "checkout, python -m",
    "checkout, other folder",
    "editable, python -m",
    "editable, console script",
    "wheel, python -m",
    "wheel, console script",
]


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_program_finds_its_configs(situation: str, site: Path, tmp_path: Path) -> None:
    where, how = situation.split(", ")
    path = {"checkout": ROOT if how == "other folder" else None, "editable": None, "wheel": site}[where]
    script = site / "bin" / "fer" if where == "wheel" else Path(sys.executable).with_name("fer")
    start = [script, "train"] if how == "console script" else ["-m", "fer_lightning.train"]
    cwd = ROOT if situation == "checkout, python -m" else tmp_path
    if where == "editable":
        home = run(sys.executable, "-c", "import fer_lightning; print(fer_lightning.__file__)", cwd=tmp_path).stdout
        if Path(home.strip()).parent != ROOT / "fer_lightning" or not script.exists():
            pytest.skip("the package is not installed as editable here")
    done = run(sys.executable, "-X", "importtime", *start, "--cfg", "all", cwd=cwd, path=path)
    assert done.returncode == 0, done.stderr[-2000:]
    conf = site / "fer_lightning" / "conf" if where == "wheel" else ROOT / "conf"
    assert f"path: {conf}" in done.stdout
    assert "batch_size:" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "lightning"}
    assert list(tmp_path.iterdir()) == []


def test_the_commit_hook_and_the_test_extra_use_one_ruff() -> None:
    hooks = ROOT / ".pre-commit-config.yaml"
    if not hooks.exists():
        pytest.skip("a source distribution has no hooks")
    hook = re.search(r"ruff-pre-commit\n\s+rev: v(\d+)\.(\d+)\.", hooks.read_text())
    extra = re.search(r'"ruff>=(\d+)\.(\d+),<(\d+)\.(\d+)"', (ROOT / "pyproject.toml").read_text())
    assert hook is not None
    assert extra is not None
    major, minor = map(int, hook.groups())
    assert list(map(int, extra.groups())) == [major, minor, major, minor + 1]
