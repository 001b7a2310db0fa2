"""What was typed, completed to the command line that Hydra reads: what it continues, and what goes without saying."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.cli.ranks import follow_first_rank
from fer_lightning.cli.resume import MULTIRUN, continue_run, continue_sweep
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.config.trainer_arguments import unlisted_arguments
from fer_lightning.core.errors import ConfigError
from fer_lightning.system.resources import is_slurm_task

# flags of Hydra whose value is the next word
VALUED = ("--config-dir", "--config-name", "--config-path", "--cfg", "--package", "-cd", "-cn", "-cp", "-c", "-p")

# mappings whose keys are the user's
ANY_KEYS = ("model.backbone_kwargs", "data.aliases", "data.merge")


def complete(verb: str, typed: Sequence[str], positional: str | None, *, swept: bool) -> list[str]:
    """Return the command line as Hydra shall read it.

    Args:
        verb: of the program.
        typed: what was typed, without the program's name.
        positional: setting, a list, that gets the words that are no settings; None for no such.
        swept: whether `-m` runs the verb more than once.

    Raises:
        ConfigError: `-m` is typed where it cannot work, or what shall be continued is not there.
    """
    arguments = list(typed)
    if positional is not None:
        arguments = _name_words(arguments, positional)
    arguments = _add_unlisted(arguments)
    if verb == "train":
        arguments = continue_run(arguments)
    if swept:
        arguments = continue_sweep(arguments, verb)
    if set(MULTIRUN) & set(arguments):
        if not swept:
            raise ConfigError(f"fer_lightning.{verb} runs once: type it without -m")
        for variable in ("TORCHELASTIC_RUN_ID", "LOCAL_RANK"):
            if is_slurm_task() or variable in os.environ:
                raise ConfigError("a sweep (-m) starts the ranks of its jobs itself: type it without torchrun or srun")
        if verb == "train" and "split" not in map(override_key, arguments):
            arguments.append("split=validation")  # a sweep selects, and what selects must not see the test split
    if set(MULTIRUN) & set(arguments) or any(item.startswith("hydra/launcher=") for item in arguments):
        from fer_lightning.sweeps.hydra_plugins import register

        register()
    return _flags_first(follow_first_rank(arguments))


def _add_unlisted(arguments: Sequence[str]) -> list[str]:
    """Return the command line with `++`, add or override, before settings that are valid but in no YAML file.

    These are arguments of Lightning's Trainer that `conf/` does not list, and keys of mappings that may hold any.
    """

    def is_unlisted(key: str) -> bool:
        group, _, name = key.partition(".")
        name = name.partition(".")[0]
        return f"{group}.{name}" in ANY_KEYS or (group == "trainer" and name in unlisted_arguments())

    return [f"++{item}" if item[:1] not in "+~-" and is_unlisted(override_key(item)) else item for item in arguments]


def _flags_first(arguments: Sequence[str]) -> list[str]:
    """Return the flags, with what belongs to them, before the overrides, which Hydra 1.3 wants in one row."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, item in zip(("", *arguments), arguments, strict=False):
        (flags if item.startswith("-") or before in VALUED else overrides).append(item)
    return [*flags, *overrides]


def _name_words(arguments: Sequence[str], setting: str) -> list[str]:
    """Return the command line with its bare words, such as paths, as the list of a setting."""
    pairs = zip(("", *arguments), arguments, strict=False)
    words = [item for before, item in pairs if before not in VALUED and _is_bare(item)]
    named = [f"{setting}=[{','.join(map(quoted, words))}]"] if words else []
    return [*named, *(item for item in arguments if item not in words)]


def _is_bare(item: str) -> bool:
    """Whether a word is neither a flag nor a setting; the folders of a sweep's jobs have a `=` in their names."""
    if item.startswith(("/", "./", "../", "~/")):
        return True
    return item[:1] not in "-+~" and ("=" not in item or Path(item).is_dir())
