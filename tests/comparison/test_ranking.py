"""Who is ranked with whom, in which order, and what is said of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fer_lightning.comparison.comparison import Comparison
from fer_lightning.comparison.ranking import Group, rank
from fer_lightning.comparison.seeds import average_seeds
from fer_lightning.comparison.tables import ranking_table
from fer_lightning.runs.read import RecordedRun, read_run

WriteRun = Callable[..., Path]
MakeRun = Callable[..., RecordedRun]
RIGHT = [True] * 6 + [False] * 4


@pytest.fixture
def make_run(tmp_path: Path, write_run: WriteRun) -> MakeRun:
    """Return a function that writes a run and reads it: make_run("a", value=0.6)."""

    def make(name: str, right: list[bool] | None = RIGHT, **options: object) -> RecordedRun:  # type: ignore[assignment]
        return read_run(write_run(tmp_path / name, right, **options), name)

    return make


def names(group: Group) -> list[str]:
    return [run.name for run in group.runs]


def test_the_value_that_chose_the_checkpoint_ranks_and_the_test_score_never(make_run: MakeRun) -> None:
    clean = {"duplicates_in_train": 0, "duplicates_in_validation": 0}
    chosen = make_run("chosen", [False] * 10, value=0.7, split="test", **clean)
    lucky = make_run("lucky", [True] * 10, value=0.6, split="test", **clean)
    (group,), unranked = rank([lucky, chosen])
    assert (names(group), unranked) == (["chosen", "lucky"], [])
    assert any("ranks nothing" in note for note in group.notes)
    assert any("the test images had no part in it" in note for note in group.notes)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"duplicates_in_train": 3, "duplicates_in_validation": 1}, "up to 4 of the test images have pixel-identical"),
        ({}, "whether test images have duplicates in train or validation is not known"),
    ],
)
def test_test_images_that_were_seen_are_told(make_run: MakeRun, facts: dict[str, int], said: str) -> None:
    clean = {"duplicates_in_train": 0, "duplicates_in_validation": 0}
    (group,), _ = rank([make_run("a", split="test", **clean), make_run("b", split="test", **facts)])
    assert any(said in note for note in group.notes)
    assert not any("had no part" in note for note in group.notes)


def test_a_loss_is_better_the_lower(make_run: MakeRun) -> None:
    typed = {"monitor": "val/loss", "mode": "min"}
    (group,), _ = rank([make_run(f"{value}", value=value, settings=typed) for value in (0.9, 0.4, 0.7)])
    assert names(group) == ["0.4", "0.7", "0.9"]


def test_other_monitors_images_splits_and_limits_are_other_groups(make_run: MakeRun) -> None:
    runs = [
        make_run("a", value=0.5),
        make_run("b", value=0.6),
        make_run("loss", value=0.5, settings={"monitor": "val/loss", "mode": "min"}),
        make_run("fewer", RIGHT[:8], value=0.99),
        make_run("tested", split="test", value=0.98),
        make_run("limited", value=0.97, settings={"trainer.limit_val_batches": 2}),
        make_run("failed", status={"status": "failed", "values": {"val/acc": 0.99}}),
    ]
    groups, unranked = rank(runs)
    assert [names(group) for group in groups] == [["b", "a"], ["fewer"], ["limited"], ["loss"], ["tested"]]
    assert [group.letter for group in groups] == ["A", "B", "C", "D", "E"]
    assert [run.name for run in unranked] == ["failed"]


def test_validation_images_that_a_seed_cut_off_are_not_the_same_though_the_test_images_are(make_run: MakeRun) -> None:
    def runs(splits: list[str | None]) -> list[RecordedRun]:
        typed = ({"split": "test", "settings": {"seed": at}, "splits": cut} for at, cut in enumerate(splits))
        return [make_run(f"{splits}{at}", **options) for at, options in enumerate(typed)]

    def unknown(group: Group) -> bool:
        return any("is not known: their data.seed differs" in note for note in group.notes)

    assert len(rank(runs(["one", "two"]))[0]) == 2
    (same,), _ = rank(runs(["one", "one"]))
    (old,), _ = rank(runs([None, None]))
    assert (unknown(same), unknown(old)) == (False, True)


def test_the_difference_to_the_best_is_on_the_same_images(make_run: MakeRun) -> None:
    best = make_run("best", [True] * 8 + [False] * 2, value=0.8)
    other = make_run("other", [False] * 3 + [True] * 6 + [False], value=0.6)
    (group,), _ = rank([other, best])
    first, second = group.differences
    assert first is None
    assert second is not None
    assert second.value == pytest.approx(-0.2)
    assert second.p == pytest.approx(0.625)  # 3 lost, 1 won: (1 + 4) / 2^4, twice


def test_a_run_without_predictions_joins_where_nothing_speaks_against_it(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [
        make_run("whole", value=0.5),
        make_run("bare", value=0.6),
        make_run("elsewhere", value=0.7, fingerprint="b"),
    ]
    for name in ("bare", "elsewhere"):
        (tmp_path / name / "predictions.csv").unlink()
    runs = [read_run(run.folder, run.name) for run in runs]
    groups, _ = rank(runs)
    assert [names(group) for group in groups] == [["bare", "whole"], ["elsewhere"]]
    assert groups[0].differences == (None, None)
    assert any("nothing else that is known differs: bare" in note for note in groups[0].notes)


def test_replaced_pixels_are_noticed_and_other_sizes_are_not(make_run: MakeRun) -> None:
    first = make_run("first")
    (group,), _ = rank([first, make_run("larger", fingerprint="other", settings={"data.image_size": 96})])
    assert not any("replaced?" in note for note in group.notes)
    (group,), _ = rank([first, make_run("replaced", fingerprint="other")])
    assert any("were files replaced?" in note for note in group.notes)


def test_the_best_of_many_is_called_optimistic_with_a_command_that_can_be_pasted(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = "1_model=vgg16,seed=2"
    (group,), _ = rank([make_run(folder, value=0.9), make_run("other", value=0.8)])
    (note,) = group.notes
    assert "best of 2 runs on the images that chose it is optimistic" in note
    words = shlex.split(note.partition(": python ")[2])
    assert words[2] == f"ckpt_path='{tmp_path}/{folder}/checkpoints/best.ckpt'"  # in quotes for Hydra too
    assert words[3:] == ["data.root=/faces", "split=test"]
    (alone,), _ = rank([make_run("alone")])
    assert alone.notes == []


def test_the_advice_names_what_a_checkpoint_does_not_hold(make_run: MakeRun) -> None:
    settings = {"data.layout": "csv", "data.on_error": "skip", "data.limit": None, "data.max_pixels": 9}
    (group,), _ = rank([make_run(name, value=0.9, settings=settings) for name in ("a", "b")])
    assert group.notes[0].endswith("data.root=/faces data.layout=csv data.on_error=skip data.max_pixels=9 split=test")


def test_data_without_a_test_split_are_not_advised_to_be_tested(make_run: MakeRun, tmp_path: Path) -> None:
    (group,), _ = rank([make_run(name, value=0.9, test_images=0) for name in ("a", "b")])
    (note,) = group.notes
    assert "These data have no test split; for the folder of another data set: python -m fer_l" in note
    assert note.endswith(f"ckpt_path={tmp_path}/a/checkpoints/best.ckpt data.root=FOLDER split=all")


def test_seeds_are_averaged_as_scipy_does(make_run: MakeRun) -> None:
    values = {1: 0.61, 2: 0.64, 3: 0.58}
    runs = [make_run(f"s{seed}", value=value, settings={"seed": seed}) for seed, value in values.items()]
    runs.append(make_run("other", value=0.7, settings={"seed": 1, "optimizer.lr": 0.01}))
    groups, _ = rank(runs)
    best, seeds = average_seeds(groups, ["optimizer.lr", "seed"])
    assert (best.mean, best.deviation, best.interval) == (pytest.approx(0.7), None, None)
    sample = np.array([*values.values()])
    expected = stats.t.interval(0.95, 2, loc=sample.mean(), scale=stats.sem(sample))
    assert (len(seeds.runs), seeds.mean, seeds.deviation) == (3, pytest.approx(0.61), pytest.approx(0.03))
    assert seeds.interval == pytest.approx(expected)
    assert seeds.image_sets == 1


def test_runs_that_agree_do_not_make_an_interval_of_no_width(make_run: MakeRun) -> None:
    runs = [make_run(f"s{seed}", value=0.5, settings={"seed": seed}) for seed in (1, 2)]
    (seeds,) = average_seeds(rank(runs)[0], ["seed"])
    assert (seeds.mean, seeds.deviation, seeds.interval) == (0.5, 0.0, None)


def test_what_else_a_sweep_optimised_is_weighed(make_run: MakeRun) -> None:
    def run(name: str, value: float, **costs: float) -> RecordedRun:
        values = {"val/acc": value, **costs}
        return make_run(name, value=value, status={"status": "finished", "values": values})

    (group,), _ = rank(
        [
            run("accurate", 0.9, latency=9.0, parameters=5e6),
            run("worse in all", 0.8, latency=9.5, parameters=5e6),
            run("small", 0.7, latency=9.5, parameters=1e6),
            run("fast", 0.6, latency=1.0, parameters=5e6),
            run("same", 0.6, latency=1.0, parameters=5e6),
            run("not timed", 0.5),
        ]
    )
    assert group.objectives == ["latency", "parameters"]
    assert [run.name for run in group.pareto_front] == ["accurate", "small", "fast", "same"]
    assert any("latency and parameters too" in said and said.endswith(": 1, 3, 4, 5.") for said in group.notes)
    table = ranking_table(Comparison((group,), (), {}, (), "", ()), group)
    assert table.headings[3] == "latency"
    assert [cells[3] for cells in table.rows] == ["9 ms", "9.5 ms", "9.5 ms", "1 ms", "1 ms", "–"]
    (plain,), _ = rank([make_run("a"), make_run("b")])
    assert (plain.objectives, plain.pareto_front) == ([], [])


def test_no_run_beats_the_front_and_some_run_beats_every_other(make_run: MakeRun) -> None:
    random = np.random.default_rng(0)
    points = random.integers(0, 6, size=(40, 2))
    status = {"status": "finished"}
    runs = [
        make_run(f"{at}", [True], value=float(a), status={**status, "values": {"val/acc": float(a), "latency": int(b)}})
        for at, (a, b) in enumerate(points)
    ]
    found = {int(run.name) for run in Group("A", tuple(runs), (None,) * 40).pareto_front}
    for at, (a, b) in enumerate(points):
        beaten = any((c >= a and d <= b) and (c > a or d < b) for c, d in points)
        assert beaten is (at not in found)


def test_seeds_that_also_chose_the_images_are_averaged_and_counted(make_run: MakeRun) -> None:
    runs = [
        make_run(f"s{seed}", value=0.5, settings={"seed": seed}, fingerprint=f"drawn-9-9-9-48px-1ch-seed{seed}")
        for seed in (1, 2)
    ]
    groups, _ = rank(runs)
    assert len(groups) == 2
    (seeds,) = average_seeds(groups, ["seed"])
    assert (len(seeds.runs), seeds.image_sets) == (2, 2)


def test_the_best_mean_of_a_loss_is_the_lowest(make_run: MakeRun) -> None:
    typed = {"monitor": "val/loss", "mode": "min"}
    runs = [make_run(f"{at}", value=at, settings={**typed, "optimizer.lr": at}) for at in (0.5, 0.3, 0.4)]
    found = average_seeds(rank(runs)[0], ["optimizer.lr"])
    assert [item.mean for item in found] == [0.3, 0.4, 0.5]
