"""Completes the command line as typed to the one that Hydra reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from fer_lightning.cli.flags import VALUED, complete_flags, flags_first
from fer_lightning.cli.groups import spell_groups
from fer_lightning.cli.resume import MULTIRUN, continue_run, continue_sweep
from fer_lightning.cli.spelling import join_brackets, readable
from fer_lightning.config.overrides import override_key, quoted
from fer_lightning.config.trainer_arguments import unlisted_arguments
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.files import OVERRIDES
from fer_lightning.system.resources import is_slurm_task, launched_rank

# mappings that may hold any key
FREE_MAPPINGS = ("model.backbone_kwargs", "data.aliases", "data.merge", "augmentation.by_class")


def complete(verb: str, typed: Sequence[str], positional: str | None, *, swept: bool) -> list[str]:
    """Return the command line that Hydra reads, from what was typed after the name of the program.

    The words that are no settings become the list of the setting `positional`. Verbs that are `swept` accept `-m`.

    Raises:
        ConfigError: a word is neither flag nor setting, `-m` is typed where it cannot work, what is needed is left out,
            or what is to be continued is not there.
    """
    if "" in typed:
        raise ConfigError("a word is empty, as if a variable had no value: leave it out, or set the variable")
    typed = complete_flags(verb, typed)
    words = [item if _is_bare(item) else readable(item) for item in join_brackets(typed)]
    arguments = words if positional is None else _name_words(words, positional)
    arguments = [f"++{item}" if _is_unlisted(item) else item for item in arguments]
    own = list(arguments)
    if verb == "train":
        arguments = continue_run(arguments)
    if swept:
        arguments = continue_sweep(arguments, verb)
    from_run = arguments != own or _reads_run_folder(arguments)
    if from_run and "security.allow" not in map(override_key, own):
        arguments.append("++security.allow=[]")  # last, so that nothing in a run's folder says what may be imported
    arguments = spell_groups(verb, arguments)
    multirun = not {*MULTIRUN}.isdisjoint(arguments)
    if multirun and not swept:
        raise ConfigError(f"fer_lightning.{verb} runs once: type it without -m")
    if multirun and (is_slurm_task() or not {"TORCHELASTIC_RUN_ID", "LOCAL_RANK"}.isdisjoint(os.environ)):
        raise ConfigError("a sweep (-m) starts the ranks of its jobs itself: type it without torchrun or srun")
    if multirun and verb == "train" and "split" not in map(override_key, arguments):
        arguments.append("split=validation")  # a sweep selects, and selection must not see the test split
    if multirun or any(item.startswith("hydra/launcher=") for item in arguments):
        from fer_lightning.sweeps.hydra_plugins import register

        register()
    return flags_first(follow_first_rank(arguments))


def follow_first_rank(arguments: Sequence[str]) -> list[str]:
    """Return the command line of a rank that torchrun or srun started, so that only the first has a run folder.

    The first names the folder by its clock, and sends its name where Lightning needs it on all ranks, for checkpoints.
    Ranks that Lightning starts itself get the folder from it.
    """
    if launched_rank() in (None, 0):
        return list(arguments)
    # outputs holds the folders of runs, and is none itself
    folder = [] if "hydra.run.dir" in map(override_key, arguments) else ["hydra.run.dir=outputs"]
    return [*arguments, *folder, "hydra.output_subdir=null", "hydra.job_logging.root.handlers=[console]"]


def _reads_run_folder(arguments: Sequence[str]) -> bool:
    """Return whether YAML files are read from the folder of a run, such as `--config-dir RUN/.hydra`."""
    places = re.findall(r"file://([^,\]'\"]+)", " ".join(arguments))
    for word, after in pairwise([*arguments, ""]):
        flag, equals, value = word.partition("=")
        if flag in ("-cd", "-cp", "--config-dir", "--config-path"):
            places.append(value if equals else after)
    folders = (folder for place in map(Path, places) for folder in (place, *place.resolve().parents))
    return any((folder / OVERRIDES).is_file() for folder in folders)


def _is_unlisted(item: str) -> bool:
    """Return whether a setting is valid but in no YAML file, so that Hydra asks for `++`, add or override."""
    group, name = [*override_key(item).split("."), ""][:2]
    unlisted = f"{group}.{name}" in FREE_MAPPINGS or (group == "trainer" and name in unlisted_arguments())
    return unlisted and item[:1] not in "+~"


def _name_words(arguments: Sequence[str], setting: str) -> list[str]:
    """Return the command line with its bare words, such as paths, as the list of a setting."""
    words = [item for before, item in pairwise(["", *arguments]) if before not in VALUED and _is_bare(item)]
    named = [f"{setting}=[{','.join(map(quoted, words))}]"] if words else []
    return [*named, *(item for item in arguments if item not in words)]


def _is_bare(item: str) -> bool:
    """Return whether a word is neither a flag nor a setting; names of files and addresses may hold a `=`."""
    place = item.startswith(("/", "./", "../", "~/")) or "://" in item.partition("=")[0]
    return place or (item[:1] not in "-+~" and ("=" not in item or os.path.exists(item)))
