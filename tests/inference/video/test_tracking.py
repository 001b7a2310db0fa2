"""Faces keep their numbers while they move, cross and are covered."""

from __future__ import annotations

from fer_lightning.inference.face import Box
from fer_lightning.inference.video.tracking import GAP, Tracker


def numbers(tracker: Tracker, time: float, *boxes: Box | None) -> list[int]:
    return [track.number for track in tracker(time, boxes)]


def test_faces_that_move_keep_their_numbers_whatever_their_places_in_the_list() -> None:
    tracker = Tracker()
    assert numbers(tracker, 0.0, Box(10, 20, 60, 60), Box(600, 20, 50, 50)) == [1, 2]
    for k in range(1, 20):
        left, right = Box(10 + 10 * k, 20, 60, 60), Box(600 - 5 * k, 20, 50, 50)
        assert numbers(tracker, k / 25, right, left) == [2, 1]


def test_a_face_that_jumps_is_another_one() -> None:
    tracker = Tracker()
    assert numbers(tracker, 0.0, Box(0, 0, 50, 50)) == [1]
    assert numbers(tracker, 0.04, Box(300, 0, 50, 50)) == [2]


def test_a_face_that_is_covered_is_the_same_within_the_gap_and_another_one_after() -> None:
    box = Box(100, 100, 80, 80)
    for gap, number in ((GAP, 1), (GAP + 0.1, 2)):
        tracker = Tracker()
        assert numbers(tracker, 0.0, box) == [1]
        assert numbers(tracker, 0.05) == []  # else any distance between two frames is allowed
        assert numbers(tracker, gap, box) == [number]


def test_frames_that_are_further_apart_than_the_gap_are_followed() -> None:
    tracker = Tracker()
    assert [numbers(tracker, 5.0 * k, Box(100 + k, 100, 80, 80)) for k in range(4)] == [[1]] * 4


def test_two_faces_that_cross_keep_their_numbers_though_one_covers_the_other() -> None:
    tracker, covered = Tracker(), 0
    for k in range(60):
        first, second = Box(100 + 8 * k, 100, 80, 80), Box(580 - 8 * k, 110, 80, 80)
        if abs(first.x - second.x) < 60:
            covered += 1
            assert numbers(tracker, k / 25, first) == [1]
        else:
            assert numbers(tracker, k / 25, first, second) == [1, 2], k
    assert covered > 3


def test_pictures_that_are_taken_as_a_whole_are_one_face() -> None:
    tracker = Tracker()
    assert [numbers(tracker, k / 25, None) for k in range(3)] == [[1]] * 3
