"""One bad run folder, whatever is wrong with it, becomes a row that says why; the others are compared."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_lightning.comparison.comparison import Comparison, compare, tabulate
from fer_lightning.comparison.report import render
from fer_lightning.comparison.tables import outcomes_table, ranking_table
from fer_lightning.core.file_names import ON_DISK
from fer_lightning.runs.read import read_run
from fer_lightning.runs.results import write_report

WriteRun = Callable[..., Path]
RIGHT = [True, True, False, True]
FILES = ("predictions.csv", "metrics.json", "status.json", "history.csv", "environment.json", ".hydra/config.yaml",
         ".hydra/overrides.yaml")  # fmt: skip
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
CONTENTS = (
    b"", b"\0" * 100, b"\xff\xfe{", b"[]", b"null", b"{}", b"1", b'"x"', b"[" * 10_000, b'{"a":' * 10_000,
    b"a,b\n1,2\n", b"epoch\nx\n", b"epoch,val/acc\n1,x\n", b"epoch\n1e999\n", b"epoch\n", b"- a\n",
    b"path,split,label,predicted\n", b"path,split,label,predicted\na,b,c\n", b"<html>", BOMB.encode(),
    b"a: &x {b: *x}\n", b"? {a: b}\n: c\n", b"optimizer: 3\n", b"optimizer: {lr: .nan}\n",
    b"optimizer: {lr: 1" + b"0" * 400 + b"}\n", b"seed: 2020-01-01\n",
)  # fmt: skip
VALUES = (None, True, -1, 1e308, 10**400, float("nan"), float("inf"), "x", [1], {}, {"a": 1}, [[]], "\0\udce9\ud800")


def everything(comparison: Comparison) -> str:
    """Make all that is shown of a comparison but the figures, and return the page."""
    tabulate(comparison).to_csv(os.devnull, errors=ON_DISK)
    for group in comparison.groups:
        ranking_table(comparison, group)
    outcomes_table(comparison)
    return render(comparison, "runs", {}, 30)


@pytest.fixture
def runs(tmp_path: Path, write_run: WriteRun) -> Path:
    """Two whole runs, good and fine, and one to be damaged."""
    for number, name in enumerate(("bad", "fine", "good")):
        status = {"status": "finished", "values": {"val/acc": 0.75}, "seconds": 3.0, "overrides": ["seed=1"]}
        settings = {"seed": number, "optimizer.lr": 0.1 * (number + 1)}
        write_run(tmp_path / "runs" / name, RIGHT, status=status, settings=settings)
    return tmp_path / "runs"


def check(runs: Path, *, pages: bool = True) -> None:
    """The whole runs are ranked, and all pages are made, which takes the longest."""
    found = compare([runs])
    assert {"good", "fine"} <= {run.name for group in found.groups for run in group.runs}
    tabulate(found)
    if pages:
        assert "good" in everything(found)
        write_report(runs / "bad")


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_anything(runs: Path, name: str) -> None:
    file = runs / "bad" / name
    for at, content in enumerate(CONTENTS):
        file.write_bytes(content)
        check(runs, pages=at % 12 == 0)
    file.unlink()
    file.mkdir()
    check(runs)
    file.rmdir()
    os.mkfifo(file)
    check(runs)


@pytest.mark.parametrize("name", ["metrics.json", "status.json", "environment.json"])
def test_any_value_at_any_key(runs: Path, name: str) -> None:
    file = runs / "bad" / name
    whole = json.loads(file.read_text())
    for at, (key, value) in enumerate((key, value) for key in whole for value in VALUES):
        file.write_text(json.dumps({**whole, key: value}))
        check(runs, pages=at % 47 == 0)


def test_files_with_bytes_changed_and_ends_cut_off(runs: Path) -> None:
    """Seeded, so that a failure repeats; FER_LIGHTNING_FUZZ sets how many."""
    draw, whole = random.Random(0), {name: (runs / "bad" / name).read_bytes() for name in FILES}
    for turn in range(int(os.environ.get("FER_LIGHTNING_FUZZ", "40"))):
        name = draw.choice(FILES)
        content = bytearray(whole[name])
        for _ in range(draw.choice((0, 1, 3, 20))):
            at = draw.randrange(len(content))
            pieces = (bytes([draw.randrange(256)]), b"", b"\0", b"9" * 400, b"[", b"}", b'"', b"\n", b",", b"-1e400")
            content[at : at + draw.choice((0, 1, 5))] = draw.choice(pieces)
        (runs / "bad" / name).write_bytes(content[: draw.choice((len(content), draw.randrange(len(content) + 1)))])
        check(runs, pages=turn % 13 == 0)
        (runs / "bad" / name).write_bytes(whole[name])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("metrics.json", '{"accuracy": "high"}', "metrics.json cannot be read (accuracy is no number)"),
        ("metrics.json", '{"monitored": ', "metrics.json cannot be read ("),
        ("history.csv", "a,b\n1,2\n", "history.csv cannot be read (it has no column epoch)"),
        ("predictions.csv", "path,split,label,predicted\na,b,c\n", "predictions.csv cannot be read (a row is cut off)"),
        ("status.json", "{", "status.json cannot be read"),
        (".hydra/config.yaml", "a: &x {b: *x}", ".hydra/config.yaml cannot be read (it is no YAML: it holds aliases)"),
    ],
)
def test_the_row_says_why(runs: Path, name: str, content: str, said: str) -> None:
    (runs / "bad" / name).write_text(content)
    assert said in " ".join(read_run(runs / "bad", "bad").notes)
    assert said in " ".join(compare([runs]).notes)


def test_predictions_that_lost_whole_rows_are_not_compared_image_by_image(runs: Path) -> None:
    lines = (runs / "bad" / "predictions.csv").read_text().splitlines(keepends=True)
    (runs / "bad" / "predictions.csv").write_text("".join(lines[:-1]))
    run = read_run(runs / "bad", "bad")
    assert run.scored is None
    assert "it holds 3 images, and metrics.json counts 4" in " ".join(run.notes)


def test_a_class_may_be_called_none(runs: Path) -> None:
    file = runs / "bad" / "predictions.csv"
    file.write_text(file.read_text().replace("sad", "None"))
    scored = read_run(runs / "bad", "bad").scored
    assert scored is not None
    assert scored.correct.tolist() == RIGHT


def test_a_folder_of_links_to_itself_ends(runs: Path) -> None:
    shutil.rmtree(runs / "bad")
    (runs / "bad").symlink_to(runs)
    assert {run.name for run in compare([runs]).runs} == {"fine", "good"}
