"""Every setting that a message about folders or lists of labels gives is typed here, and gets further."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning.core.errors import DataError
from fer_lightning.data.layouts.recognize import read_layout
from fer_lightning.data.table.image_table import select_classes

Plant = Callable[[Path, Mapping[str, str]], Path]
SETTING = re.compile(r"'(data\.aliases=\{[^}]*\})'|(data\.(?:code_order|classes|layout|root)=[^\s,;:()]+)")
SEVEN = range(7)
TREES: dict[str, dict[str, str]] = {
    "misspelt classes": {f"train/{name}": "1.jpg" for name in ("hapyness", "Xyz 2", "angry")},
    "own classes in splits": {f"{split}/{n}": "1.jpg" for split in ("train", "test") for n in ("cats", "dogs", "a-b")},
    "own classes with folders in them": {f"{name}": "1.jpg" for name in ("cats/persian", "cats/siamese", "dogs/pug")},
    "own classes": {f"{name}": "1.jpg" for name in ("cats", "dogs")},
    "twelve own classes": {f"train/class_{number:02d}": "1.jpg" for number in range(12)},
    "fer2013 or affectnet": {f"train/{number}": "1.jpg" for number in SEVEN},
    "two digits": {f"train/{number:02d}": "1.jpg" for number in SEVEN},
    "words and numbers": {f"train/class_{number}": "1.jpg" for number in SEVEN},
    "rafdb": {f"train/{number + 1}": "1.jpg" for number in SEVEN},
    "eight classes": {f"train/{number}": "1.jpg" for number in range(8)},
    "three classes": {f"{number}": "1.jpg" for number in range(3)},
    "unclear split": {f"{split}/{name}": "1.jpg" for split in ("train", "eval") for name in ("happy", "sad")},
    "misspelt split": {f"{split}/{name}": "1.jpg" for split in ("train", "vaildation") for name in ("happy", "sad")},
    "class beside splits": {f"{place}/{name}": "1.jpg" for place in ("train", "test") for name in ("happy", "sad")}
    | {"fear": "1.jpg"},
    "splits in a split": {
        f"{split}/{name}": "1.jpg" for split in ("train/train", "train/val", "test") for name in ("happy", "sad")
    },
    "several data sets": {f"{place}/train/{name}": "1.jpg" for place in ("ck", "fer") for name in ("happy", "sad")},
    "people by name": {f"{place}/{name}": "1.jpg" for place in ("anna", "ben") for name in ("happy", "sad")},
    "people by name in splits": {
        f"{place}/{name}": "1.jpg"
        for place in ("train/anna", "train/ben", "test/cleo", "test/dan")
        for name in ("happy", "sad")
    },
    "names of columns": {f"{name}": "1.jpg" for name in ("cats", "label")},
    "labels in a list": {"images": "a.jpg b.jpg"},
}
LIST = "path,label,split\na.jpg,glum,eval\nb.jpg,merry,train\n"


def offers(message: str) -> list[str]:
    return [setting.rstrip(".") for found in SETTING.findall(message) for setting in found if setting]


def options(setting: str) -> dict[str, object]:
    """Return the arguments of `read_layout` that a setting stands for, parsed as Hydra does."""
    names = itertools.cycle(["happy", "sad"])
    [override] = OverridesParser.create().parse_overrides([re.sub("CLASS", lambda _: next(names), setting)])
    key, value = override.get_key_element().removeprefix("data."), override.value()
    return {"own_names": value == "own"} if key == "classes" else {key: Path(value) if key == "root" else value}


@pytest.mark.parametrize("tree", TREES)
def test_what_is_advised_gets_further(tmp_path: Path, plant: Plant, tree: str) -> None:
    plant(tmp_path, TREES[tree])
    if tree == "labels in a list":
        (tmp_path / "labels.csv").write_text(LIST)
    pending: list[dict[str, object]] = [{"root": tmp_path}]
    typed = read = 0
    while pending:
        arguments = pending.pop()
        try:
            select_classes(read_layout(**arguments), None, None)  # type: ignore[arg-type]
            read += 1
        except DataError as error:
            message = str(error)
            if "classes differ between" in message or "only one class" in message:  # of the images, not of their names
                read += 1
                continue
            found = offers(message)
            assert found, message
            assert len(arguments) < 4, message  # each setting that is typed leads on
            for setting in found:
                new = options(setting)
                merged = {**arguments, **new}
                if "aliases" in arguments and "aliases" in new:
                    merged["aliases"] = {**arguments["aliases"], **new["aliases"]}  # type: ignore[dict-item]
                assert merged != arguments, f"{setting} was typed, and the message is {message}"
                pending.append(merged)
                typed += 1
    assert typed >= 1
    assert read >= 1


@pytest.mark.parametrize("null", ["data.aliases={glum: null}", "data.aliases={Glum: null}"])
def test_null_leaves_a_class_out(tmp_path: Path, plant: Plant, null: str) -> None:
    plant(tmp_path, {f"{split}/{name}": "1.jpg" for split in ("train", "val") for name in ("happy", "sad", "Glum")})
    table = read_layout(tmp_path, **options(null))  # type: ignore[arg-type]
    assert (table.classes, len(table)) == (("happy", "sad"), 4)
    assert "Glum" in " ".join(table.notes), table.notes


@pytest.mark.parametrize(
    "folders", ["train test", "aligned original", "images", "Image/aligned", "train/images test/images"]
)
def test_no_alias_turns_splits_and_containers_into_classes(tmp_path: Path, plant: Plant, folders: str) -> None:
    plant(tmp_path, dict.fromkeys(folders.split(), "1.jpg 2.jpg"))
    with pytest.raises(DataError) as caught:
        read_layout(tmp_path)
    message = str(caught.value)
    assert "aliases" not in message, message
    assert "labels.csv there with the columns path and label" in message
    names = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.jpg"))]
    words = itertools.cycle(["happy", "sad"])
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(f"{name},{next(words)}\n" for name in names))
    assert len(read_layout(tmp_path)) == len(names)
