"""Groups that are left out or added in Hydra's ways do what is meant, or are refused before any work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import fer_lightning
from fer_lightning.cli.groups import READ, spell_groups
from fer_lightning.core.errors import ConfigError


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        ("~scheduler", ["scheduler=none"]),
        ("~augmentation=standard", ["augmentation=none"]),
        ("logger=null", ["logger=none"]),
        ("callbacks=", ["callbacks=none"]),
        ("scheduler=None", ["scheduler=none"]),
        ("augmentation=false", ["augmentation=none"]),
        ("scheduler=null,cosine", ["scheduler=none,cosine"]),
        ("+experiment=keras_cnn", ["experiment=keras_cnn"]),
        ("++scheduler=plateau", ["scheduler=plateau"]),
        ("experiment=null", []),
        ("~experiment", []),
        ("~callbacks.early_stopping", ["~callbacks.early_stopping"]),
        ("~optimizer.fused", ["~optimizer.fused"]),
        ("callbacks.early_stopping=null", ["~callbacks.early_stopping"]),
        ("logger.csv=false", ["~logger.csv"]),
        ("callbacks.early_stopping.monitor=null", ["callbacks.early_stopping.monitor=null"]),
        ("+callbacks.mine._target_=x", ["+callbacks.mine._target_=x"]),
        ("logger@logger.b=csv", ["logger@logger.b=csv"]),
        ("data.root=null", ["data.root=null"]),
        ("logger=[csv,tensorboard]", ["logger=[csv,tensorboard]"]),
    ],
)
def test_a_group_is_left_out_or_added(typed: str, spelt: list[str]) -> None:
    assert spell_groups("train", [typed]) == spelt


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("~loss", "needs loss and cannot leave it out: type loss=cross_entropy, or loss=focal"),
        (
            "optimizer=null",
            "type optimizer=adamw, or optimizer=adam or optimizer=muon or optimizer=sam or optimizer=sgd",
        ),
        ("~data", "type data=auto"),
        ("sweep=none", "type sweep=default"),
        ("~seed", "seed is read by fer_lightning.train and cannot be deleted: leave out '~seed'"),
        ("~trainer.precision", "leave out '~trainer.precision'"),
    ],
)
def test_what_a_verb_needs_cannot_be_left_out(typed: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        spell_groups("train", [typed])
    assert said in str(error.value)


@pytest.mark.parametrize(
    "typed", ["trainer=[[1]]", "callbacks=[[a],b]", "logger=[null]", "logger=[csv,]", "model=[{a: b}]"]
)
def test_what_is_no_option_is_refused(typed: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of an option: type "):
        spell_groups("train", [typed])


def test_a_group_belongs_to_its_verbs() -> None:
    assert spell_groups("evaluate", ["~scheduler", "+loss=focal"]) == ["~scheduler", "+loss=focal"]


@pytest.mark.parametrize("typed", ["model=a.onnx", "+model=a.onnx", "ckpt_path=a.onnx"])
def test_model_names_the_file_of_verbs_that_use_one(typed: str) -> None:
    assert spell_groups("predict", [typed]) == ["ckpt_path=a.onnx"]
    with pytest.raises(ConfigError, match="model and ckpt_path both name the model: type one of them"):
        spell_groups("predict", ["model=a.onnx", "ckpt_path=a.onnx"])
    assert spell_groups("train", ["model=vgg16"]) == ["model=vgg16"]


def test_every_setting_that_the_program_reads_is_known() -> None:
    texts = (path.read_text(encoding="utf-8") for path in Path(fer_lightning.__file__).parent.rglob("*.py"))
    read = {found for text in texts for found in re.findall(r"\bcfg\.((?:trainer|data|model)\.[a-z_]+)\b(?!\()", text)}
    assert read <= {*READ}
    assert len(read) > 15
