"""`--help`, read from the YAML files: their groups, their defaults and the comments beside their keys."""

from __future__ import annotations

import ast
import re
import textwrap
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from fer_lightning.config.compose import conf_dir

# a key at the top of a file or one level below, its value on the same line, and its comment
KEY = re.compile(r"^(  )?([a-z]\w*):(?: +([^#\s].*?))?(?: +# *(.+))?$", re.MULTILINE)
GLOBAL = "# @package _global_"  # in a file whose keys do not belong to its group
FOOTER = """flags
  hydra.run.dir=FOLDER           write the run there
  -m                             run every combination of comma-separated values, each in its own folder
  --cfg job                      print the settings instead of running
  --config-dir FOLDER            add your own folder of YAML files
  HYDRA_FULL_ERROR=1             (environment) show the whole traceback of an error"""
Entries = dict[str, tuple[str, str]]  # key → value and comment, either may be empty


def verbs() -> dict[str, str]:
    """Return every verb with its one-line description: a module of the package that has a `conf/<verb>.yaml`."""
    modules = sorted(Path(__file__).parents[1].glob("*.py"))
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in modules}
    said = {verb: ast.get_docstring(tree) or verb for verb, tree in trees.items()}
    return {verb: text.splitlines()[0] for verb, text in said.items() if (conf_dir() / f"{verb}.yaml").is_file()}


def usage(verb: str) -> str:
    """Return the help of one verb: examples, groups with options (the default first), keys with meaning."""
    primary = conf_dir() / f"{verb}.yaml"
    text = primary.read_text(encoding="utf-8")
    entries = (entry for entry in yaml.safe_load(text).get("defaults", []) if isinstance(entry, dict))
    chosen = {group: option for entry in entries for group, option in entry.items() if group != "hydra"}
    groups = {  # their options, the default first
        group: sorted((conf_dir() / group).glob("*.yaml"), key=lambda path: (path.stem != option, path.stem))
        for group, option in chosen.items()
    }
    header = takewhile(lambda line: line.startswith("#"), text.splitlines())
    width = max(map(len, groups), default=0)
    lines = [verbs().get(verb, verb), "", *(f"  {line[1:].strip()}" for line in header)]
    lines += ["", "groups, the default first: group=option"] if groups else []
    lines += [f"  {group:{width}}  {', '.join(path.stem for path in options)}" for group, options in groups.items()]
    lines += ["", "keys with their defaults: key=value"]
    files = {f"{group}.": groups[group][0] for group, option in chosen.items() if option}
    for prefix, path in {"": primary, **files}.items():
        lines += _describe({f"{prefix}{key}": entry for key, entry in _entries(path).items() if "." not in key})
    for group, options in groups.items():
        lines += _describe(_nested(group, options, chosen[group]))
    footer = [line for line in FOOTER.splitlines() if "sweep" in chosen or not line.startswith("  -m ")]
    return "\n".join([*lines, "", *footer])


def _entries(path: Path) -> Entries:
    """Return the keys of a file, `key` or `block.key`, and of the options of its group that it builds on."""
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    found: Entries = {}
    for parent in content.get("defaults", []):
        if isinstance(parent, str) and parent != "_self_":
            found |= _entries(path.with_name(f"{parent.partition('@')[0]}.yaml"))
    block = ""
    for indent, key, value, meaning in KEY.findall(text):
        block = block if indent else f"{key}."
        name = f"{block}{key}" if indent else key
        if value and key != "defaults" and (meaning or not value.startswith("${")):
            found[name] = (value, meaning or found.get(name, ("", ""))[1])
    return found


def _nested(group: str, options: list[Path], default: str | None) -> Entries:
    """Return the commented keys inside the blocks of a group, such as callbacks, of the first option that has each."""
    found: Entries = {}
    for path in options:
        prefix = "" if GLOBAL in path.read_text(encoding="utf-8") else f"{group}."
        only = "" if path.stem == default else f" ({group}={path.stem})"
        for key, (value, meaning) in _entries(path).items():
            if "." in key and meaning:
                found.setdefault(f"{prefix}{key}", (value, f"{meaning}{only}"))
    return found


def _describe(entries: Entries) -> list[str]:
    """Return a line for each key with a comment, and the others, which need none, in one paragraph."""
    lines = [f"  {f'{key}={value}':31}  {meaning}" for key, (value, meaning) in entries.items() if meaning]
    plain = " ".join(f"{key}={value.replace(' ', '')}" for key, (value, meaning) in entries.items() if not meaning)
    return lines + textwrap.wrap(plain, 116, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
