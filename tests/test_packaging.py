"""The wheel carries `conf/`, and all six ways to start the program find the right one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fer_lightning.data.synthetic.dataset import write_tree

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


LARGEST_WHEEL = 8_000_000  # bytes


def test_the_wheel_carries_the_models_that_ship_and_stays_small(wheel: Path, site: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL
    ours, installed = (root / "fer_lightning" / "models" / "shipped" for root in (ROOT, site))
    files = [path.relative_to(ours) for path in ours.glob("*/*") if path.suffix != ".pyc"]
    assert {"model.onnx", "model.safetensors", "model.json", "MODEL_CARD.md"} <= {path.name for path in files}
    for file in files:
        assert (installed / file).read_bytes() == (ours / file).read_bytes()


OFFLINE = """
import socket, sys

def refuse(*_, **__):
    raise OSError("no network in this test")

socket.socket.connect = socket.getaddrinfo = refuse
from fer_lightning.__main__ import main
main()
"""


def test_the_model_of_a_wheel_labels_and_scores_faces_without_a_network(site: Path, tmp_path: Path) -> None:
    write_tree(tmp_path / "faces", layout="flat", per_class=2)
    scored = ("split=all", f"data.root={tmp_path / 'faces'}", f"data.cache_dir={tmp_path / 'cache'}", "trainer=cpu")
    done = run(sys.executable, "-c", OFFLINE, "evaluate", *scored, "hydra.run.dir=scored", cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model compact of fer_lightning" in done.stdout + done.stderr
    assert "accuracy" in done.stdout
    metrics = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    assert (metrics["checkpoint"], metrics["count"]) == ("compact", 14)
    face = next((tmp_path / "faces").rglob("*.png"))
    done = run(sys.executable, "-c", OFFLINE, "predict", face, "hydra.run.dir=labelled", cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr
    assert "1 picture: 1 face" in done.stdout
