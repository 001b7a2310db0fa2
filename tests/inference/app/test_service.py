"""One model for several people at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.app.facts import model_facts
from fer_lightning.inference.app.samples import SAMPLES, sample
from fer_lightning.inference.app.service import BusyError, Choice, Service
from fer_lightning.inference.predictor import Predictor
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.system.resources import available_cores


@pytest.fixture(scope="module", params=["checkpoint", "tiny_onnx"])
def service(request: pytest.FixtureRequest) -> Service:
    return Service(Predictor.load(request.getfixturevalue(request.param)), queue=2)


def test_many_threads_get_what_one_gets(service: Service, portrait_file_bytes: bytes) -> None:
    contents = [portrait_file_bytes, *(sample(name) for name in SAMPLES)] * 4
    choice = Choice("auto", 0.0)
    alone = [service.recognize(data, "", choice) for data in contents]
    assert [len(faces) for faces in alone] == [1] * len(contents)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda data: service.recognize(data, "", choice), contents))
    for one, other in zip(alone, together, strict=True):
        assert [face.box for face in one] == [face.box for face in other]
        assert [*one[0].probabilities.values()] == pytest.approx([*other[0].probabilities.values()], abs=1e-6)


def test_samples_are_taken_as_faces(service: Service) -> None:
    for name in SAMPLES:
        (face,) = service.recognize(sample(name), "", Choice("auto", 0.0))
        assert (face.status, face.box) == ("ok", None)


def test_a_choice_of_the_client_is_checked(service: Service, portrait_file_bytes: bytes) -> None:
    modes = service.predictors
    assert {"auto", "whole"} <= {*modes}
    assert Choice.parse("whole", "0.5", modes) == ("whole", 0.5)
    for faces, threshold in (("all", 0), ("auto", 1.5), ("auto", "nan"), ("auto", None), ("auto", "high")):
        with pytest.raises(ConfigError, match="is not"):
            Choice.parse(faces, threshold, modes)
    (face,) = service.recognize(portrait_file_bytes, "", Choice("whole", 1.0))
    assert (face.status, face.box) == ("uncertain", None)


def test_crops_and_heat_maps_are_those_of_the_faces(service: Service, portrait_file_bytes: bytes) -> None:
    faces = service.recognize(portrait_file_bytes, "", Choice("auto", 0.0))
    crops = service.crops(faces)
    assert service.recognizer(crops)[0] == pytest.approx([*faces[0].probabilities.values()], abs=1e-6)
    maps = service.heat_maps(crops)
    assert maps.shape == (1, *crops.shape[2:])
    assert maps.max() == 1
    assert len(service.crops(service.recognize(b"", "", Choice("auto", 0.0)))) == 0


def test_who_would_wait_too_long_is_turned_away(service: Service) -> None:
    go, results = threading.Event(), list[Any]()

    async def ask() -> None:
        try:
            results.append(await service.run(go.wait, 20))
        except BusyError as error:
            results.append(str(error))
            go.set()  # the last one, so that the others end

    async def all_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(available_cores() + service.queue + 1):
                group.start_soon(ask)

    anyio.run(all_at_once)
    assert results.pop(0) == "2 pictures are waiting: try again in a moment"
    assert {*results} == {True}


def test_facts_say_what_the_file_says(checkpoint: Path, tiny_onnx: Path) -> None:
    facts = dict(model_facts(Predictor.load(checkpoint).recognizer))
    assert facts["Network"] == "small_cnn"
    assert facts["Input"] == "24 × 24 pixels, grey"
    assert facts["Trained for"] == f"{Checkpoint.read(checkpoint).epoch} epochs"
    assert facts["Training images"] == "fingerprint f00d"
    assert facts["Score"] == "not recorded"
    facts = dict(model_facts(Predictor.load(tiny_onnx).recognizer))
    assert facts["Network"] == "not recorded"
    assert facts["Expressions"] == "angry, disgust, fear, happy, neutral, sad, surprise"


@pytest.fixture(scope="module")
def portrait_file_bytes(portrait: np.ndarray) -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", portrait[..., ::-1])[1])
