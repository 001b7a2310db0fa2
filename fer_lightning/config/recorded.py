"""Which settings a file in a run folder may bring back when the run is continued.

Everything that a run computes from may be recorded there. What the program may call, where it writes and how Hydra
works are for the person at the keyboard to say, since the folder may be somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fer_lightning.config.overrides import override_key

# settings that name files to read, wherever they are
READ = ("data.root", "model.weights", "model.teachers", "ckpt_path")
# names of arguments that say where something is written, as a key or inside a mapping
WRITTEN = "dirpath|(save|log|root|cache|output|default_root)_dir|default_root_dir|folder|tracking_uri|storage|_args_"
# a value that names a place: absolute, from the home folder, above the working directory, or a URL
PLACE = re.compile(r"(^|[\s'\"\[{(:,=])(~|[A-Za-z]:\\|/)|(^|[\s'\"\[{(:,=}/\\])\.\.([/\\\s'\"]|$)|://")
# a value that is computed from others, but for these, which are harmless; a backslash hides an interpolation
COMPUTED = re.compile(r"\$\{(?!(output_dir|monitor|mode|seed|trainer\.max_epochs|sweep\.\w+)\})|\\")
# how a sweep's jobs are started and searched: plain words and numbers, no commands and no paths
PLAIN_HYDRA = re.compile(
    r"\+{0,2}hydra(/launcher|/sweeper|/sweeper/sampler|\.launcher\.[\w.]+"
    r"|\.sweeper\.(n_trials|n_jobs|max_batch_size|sampler\.\w+))=[\w.:+-]*"
)
SEARCHED = re.compile(r"(\+{0,2})hydra\.sweeper\.params\.(?=[\w.]+=)")
NOT_PLAIN = re.compile(r"hydra\.launcher\.(setup|python|additional_parameters|srun_args|submitit_folder)\b|_target_")


def divide(recorded: Iterable[str]) -> tuple[list[str], list[str]]:
    """Divide a recorded command line into the overrides that are taken, and what the user has to type again.

    >>> divide(["model=vgg16", "data.cache_dir=/x", "callbacks.mine.dirpath='${output_dir}/a'", "--config-dir", "y"])
    (['model=vgg16', "callbacks.mine.dirpath='${output_dir}/a'"], ['data.cache_dir=/x', '--config-dir y'])
    """
    taken, refused = list[str](), list[str]()
    for item in recorded:
        if item in ("-m", "--multirun") or item.lstrip("+") == "security.allow=[]":
            continue
        flag = bool(refused) and refused[-1].startswith("-") and not {*"= "} & {*refused[-1]}
        if flag and "=" not in item and item[:1] not in "~-":
            refused[-1] += f" {item}"  # its value
        else:
            (taken if _is_harmless(item) else refused).append(item)
    return taken, refused


def _is_harmless(item: str) -> bool:
    key, value = override_key(item), item.partition("=")[2]
    if key.startswith("hydra"):
        searched = SEARCHED.sub(r"\1", item)
        plain = PLAIN_HYDRA.fullmatch(item) is not None and NOT_PLAIN.search(item) is None
        return plain or (searched != item and _is_harmless(searched))
    if item.startswith("-") or "security" in re.split(r"\W", item.partition("=")[0]) or "@hydra" in item:
        return False
    if key in READ:
        return True
    outside = PLACE.search(value) or COMPUTED.search(value)
    written = re.search(rf"\b({WRITTEN})\b['\"]?\s*[:=]\s*(?!['\"]?\$\{{output_dir\}})(?!null\b)", item)
    return not outside and not written
