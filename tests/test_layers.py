"""The architecture diagram as a test: imports go one way, and neighbours do not know each other."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

import fer_lightning

PACKAGE = Path(fer_lightning.__file__).parent

# A module imports from rows above its own, never from its own row or from below.
ORDER = """
errors emotions near quiet resources imports replacing
status signatures
rules
config
cli.composition cli.usage cli.state
cli.resume cli.ranks __main__
sweeps.process sweeps.identity sweeps.jobs sweeps.memory sweeps.objectives sweeps.study sweeps.space
sweeps.pruning sweeps.solutions sweeps.launchers sweeps.tasks sweeps.watch
sweeps.summary comparison.settings
sweeps.hparams

data.columns data.states data.turns data.images data.people data.ranges
data.table data.folder_search
data.changes data.table_file
data.csv_layout data.folder_layout data.faces
data.layouts
data.synthetic data.decode data.table_index
data.loading
data.cache
data.extra_transforms data.counter_draws
data.augmentation
data.albumentations_engine data.batched_engine
data.splits
data.protocol data.source data.orders
data.sampler
data.dataset data.residence
data.loaders
data.delivery
data.datamodule

models.dropout models.graphed models.pixels models.ranges models.pretrained models.heads models.mixing
models.running models.scores
models.small_cnn models.keras_cnn models.timm_backbones
models.backbones
models.losses models.schedules
models.optimization
models.classifier
models.checkpoint

precision environment sharding
machine
evaluation.metrics evaluation.page
evaluation.figures evaluation.predictions evaluation.report_page
evaluation.galleries evaluation.report
evaluation.verdict
scoring console
callbacks.progress callbacks.reseed callbacks.interrupt callbacks.history callbacks.pictures callbacks.checkpoint
build
run rescore
sweeps.job
sweeps.fingerprint
sweeps.sweep
sweeps.grid sweeps.optuna_sweep
sweeps.plugins
cli.arguments
cli.command
yardsticks yardstick_keras benchmarks.windows benchmarks.rows benchmarks.flops benchmarks.first_step
benchmarks.child benchmarks.duel benchmarks.textbook benchmarks.contenders benchmarks.generated benchmarks.table
benchmarks.prepare benchmarks.bench
benchmarks.startup benchmarks.sweeping benchmarks.pipeline benchmarks.training benchmarks.inference benchmarks.growth
benchmarks.suites
comparison.differences comparison.averaging comparison.folders
comparison.runs
comparison.trade_offs
comparison.ranking comparison.repeat comparison.importance
comparison.seeds
comparison.comparison
comparison.words
comparison.figures comparison.page
comparison.parallel
comparison.show
comparison.report
comparison.members
comparison.ensembling
train evaluate benchmark compare ensemble
"""
RANK = {module: rank for rank, row in enumerate(ORDER.splitlines()) for module in row.split()}
STRANGERS = {
    "data": ("models", "evaluation", "cli", "config"),
    "models": ("data", "evaluation", "cli", "config"),
    "evaluation": ("data", "models", "cli", "config"),
}
LIGHT = (
    "errors",
    "near",
    "emotions",
    "status",
    "resources",
    "imports",
    "rules",
    "signatures",
    "config",
    "cli.composition",
    "cli.usage",
    "cli.ranks",
    "cli.resume",
    "sweeps.identity",
    "sweeps.process",
    "cli.arguments",
    "cli.command",
    "train",
    "evaluate",
    "benchmark",
    "compare",
    "ensemble",
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


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    assert module in RANK, (
        f"{module} is new: give it a row in ORDER of {Path(__file__).name}, below all that it imports"
    )
    upward = sorted(other for other in GRAPH[module] if RANK.get(other, -1) >= RANK[module])
    assert upward == [], f"{module} imports from its own row or below"


@pytest.mark.parametrize("module", MODULES)
def test_neighbours_do_not_know_each_other(module: str) -> None:
    strangers = STRANGERS.get(module.partition(".")[0], ())
    known = sorted(other for other in GRAPH[module] if other.partition(".")[0] in strangers)
    assert known == [], f"{module} imports what it must not know"


def test_there_are_no_import_cycles() -> None:
    try:
        list(graphlib.TopologicalSorter(GRAPH).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_the_reader_sees_lazy_and_plain_imports(tmp_path: Path) -> None:
    file = tmp_path / "example.py"
    file.write_text(
        "from fer_lightning.errors import UserError\n"
        "from fer_lightning import config\n"
        "def f():\n    import fer_lightning.machine\n    import torch\n"
    )
    assert imports_of(file) == {"errors", "config", "machine"}


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
