"""Values reach Hydra as they were meant, however the shell passed them on."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning.cli.arguments import complete
from fer_lightning.cli.spelling import join_brackets, readable
from fer_lightning.core.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["model.backbone_kwargs={drop_path_rate:", "0.1}"], ["model.backbone_kwargs={drop_path_rate: 0.1}"]),
        (["data.split=[0.8,", "0.1,", "0.1]", "seed=1"], ["data.split=[0.8, 0.1, 0.1]", "seed=1"]),
        (["seed=1", "data.classes=[happy", "seed=2"], ["seed=1", "data.classes=[happy", "seed=2"]),
        (["data.root=/a", "b]"], ["data.root=/a", "b]"]),
        (["-m", "seed=1,2"], ["-m", "seed=1,2"]),
    ],
)
def test_a_list_that_the_shell_took_apart_is_whole_again(words: list[str], joined: list[str]) -> None:
    assert join_brackets(words) == joined


@pytest.mark.parametrize(
    "text",
    ["/data/it's", "/data/fer (1)", "/data/fer(1)/x", "/data/a=b", "~/fer", "/data/a]", "C:\\faces\\it's", '/say "so"'],
)
def test_a_path_is_read_as_it_is_typed(text: str) -> None:
    (word,) = complete("train", [f"data.root={text}"], None, swept=True)
    assert str(OverridesParser.create().parse_override(word).value()) == text


@pytest.mark.parametrize(
    "word", ["data.root='/a b'", "optimizer.lr=interval(1e-4,1e-2)", "seed=1,2", "x={a: [1, 2]}", "~seed", "a", "a="]
)
def test_what_hydra_reads_stays_as_it_is(word: str) -> None:
    assert readable(word) == word


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("optimizer.betas=[0.9,1", "do not match: type 'optimizer.betas=[a,b]' for a list"),
        ("data.merge=" + "{a:" * 600 + "1" + "}" * 600, "data.merge holds 600 brackets inside each other: type 20"),
        ("data.classes=" + "[" * 900 + "]" * 900, "type 20 at most"),
        ("output_dir=" + "a" * 400, "in output_dir has 400 letters: type a name of 255 bytes at most"),
        ("data.root=/x/" + "ä" * 200 + "/y", "type a name of 255 bytes at most"),
        ("a" * 400 + "=1", "type a name of 255 bytes at most"),
    ],
)
def test_what_no_file_or_setting_can_be_is_refused_at_once(word: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        complete("train", [word], None, swept=True)
    assert said in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["--epochs", "10"],
            "no flag --epochs: settings are typed without dashes: type trainer.max_epochs=10",
        ),
        (["--lr=0.1"], "type optimizer.lr=0.1"),
        (["--batch-size", "64"], "type data.batch_size=64"),
        (["--model", "vgg16"], "type model=vgg16"),
        (["--gpus", "2"], "type trainer=gpu trainer.devices=2"),
        (["-v"], "type --help"),
        (["--config", "x"], "there is no flag --config: type --config-path"),
        (["--pretrained"], "type model.pretrained=VALUE"),
    ],
)
def test_a_flag_of_another_program_says_which_setting_it_is(typed: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        complete("train", typed, None, swept=True)
    assert said in str(error.value)


@pytest.mark.parametrize("typed", [["-m"], ["--multirun"], ["--cfg", "job"], ["--config-dir=x"], ["--info", "all"]])
def test_flags_of_hydra_are_left_alone(typed: list[str]) -> None:
    assert complete("train", typed, None, swept=True)[: len(typed)] == typed
