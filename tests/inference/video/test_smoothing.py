"""Averages and held labels on constructed sequences, with values that can be computed by hand."""

from __future__ import annotations

import math

import pytest

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.face import Box, Face, Faces
from fer_lightning.inference.video.smoothing import Smoother, smoothed

BOX = Box(10, 10, 50, 50)


def face(happy: float, box: Box | None = BOX) -> Face:
    label = "happy" if happy >= 0.5 else "sad"
    return Face(label, max(happy, 1 - happy), {"happy": happy, "sad": 1 - happy}, box)


def happy_over_time(smoother: Smoother, values: list[float], rate: float) -> list[float]:
    return [smoother(k / rate, [face(value)])[0].probabilities["happy"] for k, value in enumerate(values)]


@pytest.mark.parametrize("rate", [5, 25, 30, 120])
def test_a_step_is_followed_by_the_same_curve_at_every_frame_rate(rate: int) -> None:
    seconds = 2
    curve = happy_over_time(Smoother(smooth=0.5, hold=0), [0.0] + [1.0] * (seconds * rate), rate)
    expected = [1 - math.exp(-k / rate / 0.5) for k in range(seconds * rate + 1)]
    assert curve == pytest.approx(expected, abs=1e-12)


def test_frames_at_uneven_times_count_by_their_distance() -> None:
    smoother = Smoother(smooth=1.0, hold=0)
    times = [0.0, 0.1, 0.15, 0.9, 2.0]
    curve = [smoother(time, [face(float(time > 0))])[0].probabilities["happy"] for time in times]
    assert curve == pytest.approx([1 - math.exp(-time) for time in times], abs=1e-12)


def test_probabilities_still_sum_to_one_and_belong_to_the_label() -> None:
    smoother = Smoother(smooth=0.5, hold=0.5)
    for k, value in enumerate([0.9, 0.1, 0.2, 0.8, 0.05, 0.0, 0.0]):
        (found,) = smoother(0.3 * k, [face(value)])
        assert sum(found.probabilities.values()) == pytest.approx(1)
        assert found.label is not None
        assert found.confidence == found.probabilities[found.label]


def test_without_smoothing_and_hold_faces_are_as_they_were() -> None:
    smoother, values = Smoother(smooth=0, hold=0), [0.9, 0.1, 0.5, 0.4]
    for k, value in enumerate(values):
        (found,) = smoother(k / 25, [face(value)])
        assert (found.label, found.probabilities) == (face(value).label, face(value).probabilities)


def test_a_label_changes_after_another_was_ahead_for_the_hold_time() -> None:
    smoother = Smoother(smooth=0, hold=0.5)
    labels = [smoother(k / 10, [face(0.9 if k < 3 else 0.1)])[0].label for k in range(12)]
    assert labels == ["happy"] * 8 + ["sad"] * 4  # ahead from 0.3 s on, so shown from 0.8 s on


def test_a_label_does_not_flicker() -> None:
    smoother = Smoother(smooth=0, hold=0.5)
    values = [0.9] * 5 + [0.1, 0.1, 0.1, 0.1, 0.9] * 6  # never ahead for half a second
    assert {smoother(k / 10, [face(value)])[0].label for k, value in enumerate(values)} == {"happy"}
    raw = Smoother(smooth=0, hold=0)
    assert {raw(k / 10, [face(value)])[0].label for k, value in enumerate(values)} == {"happy", "sad"}


def test_a_held_label_below_the_threshold_is_uncertain() -> None:
    smoother = Smoother(smooth=0, hold=10, threshold=0.5)
    found = [smoother(k / 10, [face(value)])[0] for k, value in enumerate([0.9, 0.2])]
    assert [(one.label, one.status) for one in found] == [("happy", "ok"), ("uncertain", "uncertain")]
    assert found[1].confidence == pytest.approx(0.2)


def test_two_faces_that_cross_keep_their_own_averages() -> None:
    smoother = Smoother(smooth=0.5, hold=0.2)
    for k in range(60):
        first, second = face(0.9, Box(100 + 8 * k, 100, 80, 80)), face(0.2, Box(580 - 8 * k, 110, 80, 80))
        found = smoother(k / 25, [first, second] if k % 2 == 0 else [second, first])
        assert {one.track: round(one.probabilities["happy"], 9) for one in found} == {1: 0.9, 2: 0.2}


def test_a_face_that_comes_back_after_the_gap_begins_anew() -> None:
    smoother = Smoother(smooth=5, hold=5)
    assert smoother(0.0, [face(0.9)])[0].track == 1
    nothing = Face(status="no_face")
    assert smoother(0.1, [nothing]) == [nothing]
    (found,) = smoother(2.0, [face(0.1)])
    assert (found.track, found.label, found.probabilities["happy"]) == (2, "sad", 0.1)


def test_each_video_is_smoothed_by_itself_and_photographs_not_at_all() -> None:
    def frame(source: str, number: int, happy: float) -> Faces:
        return Faces([face(happy)], None, source, None, number, number / 25)

    results = [frame("a", 0, 0.9), frame("a", 1, 0.1), Faces([face(0.1)], None, "photo"), frame("a", 0, 0.1)]
    results += [frame("b", 0, 0.3)]
    labels = [(faces[0].label, faces[0].track) for faces in smoothed(results, 1.0, 1.0, 0.0)]
    assert labels == [("happy", 1), ("happy", 1), ("sad", None), ("sad", 1), ("sad", 1)]


@pytest.mark.parametrize("setting", ["smooth", "hold"])
@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_times_that_are_none_are_refused_by_name(setting: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{setting}="):
        Smoother(**{setting: value})
