"""Names of expressions as users write them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fer_lightning.data.table.emotions import (
    ALIASES,
    CODE_ORDERS,
    EMOTIONS,
    FER2013_CODES,
    canonical,
    fold,
)


@pytest.mark.parametrize("name", [*EMOTIONS, "contempt"])
@pytest.mark.parametrize("dress", ["{}", "{:s} ", "0_{}", "1-{}", "03 {}", "_{}_", "{}_0", "{} (1)"])
def test_dressed_up_names_keep_their_meaning(name: str, dress: str) -> None:
    assert canonical(dress.format(name)) == name
    assert canonical(dress.format(name.upper())) == name
    assert canonical(dress.format(name.capitalize())) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("Suprise", "surprise"),
        ("superise", "surprise"),
        ("surprize", "surprise"),
        ("anger", "angry"),
        ("AN", "angry"),
        ("Happiness", "happy"),
        ("joy", "happy"),
        ("sadness", "sad"),
        ("scared", "fear"),
        ("Fearful", "fear"),
        ("disgusted", "disgust"),
        ("Disgrace", "disgust"),
        ("calm", "neutral"),
        ("NE", "neutral"),
    ],
)
def test_aliases(spelling: str, name: str) -> None:
    assert canonical(spelling) == name


@pytest.mark.parametrize("name", ["", "3", "bored", "train", "images", "happy faces", "angry2"])
def test_what_takes_a_guess_is_unknown(name: str) -> None:
    assert canonical(name) is None


def test_own_aliases_go_first_and_may_name_new_classes() -> None:
    aliases = {"Very Bored": "Neutrality", "calm": "relaxed", 3: "happy"}
    assert canonical("very-bored", aliases) == "neutral"
    assert canonical("Calm", aliases) == "relaxed"
    assert canonical("3", aliases) == "happy"
    assert canonical("07_very_bored", aliases) == "neutral"
    assert canonical("sad", aliases) == "sad"


def test_tables_agree() -> None:
    assert set(ALIASES.values()) == {*EMOTIONS, "contempt"}
    assert all(fold(spelling) == spelling for spelling in ALIASES)
    assert sorted(FER2013_CODES) == list(EMOTIONS)
    assert (FER2013_CODES[4], CODE_ORDERS["alphabetical"][4]) == ("sad", "neutral")
    ferplus = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
    assert {canonical(column) for column in ferplus} == {*EMOTIONS, "contempt", None}


@pytest.mark.parametrize("number", ["4", " 4 ", "4.0", "04", "class_4", "Class 4", "label4", "emotion-4"])
def test_numbers_mean_what_the_order_says(number: str) -> None:
    expected = {"fer2013": "sad", "alphabetical": "neutral", "affectnet": "fear", "rafdb": "happy", "ferplus": "angry"}
    assert {order: canonical(number, code_order=order) for order in CODE_ORDERS} == {**expected, "ckplus": "fear"}
    assert canonical(number) is None
    assert canonical(number, {"4": "sad"}, "rafdb") == "sad"


@pytest.mark.parametrize("name", ["0", "8", "-1", "4.5", "4e0", "44", "\u0664"])
def test_numbers_outside_an_order(name: str) -> None:
    assert canonical(name, code_order="rafdb") is None


def test_module_is_light() -> None:
    heavy = "('numpy', 'pandas', 'torch')"
    code = f"import fer_lightning.data.table.emotions, sys; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
