"""Explains a name that is no option of its group: misspelt, a network of timm, an optimizer of torch, a path."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.config.habits import instead_of
from fer_lightning.config.listed import groups_of, options_of, settings_in
from fer_lightning.core.suggestions import close_matches


def explain_option(group: str, option: str, options: Sequence[str]) -> str:
    """Return what is wrong with `group=option`, and what to type instead."""
    if group == "hydra/sweeper/sampler" and not options:
        return 'sweep=optuna and the search spaces need Optuna: type pip install "fer_lightning[sweep]"'
    folded = option.rpartition(".")[2].lower()
    near = close_matches(folded, options)
    near = near or [name for name in options if min(len(name), len(option)) > 2 and (name in folded or folded in name)]
    exact = [name for name in near if name.lower() == folded]
    other = None if exact else _elsewhere(group, option, exact_only=bool(near))
    there = f"there are {', '.join(sorted(options))}"
    if near and other is None:
        return f"{group} has no option '{option}'; did you mean {group}={near[0]}? T{there[1:]}"
    default = groups_of("train").get(group) or min(options)
    return f"{group} has no option '{option}'; {other or f'type {group}={default}, for example'} ({there})"


def _elsewhere(group: str, option: str, *, exact_only: bool) -> str | None:
    """Return what to type for an option that has its value in another setting; None where there is none."""
    if group == "data" and ("/" in option or "." in option):
        return f"images are named by data.root: type data.root={option}"
    if group == "model":
        plain = option.lower().partition(".")[0]  # resnet50.a1_in1k is resnet50 with weights
        if plain in timm_networks():
            return f"timm has this network: type model=timm model.backbone={option if plain in option else plain}"
        if near := [] if exact_only else close_matches(plain, timm_networks(), cutoff=0.75):
            return f"did you mean model=timm model.backbone={near[0]}?"
    if group == "optimizer":
        return _torch_optimizer(option)
    if group == "trainer" and (typed := instead_of(f"trainer.{option}", "1")):
        return f"type {typed}"
    return None


@functools.cache
def timm_networks() -> frozenset[str]:
    """Return the names of timm's networks, read from its source, because importing it takes seconds."""
    found: set[str] = set()
    for file in _sources("timm", "models"):
        found.update(re.findall(r"@register_model\s+def (\w+)\(", file.read_text(encoding="utf-8")))
    return frozenset(found)


def _torch_optimizer(option: str) -> str | None:
    """Return how an optimizer of torch without an option of its own is typed, over the option nearest to it."""
    wanted = option.rpartition(".")[2].lower().replace("_", "")
    for file in _sources("torch", "optim"):
        for name, arguments in _classes(file).items():
            if name.lower() == wanted:
                unknown = {one: settings_in("optimizer", one) - arguments for one in options_of("optimizer")}
                base = min(unknown, key=lambda one: (len(unknown[one]), one))
                dropped = "".join(f" '~optimizer.{key}'" for key in sorted(unknown[base]))
                return f"type optimizer={base} optimizer._target_=torch.optim.{name}{dropped}"
    return None


def _classes(file: Path) -> dict[str, set[str]]:
    """Return the arguments of the constructor of each optimizer in a file."""
    found = {}
    for node in ast.parse(file.read_bytes()).body:
        if isinstance(node, ast.ClassDef) and "Optimizer" in (getattr(base, "id", None) for base in node.bases):
            inits = (item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
            found[node.name] = {arg.arg for init in inits for arg in (*init.args.args, *init.args.kwonlyargs)}
    return found


def _sources(package: str, folder: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [] if spec is None or spec.origin is None else sorted(Path(spec.origin).with_name(folder).glob("[a-z]*.py"))
