"""Functions, modules and classes that the benchmark names by text exist."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from fer_lightning import benchmarks
from fer_lightning.benchmarks.bench import PACKAGE
from fer_lightning.benchmarks.startup import FIRST_STEP
from fer_lightning.config.signatures import locate


def works_of_contenders() -> set[str]:
    """Return the second argument of every call of `contender` in the folder; of the f-string, what it may become."""
    found = {"textbook.train", "textbook.load"}
    for path in Path(benchmarks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "contender":
                work = node.args[1]
                if isinstance(work, ast.Constant):
                    found.add(work.value)
                else:
                    assert isinstance(work, (ast.JoinedStr, ast.Name)), ast.dump(work)
    return found


def test_every_contender_is_a_function() -> None:
    works = works_of_contenders() | {"generated.open_once", "contenders.train_steps"}  # which memory.py passes on
    assert len(works) >= 16
    for work in works:
        assert inspect.isfunction(locate(f"{PACKAGE}.{work}")), work


def test_the_callback_exists() -> None:
    assert inspect.isclass(locate(FIRST_STEP))
