"""The architecture diagram as a test: imports go one way, and neighbours do not know each other."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import fer_lightning
from fer_lightning.config.compose import conf_dir

PACKAGE = Path(fer_lightning.__file__).parent

# What the files of a folder may import from, beside their own folder; `verbs` are the files at the package's root.
ALLOWED = """
core        <-
system      <- core
config      <- core system
models      <- core
evaluation  <- core
data        <- core system
callbacks   <- core models evaluation
runs        <- core config system evaluation
training    <- core config system models evaluation data callbacks runs
inference   <- core config system models evaluation data runs training
sweeps      <- core config system evaluation runs training
comparison  <- core config system data evaluation runs training
cli         <- core config system runs sweeps
benchmarks  <- core config system models data callbacks runs training inference
verbs       <- core cli
"""
# The same inside data/; `datamodule` are the files that lie in data/ itself.
ALLOWED_IN_DATA = """
table        <-
layouts      <- table
cache        <- table layouts
synthetic    <- table
augmentation <-
loading      <- augmentation cache
datamodule   <- table layouts cache synthetic augmentation loading
"""
LIGHT = (
    "core.errors",
    "core.suggestions",
    "core.fast_imports",
    "data.table.emotions",
    "data.table.split_names",
    "system.resources",
    "config.check",
    "config.hydra_errors",
    "runs.status",
    "runs.config_hash",
    "sweeps.process",
    "cli.command",
    "train",
    "evaluate",
    "benchmark",
    "compare",
    "ensemble",
    "export",
    "explain",
    "predict",
    "app",
)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"}


def imports_of(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, anywhere in it, functions included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively: write fer_lightning.…"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    inside = (name.removeprefix("fer_lightning.") for name in found if name.startswith("fer_lightning."))
    # `from a.b import c` names a module c or something in the module a.b
    return {module for name in inside for module in (name, name.rpartition(".")[0]) if module in MODULES}


GRAPH = {name: imports_of(path) for name, path in MODULES.items()}


def read_rows(text: str) -> dict[str, set[str]]:
    """Return what each folder may import from, by folder."""
    rows = (line.partition("<-") for line in text.strip().splitlines())
    return {folder.strip(): set(others.split()) for folder, _, others in rows}


def folder_of(module: str, inside: str = "") -> str:
    """Return the folder of a module, below the folder `inside`; `verbs` and `datamodule` for files without one."""
    folders = module.removeprefix(inside).split(".")[:-1]
    return folders[0] if folders else "datamodule" if inside else "verbs"


def forbidden(rows: dict[str, set[str]], inside: str = "") -> list[str]:
    """Return the imports that `rows` does not allow, among the modules whose name starts with `inside`."""
    found = []
    for module, others in GRAPH.items():
        for other in sorted(others):
            if module.startswith(inside) and other.startswith(inside):
                folder, used = folder_of(module, inside), folder_of(other, inside)
                if used != folder and used not in rows[folder]:
                    found.append(f"{module} imports {other}")
    return found


def test_folders_import_only_what_their_row_names() -> None:
    rows = read_rows(ALLOWED)
    assert {folder_of(module) for module in MODULES} == set(rows), "each folder has a row, and each row a folder"
    assert forbidden(rows) == []


def test_folders_of_data_import_only_what_their_row_names() -> None:
    rows = read_rows(ALLOWED_IN_DATA)
    assert {folder_of(module, "data.") for module in MODULES if module.startswith("data.")} == set(rows)
    assert forbidden(rows, "data.") == []


@pytest.mark.parametrize("text", [ALLOWED, ALLOWED_IN_DATA])
def test_folders_form_no_cycle(text: str) -> None:
    list(graphlib.TopologicalSorter(read_rows(text)).static_order())  # raises CycleError


def test_the_root_holds_verbs_only() -> None:
    verbs = {f"{path.stem}.py" for path in conf_dir().glob("*.yaml")}
    files = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert files == verbs | {"__init__.py", "__main__.py", "py.typed"}


def test_there_are_no_import_cycles() -> None:
    try:
        list(graphlib.TopologicalSorter(GRAPH).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_reader_sees_lazy_and_plain_imports(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        "from fer_lightning.core.errors import UserError\n"
        "from fer_lightning.config import check\n"
        "def f():\n    import fer_lightning.system.machine\n    import torch\n"
    )
    assert imports_of(file) == {"core.errors", "config.check", "system.machine"}


def test_init_files_hold_a_docstring_only() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        statements = ast.parse(path.read_text(encoding="utf-8")).body
        allowed = 2 if path.parent == PACKAGE else 1  # the top one also says the version
        assert ast.get_docstring(ast.Module(statements, [])), path
        assert len(statements) <= allowed, path


def test_light_modules_leave_heavy_libraries_out() -> None:
    names = ", ".join(f"fer_lightning.{name}" for name in LIGHT)
    heavy = "{'torch', 'lightning', 'numpy', 'pandas', 'cv2', 'timm', 'matplotlib', 'sklearn'}"
    program = f"import sys, {names}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
