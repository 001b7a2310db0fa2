"""A whole comparison: what is found, the CSV file, the page, the figures and the terminal."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from fer_lightning.comparison import formatting
from fer_lightning.comparison.comparison import Comparison, compare, describe, label, tabulate
from fer_lightning.comparison.report import draw, render
from fer_lightning.comparison.terminal import print_comparison

WriteRun = Callable[..., Path]
FAILED = {"status": "failed", "reason": "out of memory", "message": "CUDA <out> of memory", "attempts": 2, "seconds": 7}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, write_run: WriteRun) -> Path:
    """Nine finished runs, three rates by three seeds; one failed, one pruned, one that could not be composed."""
    folder, random = tmp_path_factory.mktemp("sweep"), np.random.default_rng(0)
    for at in range(9):
        rate, seed = (1e-2, 1e-3, 1e-4)[at // 3], at % 3 + 1
        typed = {"optimizer.lr": rate, "seed": seed}
        right = random.random(60) < (0.5, 0.8, 0.6)[at // 3]
        status = {
            "status": "finished",
            "values": {"val/acc": float(right.mean()), "latency": 2.5},
            "seconds": 90.0 + at,
        }
        write_run(folder / f"{at}_optimizer.lr={rate},seed={seed}", right, settings=typed, status=status)
    write_run(folder / "9_failed", status=FAILED, settings={"optimizer.lr": 1.0})
    write_run(folder / "10_pruned", status={"status": "pruned", "message": "no hope"}, epochs=1)
    (folder / "11_odd").mkdir()
    typed_only = {
        "status": "failed",
        "reason": "configuration",
        "message": "there is no setting",
        "overrides": ["modle=<x>"],
    }
    (folder / "11_odd" / "status.json").write_text(json.dumps(typed_only))
    return folder


@pytest.fixture(scope="module")
def found(sweep: Path) -> Comparison:
    return compare([sweep])


def printed(comparison: Comparison, folder: Path, rows: int = 30, **options: object) -> str:
    out = io.StringIO()
    print_comparison(comparison, folder, rows, Console(file=out, **options))
    return out.getvalue()


def test_a_sweep_is_taken_apart(found: Comparison) -> None:
    assert describe(found) == "12 runs: 9 finished, 2 failed, 1 pruned"
    (group,) = found.groups
    values = [run.value for run in group.runs]
    assert values == sorted(values, reverse=True)
    assert found.keys == {"optimizer.lr": "lr", "seed": "seed"}
    assert [run.name for run in found.unranked] == ["9_failed", "10_pruned", "11_odd"]
    best = found.seed_groups[0]
    assert ({run.settings.values["optimizer.lr"] for run in best.runs}, len(best.runs)) == ({0.001}, 3)
    assert not isinstance(found.importance, str)
    assert found.importance.keys[0] == "optimizer.lr"


def test_the_csv_file_has_every_run_and_every_number(found: Comparison) -> None:
    table = tabulate(found)
    assert len(table) == 12
    best = table.iloc[0]
    run = found.groups[0].best
    assert (best["rank"], best["group"], best["folder"]) == (1, "A", str(run.folder))
    assert best["monitored"] == run.value
    assert (best["latency"], best["epochs"], best["best_epoch"]) == (2.5, 3, 2)
    assert table["optimizer.lr"].iloc[:9].value_counts().to_dict() == {0.01: 3, 0.001: 3, 0.0001: 3}
    gaps = table["accuracy"].iloc[1:9] - best["accuracy"]
    np.testing.assert_allclose(table["difference_value"].iloc[1:9], gaps)
    assert list(table["status"].iloc[9:]) == ["failed", "pruned", "failed"]
    assert "hydra.run.dir" not in best["command"]


class Page(HTMLParser):
    """Collects what a page would load or run, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_holds_everything_and_loads_nothing(found: Comparison, tmp_path: Path) -> None:
    figures = draw(found, tmp_path)
    assert set(figures) == {"parallel", "importance", "curves"}
    assert all((tmp_path / f"{stem}.png").read_bytes() == data for stem, data in figures.items())
    html = render(found, "my sweep", figures, 5)
    page = Page()
    page.feed(html)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "default-src 'none'" in html
    assert "url(" not in html
    for part in ("4 more", "is optimistic", "Over seeds", "CUDA <out> of memory", "modle=<x>", "failed: out of memory"):
        assert part in page.text, part
    assert "<out>" not in html
    assert f"{found.groups[0].best.metrics['accuracy']:.1%}".replace("%", " %") in page.text


def test_the_terminal_says_the_same_and_cuts_long_tables(found: Comparison, tmp_path: Path) -> None:
    text = printed(found, tmp_path, rows=4)
    assert "… and 5 more" in text
    assert "failed: out of memory" in text
    assert "python -m fer_lightning.train optimizer.lr=0.001" in text
    assert max(map(len, text.splitlines())) > 100  # a pipe has no width
    (line,) = [line for line in text.splitlines() if re.match(r" *1 ", line)]
    assert formatting.score("val/acc", found.groups[0].best.value) in line


def test_a_narrow_terminal_does_without_some_columns(found: Comparison, tmp_path: Path) -> None:
    wide = printed(found, tmp_path, width=200, force_terminal=True, color_system=None)
    narrow = printed(found, tmp_path, width=90, force_terminal=True, color_system=None)
    assert "macro-F1" in wide
    assert "macro-F1" not in narrow
    assert "to the best" in narrow
    table = [line for line in narrow.splitlines() if re.match(r"[ \d]*[│┃]", line)]
    assert max(map(len, table)) <= 90


def test_one_run_alone_is_no_comparison_but_a_page(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "only", [True, False])
    found = compare([tmp_path])
    assert set(draw(found, tmp_path)) == {"curves"}
    assert found.importance == "Importance of settings: needs 8 finished runs on the same images, and there are 1."
    html = render(found, "one", {}, 30)
    assert "optimistic" not in html
    assert "Over seeds" not in html
    assert label(found.groups[0].best, found.columns(*found.groups)) == "only"
    assert "1 run: 1 finished" in printed(found, tmp_path)


def test_runs_that_lack_files_are_named_and_kept(tmp_path: Path, write_run: WriteRun) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, [True, False, True], settings={"seed": ord(name)})
    (tmp_path / "b" / "history.csv").unlink()
    (tmp_path / "b" / ".hydra" / "config.yaml").unlink()
    found = compare([tmp_path])
    assert "b: .hydra/config.yaml is missing, history.csv is missing." in found.notes
    assert len(found.groups[0].runs) == 2
    assert "history.csv is missing" in render(found, "x", draw(found, tmp_path), 30)
    assert len(tabulate(found)) == 2


def test_groups_are_told_apart_everywhere(tmp_path: Path, write_run: WriteRun) -> None:
    write_run(tmp_path / "a", [True, False, True])
    write_run(tmp_path / "b", [True, False])
    found = compare([tmp_path])
    assert any("2 groups (A, B) that are not ranked with each other" in note for note in found.notes)
    html, text = render(found, "x", {}, 30), printed(found, tmp_path)
    for group in found.groups:
        assert group.title in html
        assert group.title in text
    assert list(tabulate(found)["rank"]) == [1, 1]


def test_a_seed_that_chose_the_images_is_pointed_out(tmp_path: Path, write_run: WriteRun) -> None:
    for seed in (1, 2):
        write_run(
            tmp_path / str(seed), [True, False], settings={"seed": seed}, fingerprint=f"drawn-9-2-9-48px-1ch-seed{seed}"
        )
    assert any("data.seed=42" in note for note in compare([tmp_path]).notes)


def test_hundreds_of_runs_are_drawn_and_thinned(tmp_path: Path, write_run: WriteRun) -> None:
    random = np.random.default_rng(0)
    for at in range(160):
        typed = {"optimizer.lr": float(10 ** random.uniform(-5, -1)), "model.backbone": ["vgg16", "small_cnn"][at % 2]}
        write_run(tmp_path / f"{at}", random.random(8) < 0.5, settings=typed)
    found = compare([tmp_path])
    assert len(found.groups[0].runs) == 160
    figures = draw(found, tmp_path / "out")
    assert max(map(len, figures.values())) < 2_000_000
    html = render(found, "x", {}, 30)
    assert html.count("<tr") >= 160
    assert "130 more" in html


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (formatting.score("val/loss", 0.12345), "0.1235"),
        (formatting.score("val/acc", 0.12345), "12.3 %"),
        (formatting.score("val/acc", None), "–"),
        (formatting.percent(0.5, [0.4, 0.6]), "50.0 % (40.0–60.0)"),
        (formatting.signed(-0.0123), "−1.2"),
        (formatting.signed(-0.0001), "0.0"),
        (formatting.count(1_174_439), "1.17 M"),
        (formatting.count(950), "950"),
        (formatting.duration(45.2), "45 s"),
        (formatting.duration(600), "10 min"),
        (formatting.duration(9000), "2.5 h"),
    ],
)
def test_numbers_are_written_as_people_read_them(made: str, text: str) -> None:
    assert made == text


def test_the_csv_file_can_be_read_back(found: Comparison, tmp_path: Path) -> None:
    tabulate(found).to_csv(tmp_path / "compare.csv", index=False)
    again = pd.read_csv(tmp_path / "compare.csv")
    np.testing.assert_allclose(again["accuracy"].dropna(), tabulate(found)["accuracy"].dropna().astype(float))
