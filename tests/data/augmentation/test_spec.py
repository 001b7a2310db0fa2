"""The specification says what is wrong with it, and costs no import that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fer_lightning.data.augmentation.spec import Augmentation

CONF = Path(__file__).parents[3] / "conf" / "augmentation"
STRENGTHS = sorted(path.stem for path in CONF.glob("*.yaml"))


def _run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def test_the_four_strengths_are_there() -> None:
    assert set(STRENGTHS) >= {"none", "light", "standard", "strong"}


@pytest.mark.parametrize("strength", STRENGTHS)
def test_configs_open_with_their_command_and_list_every_key(strength: str) -> None:
    text = (CONF / f"{strength}.yaml").read_text()
    assert text.startswith(f"# python -m fer_lightning.train augmentation={strength}\n")
    keys = set(OmegaConf.load(CONF / f"{strength}.yaml")) - {"_target_"}
    assert keys == set(Augmentation.__dataclass_fields__)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"flip": 1.5}, ["augmentation.flip=1.5"]),
        ({"rotate": -5, "zoom": 1.0}, ["augmentation.rotate=-5", "augmentation.zoom=1.0"]),
        ({"erase": float("nan")}, ["augmentation.erase=nan"]),
        ({"erase_area": (0.3, 0.1)}, ["augmentation.erase_area=[0.3, 0.1]"]),
        ({"erase_area": (0.0, 0.1)}, ["augmentation.erase_area"]),
        ({"erase_area": (0.1, 0.6)}, ["augmentation.erase_area"]),
        ({"erase_area": (0.1,)}, ["augmentation.erase_area"]),
    ],
)
def test_numbers_out_of_range_are_named_all_at_once(changes: dict[str, Any], names: list[str]) -> None:
    with pytest.raises(ValueError, match="augmentation") as caught:
        Augmentation(**changes)
    assert all(name in str(caught.value) for name in names)


def test_nothing_heavy_is_imported_before_a_transform_is_asked_for() -> None:
    heavy = "sorted({'torch', 'cv2', 'albumentations'} & set(sys.modules))"
    make = "import sys; from fer_lightning.data.augmentation.spec import Augmentation; Augmentation(flip=0.5{extra})"
    assert _run(f"{make.format(extra='')}; print({heavy})").stdout.strip() == "[]"
    extra = ", extra=[{'name': 'Blur'}]"
    assert "albumentations" in _run(f"{make.format(extra=extra)}; print({heavy})").stdout


@pytest.mark.parametrize("module", ["extra_transforms", "per_image"])
def test_importing_does_not_ask_the_network(module: str) -> None:
    run = _run(f"import fer_lightning.data.augmentation.{module}, os; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])")
    assert run.stdout.strip() == "1"
    assert run.stderr == ""  # where Albumentations tells of a newer version, or that it could not ask


def test_hydras_containers_become_plain_ones() -> None:
    given = OmegaConf.create({"erase_area": [0.1, 0.2], "extra": [{"name": "OneOf", "transforms": [{"name": "Blur"}]}]})
    spec = Augmentation(**given)
    assert type(spec.erase_area) is tuple
    assert type(spec.extra) is list
    assert spec.extra == [{"name": "OneOf", "transforms": [{"name": "Blur"}]}]
    assert type(spec.extra[0]["transforms"][0]) is dict
