"""Numbers of a class's own and numbers that grow: each engine does what it does for a specification with just these.

So the engines agree here too, because `test_engines_agree` compares them for such specifications.
"""

from __future__ import annotations

import json
import pickle
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.batched import BatchedEngine
from fer_lightning.data.augmentation.per_image import AlbumentationsEngine
from fer_lightning.data.augmentation.pipeline import as_json
from fer_lightning.data.augmentation.spec import Augmentation

ENGINES = {"batched": BatchedEngine, "albumentations": AlbumentationsEngine}
CLASSES = ("angry", "disgust", "happy")
COUNT = 240
LABELS = np.arange(COUNT) % 3
ROWS = np.random.default_rng(0).permutation(2 * COUNT)[:COUNT]  # of the cache
BASE: dict[str, Any] = {"flip": 0.5, "rotate": 10.0, "shift": 0.1, "zoom": 0.1, "affine": 0.8, "erase": 0.3}
BASE |= {"brightness": 0.2, "contrast": 0.2, "light": 0.5}
OWN = {"disgust": {"rotate": 40.0, "zoom": 0.3, "affine": 1.0}, "happy": {"erase": 0.0, "flip": 0.0, "light": 1.0}}


def images() -> Tensor:
    return torch.randint(0, 256, (COUNT, 1, 24, 24), generator=torch.manual_seed(0)).to(torch.uint8)


def augment(engine: Any, epoch: Any = 0, chosen: Tensor | None = None) -> Tensor:
    chosen = torch.arange(COUNT) if chosen is None else chosen
    rows = torch.from_numpy(ROWS)[chosen]
    result: Tensor = engine(images()[chosen], epoch, rows, torch.zeros_like(rows))
    return result


def by_class(name: str, own: dict[str, dict[str, float]] = OWN, **changes: Any) -> Any:
    engine = ENGINES[name](Augmentation(**BASE | changes, by_class=own), 3)
    engine.know(CLASSES, LABELS, ROWS)
    return engine


@pytest.mark.parametrize("name", ENGINES)
def test_a_class_is_changed_by_its_own_numbers_and_the_others_as_before(name: str) -> None:
    found = augment(by_class(name), epoch=2)
    for label, own in enumerate(CLASSES):
        alone = augment(ENGINES[name](Augmentation(**BASE | OWN.get(own, {})), 3), epoch=2)
        assert torch.equal(found[label == LABELS], alone[label == LABELS])
        if own in OWN:
            plain = augment(ENGINES[name](Augmentation(**BASE), 3), epoch=2)
            assert not torch.equal(found[label == LABELS], plain[label == LABELS])


@pytest.mark.parametrize("name", ENGINES)
def test_only_one_class_may_be_changed_at_all(name: str) -> None:
    engine = ENGINES[name](Augmentation(by_class={"disgust": {"flip": 1.0}}), 3)
    engine.know(CLASSES, LABELS, ROWS)
    found = augment(engine)
    assert torch.equal(found[LABELS == 1], images()[LABELS == 1].flip(-1))
    assert torch.equal(found[LABELS != 1], images()[LABELS != 1])


@pytest.mark.parametrize("name", ENGINES)
def test_an_image_depends_neither_on_its_batch_nor_on_the_process(name: str) -> None:
    engine = by_class(name, ramp=0.5)
    engine.epochs = 10
    whole, copy = augment(engine, epoch=2), pickle.loads(pickle.dumps(engine))
    parts = [augment(copy, 2, chosen) for chosen in torch.arange(COUNT).flip(0).split(7)]
    assert torch.equal(torch.cat(parts).flip(0), whole)


@pytest.mark.parametrize("name", ENGINES)
def test_magnitudes_grow_from_nothing_to_all_over_a_fraction_of_the_run(name: str) -> None:
    engine = ENGINES[name](Augmentation(**BASE, ramp=0.5), 3)
    engine.epochs = 8
    for epoch, grown in ((0, 0.0), (1, 0.25), (3, 0.75), (4, 1.0), (7, 1.0), (0, 0.0)):
        assert engine.growth(epoch) == grown
        same = Augmentation(**BASE).grown_to(grown)
        assert torch.equal(augment(engine, epoch), augment(ENGINES[name](same, 3), epoch))
    flips = ENGINES[name](Augmentation(flip=0.5), 3)
    if name == "batched":  # the other draws other numbers for another pipeline
        assert torch.equal(augment(engine, 0), augment(flips, 0))


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_grows_where_the_length_of_the_run_is_not_known(name: str) -> None:
    engine, full = (ENGINES[name](Augmentation(**BASE, ramp=ramp), 3) for ramp in (0.5, 0.0))
    assert torch.equal(augment(engine, 1), augment(full, 1))


def test_what_grows_is_what_is_said_to() -> None:
    spec = Augmentation(**BASE).grown_to(0.5)
    halved = {"rotate": 5.0, "shift": 0.05, "zoom": 0.05, "brightness": 0.1, "contrast": 0.1, "erase": 0.15}
    assert spec == Augmentation(**BASE | halved)


def test_it_compiles_as_one_graph_for_all_epochs() -> None:
    engine, eager = (by_class("batched", ramp=0.5) for _ in range(2))
    engine.epochs = eager.epochs = 6
    augment(engine, 0)
    compiled = torch.compile(engine, fullgraph=True, backend="eager")
    for epoch in range(5):
        assert torch.equal(augment(compiled, torch.tensor(epoch)), augment(eager, epoch))


@pytest.mark.parametrize("name", ENGINES)
def test_a_class_that_is_not_there_is_refused(name: str) -> None:
    message = (
        r"augmentation\.by_class\.disgusted is no class; did you mean augmentation\.by_class\.disgust\?; "
        "there are angry, disgust, happy"
    )
    with pytest.raises(ConfigError, match=message):
        by_class(name, {"disgusted": {"flip": 1.0}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"by_class": {"sad": {"rotat": 5.0}}},
            r"by_class\.sad\.rotat: there is no number rotat; did you mean rotate",
        ),
        ({"by_class": {"sad": {"erase_area": 0.1}}}, "there are flip, affine, light, rotate"),
        (
            {"by_class": {"sad": {"zoom": 1.5, "flip": 0.5}}},
            r"augmentation\.by_class\.sad\.zoom=1\.5 must lie between 0",
        ),
        ({"ramp": 1.5}, r"augmentation\.ramp=1\.5 must lie between 0 and 1"),
    ],
)
def test_bad_numbers_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**changes)


@pytest.mark.parametrize("name", ENGINES)
def test_the_summary_says_it(name: str) -> None:
    summary = by_class(name, ramp=0.3).summary
    assert summary.endswith("; with numbers of their own: disgust, happy; growing over the first 30% of the run")


def test_the_file_holds_the_pipelines_of_classes() -> None:
    content = json.loads(as_json(Augmentation(**BASE, by_class=OWN, ramp=0.25)))
    assert content["ramp"] == 0.25
    assert [*content["by_class"]] == ["disgust", "happy"]
    affine = A.from_dict({"transform": content["by_class"]["disgust"]}).transforms[1]
    assert (affine.p, affine.rotate, affine.scale["x"]) == (1.0, (-40, 40), (0.7, 1.3))
    assert A.from_dict(content).transforms[1].rotate == (-10, 10)
