"""Whatever people type is answered in the program's own words, with what to type instead, and that gets further."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from omegaconf import DictConfig

from fer_lightning.cli.arguments import complete
from fer_lightning.cli.command import MISTYPED, explain_start
from fer_lightning.config import habits
from fer_lightning.config.check import check_config
from fer_lightning.config.given import GIVEN
from fer_lightning.config.listed import groups_of, listed_settings, options_of
from fer_lightning.config.overrides import override_key
from fer_lightning.config.trainer_arguments import trainer_arguments
from fer_lightning.core.errors import UserError
from fer_lightning.training import build

VALUES = (
    *(
        "null",
        "true",
        "false",
        "True",
        "yes",
        "on",
        "0",
        "1",
        "-1",
        "2",
        "7",
        "0.5",
        "1.5",
        "-0.5",
        "1e-3",
        "1e6",
        "''",
    ),
    *("'1e-3'", "'7'", "nan", "inf", "1e400", "99999999999999999999", "10%", "48px", "48x48", "2h", "90min", "0,01"),
    *(
        "[]",
        "[1,2]",
        "[0.9,0.99]",
        "[a,b]",
        "[[1]]",
        "[null]",
        "{}",
        "{a: 1}",
        "{a: [b, c]}",
        "{1: happy}",
        "{happy: 2}",
    ),
    *("auto", "none", "None", "min", "max", "best", "cuda", "gpu", "cpu", "fp16", "bf16", "ddp", "val_acc", "val/loss"),
    *("${seed}", "${nowhere}", "${oc.env:HOME}", "${oc.env:NOWHERE}", "${trainer}", "${", "???", "a b", "größe", "a=b"),
    *(
        "interval(0,1)",
        "choice(1,2)",
        "range(1,3)",
        "tag(log,interval(1e-4,1e-2))",
        "1,2",
        "a,b",
        "glob(*)",
        "sort(2,1)",
    ),
    *(
        "/data/it's",
        "~/faces",
        "/data/fer (1)",
        "/a,b",
        "C:\\faces",
        "torch.optim.SGD",
        "nowhere.Thing",
        "[1",
        "1]",
        "{a:",
    ),
)
EXTRA = (
    "model.mean",
    "model.classes",
    "loss.class_counts",
    "optimizer.maximize",
    "scheduler.last",
    "data.augmentation",
)
HABITS = ("epochs", "lr", "batch_size", "gpus", "data_dir", "workers", "momentum", "dropout", "device", "image_size")
NAMES = (
    "resnet18",
    "efficientnet_b0",
    "AdamW",
    "rmsprop",
    "step",
    "OneCycleLR",
    "ce",
    "wandb",
    "tb",
    "heavy",
    "default",
)
ADVICE = re.compile(r"\btype |did you mean|leave (it |out)|leave one|add -m|There are|there are|pip install")


Compose = Callable[..., DictConfig]


def answer(compose: Compose, *typed: str) -> str:
    """Return what the program answers to a command line before it starts to work; nothing where it would start.

    An AssertionError: it would be an error of a library, or of ours that says nothing.
    """
    arguments = list(typed)
    try:
        arguments = complete("train", typed, None, swept=True)
        if "-m" in arguments:
            return ""
        check_config(compose("train", *[word for word in arguments if word[:1] != "-"]))
    except Exception as error:
        message, code = explain_start(error, arguments)
        assert code == MISTYPED, f"{shlex.join(typed)} ended with {message}"
        return message
    return ""


def draw_lines(seed: int, count: int) -> Iterator[list[str]]:
    """Yield command lines of one or two settings, each with at most a few mistakes."""
    draw = random.Random(seed)
    settings = [key for key in listed_settings() if not key.startswith("hydra.")] + [*EXTRA]
    settings += [f"trainer.{name}" for name in trainer_arguments()]
    groups = [group for group in groups_of("train") if group != "hydra"]
    leaves = [key.rpartition(".")[2] for key in settings]
    for _ in range(count):
        key, value, group = draw.choice(settings), draw.choice(VALUES), draw.choice(groups)
        option = draw.choice([*options_of(group), *options_of(draw.choice(groups)), *NAMES, value])
        cut = draw.randrange(len(key))
        lines = {
            "value": [f"{key}={value}"],
            "own": [f"{key}={draw.choice([*map(str, listed_settings().get(key, [1]))])}"],
            "plus": [f"{draw.choice(['+', '++'])}{key}={value}"],
            "deleted": [f"~{key}" + draw.choice(["", f"={value}"])],
            "typo": [f"{key[:cut]}{draw.choice(['', key[cut] * 2, 'x'])}{key[cut + 1 :]}={value}"],
            "below": [f"{key}.x={value}"],
            "leaf": [f"{draw.choice([*leaves, *HABITS])}={value}"],
            "elsewhere": [f"{draw.choice(groups)}.{draw.choice([*leaves, *HABITS])}={value}"],
            "group": [f"{draw.choice(['', '', '+', '++', '~'])}{group}={option}"],
            "without": [f"~{group}"],
            "flag": [f"--{draw.choice([*leaves, *HABITS]).replace('_', '-')}", draw.choice(["7", "x"])],
            "two": [f"{group}={draw.choice(options_of(group))}", f"{key}={value}"],
        }
        yield lines[draw.choice([*lines, "value", "value"])]


def advised(message: str, typed: Sequence[str]) -> list[list[str]]:
    """Return the command lines that a message may mean by what it says to type; nothing if it names none."""
    if re.search(r"VALUE|FILE|FOLDER|PATH|pip install|package\.Class|--help|--info", message):
        return []
    if "type it without +" in message:
        return [[word.lstrip("+") for word in typed]]
    if found := re.search(r"did you mean '?([^\s']+?)'?(?:\?| or | \()", message):
        words = [found[1]]
    elif found := re.search(r"type ((?:'[^']*'|\"[^\"]*\"|[^\s'\"]+)(?: (?:'[^']*'|[\w./]+=\S+))*)", message):
        words = [word.rstrip(",;:)?") for word in shlex.split(found[1])]
    elif found := re.search(r"add (-m(?: \S+=\S+)?)", message):
        words = found[1].split()
        return [[*words, *typed]]
    elif "leave it out" in message or "leave out" in message:
        return [list(typed[:-1])]
    else:
        return []
    if not any("=" in word or word[:1] in "~-" for word in words):
        return []
    if message.startswith("there is no flag"):
        return [words]
    keys = {*map(override_key, words)}
    kept = [word for word in typed if override_key(word) not in keys]
    return [[*kept, *words], [*typed[:-1], *words]]


def complaints(compose: Compose, lines: Iterator[list[str]]) -> list[str]:
    """Return what is wrong with the answers to command lines."""
    found = []
    for line in lines:
        try:
            message = answer(compose, *line)
            if message and not ADVICE.search(message):
                found.append(f"no advice for {shlex.join(line)}: {message}")
            tries = advised(message, line) if message else []
            answers = [answer(compose, *again) for again in tries]
            if tries and all(message in one for one in answers):
                found.append(f"{shlex.join(line)} → {message} → {shlex.join(tries[0])} gets no further")
        except AssertionError as error:
            found.append(f"{shlex.join(line)}: {error}")
        except Exception as error:
            found.append(f"{shlex.join(line)}: raised {type(error).__name__}: {error}")
    return found


def test_random_command_lines_are_answered(compose_quickly: Compose) -> None:
    assert complaints(compose_quickly, draw_lines(seed=0, count=120)) == []


def test_what_the_program_sets_itself_has_advice_that_works(compose_quickly: Compose) -> None:
    lines = [[f"+{group}.{name}=1"] for group, names in GIVEN.items() for name in names]
    assert complaints(compose_quickly, iter(lines)) == []


@pytest.mark.slow
def test_what_other_programs_call_it_has_advice_that_works(compose_quickly: Compose) -> None:
    lines = [[f"{name}=2"] for name in habits.NAMES] + [[f"trainer.{name}=2"] for name in habits.TRAINER]
    lines += [[f"{key}={value}"] for key, values in habits.VALUES.items() for value in values]
    assert complaints(compose_quickly, iter(lines)) == []


@pytest.mark.slow
def test_many_random_command_lines_are_answered(compose_quickly: Compose) -> None:
    assert complaints(compose_quickly, draw_lines(seed=1, count=2000)) == []


@pytest.mark.slow
def test_what_passes_the_check_can_be_built(
    compose_quickly: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Model, optimizer, schedule and Trainer are made of lines that pass, or say what to type."""
    monkeypatch.chdir(tmp_path)
    tiny = ["data.synthetic={train:16,validation:8,test:8}", "data.batch_size=8", "trainer.accelerator=cpu"]
    # they would download, start processes, or need what is not here
    elsewhere = re.compile("pretrained|weights|devices|num_nodes|strategy|plugins|wandb|mlflow|sweep|csv|_target_")
    wrong = []
    for line in draw_lines(seed=2, count=250):
        words = [*tiny, *line] if not elsewhere.search(" ".join(line)) else None
        if words is None or "=" not in line[0] or line[0][0] in "~-" or answer(compose_quickly, *words):
            continue
        try:
            cfg = compose_quickly("train", *complete("train", words, None, swept=True))
            check_config(cfg)
            machine, data, makers, _ = build.build_components(cfg)
            data.setup()
            build.check_limits(cfg, data)
            build.build_model(cfg, data, machine, makers, fresh=True)
        except UserError as error:
            if not ADVICE.search(str(error)) and not re.search("it must be|choose", str(error)):
                wrong.append(f"no advice for {line}: {error}")
        except Exception as error:
            wrong.append(f"{line}: {type(error).__name__}: {error}")
    assert not wrong, "\n".join(wrong)
