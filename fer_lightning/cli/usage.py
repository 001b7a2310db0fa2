"""`--help`, read off the YAML files: their groups, their defaults and the comments beside their keys."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import yaml

from fer_lightning.config.compose import conf_dir

KEY = re.compile(r"^([a-z]\w*):\s*(.+?)(?:\s+#\s*(.+))?$")
BLOCK = re.compile(r"^([a-z]\w*):$")
NESTED = re.compile(r"^  ([a-z]\w*):\s*(\S.*?)\s+#\s*(.+)$")
GLOBAL = "# @package _global_"  # marks a file whose keys are whole
FOOTER = """flags
  hydra.run.dir=FOLDER           write the run there
  -m                             run every combination of comma-separated values, each in its own folder
  --cfg job                      print the settings instead of running
  --config-dir FOLDER            add your own folder of YAML files
  HYDRA_FULL_ERROR=1             (environment) show the whole traceback of an error"""


def verbs() -> dict[str, str]:
    """Return every verb with its one-line description: a module of the package that has a `conf/<verb>.yaml`."""
    modules = {path.stem: path for path in sorted(Path(__file__).parents[1].glob("*.py"))}
    found = {name: path for name, path in modules.items() if (conf_dir() / f"{name}.yaml").is_file()}
    return {name: _first_line(path) for name, path in found.items()}


def usage(verb: str) -> str:
    """Return the help of one verb: examples, groups with options (the default first), keys with meaning."""
    primary = conf_dir() / f"{verb}.yaml"
    defaults = _defaults(primary)
    examples = [line[1:].strip() for line in _header(primary)]
    groups = {group: _options(group, option) for group, option in defaults.items() if group != "hydra"}
    width = max(map(len, groups), default=0)
    lines = [verbs().get(verb, verb), "", *(f"  {example}" for example in examples), ""]
    lines += ["groups, the default first: group=option"]
    lines += [f"  {group:{width}}  {', '.join(options)}" for group, options in groups.items()]
    lines += ["", "keys with their defaults: key=value"]
    files = {f"{group}.": conf_dir() / group / f"{defaults[group]}.yaml" for group in groups if defaults[group]}
    for prefix, path in {"": primary, **files}.items():
        lines += _describe_keys(_keys(path), prefix)
    for group in groups:
        lines += _describe_blocks(group, defaults[group])
    footer = [line for line in FOOTER.splitlines() if "sweep" in defaults or not line.startswith("  -m ")]
    return "\n".join([*lines, "", *footer])


def _first_line(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    return docstring.splitlines()[0] if docstring else module.stem


def _header(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return lines[: next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))]


def _defaults(path: Path) -> dict[str, str | None]:
    """Return the groups of a defaults list with the option chosen."""
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    entries = (entry for entry in content.get("defaults", []) if isinstance(entry, dict))
    return {group: option for entry in entries for group, option in entry.items()}


def _options(group: str, default: str | None) -> list[str]:
    options = sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))
    return sorted(options, key=lambda option: option != default)


def _parents(path: Path, content: dict[str, Any]) -> list[Path]:
    """Return the options of its own group that a file builds on."""
    names = [entry.partition("@")[0] for entry in content.get("defaults", []) if isinstance(entry, str)]
    return [path.with_name(f"{name}.yaml") for name in names if name != "_self_"]


def _keys(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return value and comment of every key of a file and of the options it builds on."""
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    found: dict[str, tuple[str, str | None]] = {}
    for parent in _parents(path, content):
        found |= _keys(parent)
    for match in filter(None, map(KEY.match, text.splitlines())):
        key, value, meaning = match.groups()
        if key != "defaults" and not value.startswith("#") and (meaning or not value.startswith("${")):
            found[key] = (value, found[key][1] if meaning is None and key in found else meaning)
    return found


def _describe_keys(keys: dict[str, tuple[str, str | None]], prefix: str) -> list[str]:
    """One line a key that has a comment; the others, which their names explain, in one paragraph."""
    lines = [f"  {f'{prefix}{key}={value}':31}  {meaning}" for key, (value, meaning) in keys.items() if meaning]
    plain = " ".join(f"{prefix}{key}={value.replace(' ', '')}" for key, (value, meaning) in keys.items() if not meaning)
    return lines + textwrap.wrap(plain, 116, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _describe_blocks(group: str, default: str | None) -> list[str]:
    """One line a commented key inside the blocks of a group, such as its callbacks; other options than the default
    add what only they have.
    """
    found: dict[str, tuple[str, str | None]] = {}
    for option in _options(group, default):
        only, path = "" if option == default else f" ({group}={option})", conf_dir() / group / f"{option}.yaml"
        prefix = "" if GLOBAL in path.read_text(encoding="utf-8") else f"{group}."
        for key, (value, meaning) in _nested_keys(path, prefix).items():
            found.setdefault(key, (value, f"{meaning}{only}"))
    return _describe_keys(found, "")


def _nested_keys(path: Path, prefix: str) -> dict[str, tuple[str, str]]:
    """Return value and comment of every commented key one level down, `<prefix>block.key`."""
    text = path.read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text) or {}
    found: dict[str, tuple[str, str]] = {}
    for parent in _parents(path, content):
        found |= _nested_keys(parent, prefix)
    block = ""
    for line in text.splitlines():
        if heading := BLOCK.match(line):
            block = heading[1]
        elif block and (match := NESTED.match(line)):
            key, value, meaning = match.groups()
            found[f"{prefix}{block}.{key}"] = (value, meaning)
        elif line[:1].isalpha():
            block = ""
    return found
