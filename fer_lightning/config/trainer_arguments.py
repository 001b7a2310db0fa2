"""What `lightning.pytorch.Trainer` takes, read from its source, because importing it takes seconds."""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

import yaml

from fer_lightning.config.compose import conf_dir


def trainer_arguments() -> tuple[str, ...]:
    """Return the names of the arguments of `Trainer.__init__`."""
    package = importlib.util.find_spec("lightning")
    if package is None or package.origin is None:
        return ()
    source = Path(package.origin).parent / "pytorch" / "trainer" / "trainer.py"
    functions = (node for node in ast.walk(ast.parse(source.read_bytes())) if isinstance(node, ast.FunctionDef))
    arguments = next(function.args for function in functions if function.name == "__init__")
    return tuple(argument.arg for argument in (*arguments.args, *arguments.kwonlyargs) if argument.arg != "self")


@functools.cache
def unlisted_arguments() -> tuple[str, ...]:
    """Return those that `conf/trainer/default.yaml` does not list."""
    listed = yaml.safe_load((conf_dir() / "trainer" / "default.yaml").read_text(encoding="utf-8"))
    return tuple(name for name in trainer_arguments() if name not in listed)
