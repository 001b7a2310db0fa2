"""The report of a run folder: complete, honest about its score, and safe whatever lies in the folder."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fer_lightning.core.errors import DataError
from fer_lightning.evaluation.canvas import save
from fer_lightning.evaluation.figures import plot_confusion, plot_curves
from fer_lightning.evaluation.metrics import classification_report, compute_metrics
from fer_lightning.runs.results import read_predictions_of, write_report, write_results

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects text, images and attributes; fails on tags that do not close."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"])
        self.links += [values[key] for key in ("href", "src", "data", "action") if values.get(key)]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.4, 0.4, 0.4], size=60)
    classes = ["happy", "sad", "fear"]
    predicted = [classes[k] for k in probabilities.argmax(axis=1)]
    labels = np.where(random.random(60) < 0.7, predicted, "happy")
    table = pd.DataFrame(
        {"path": [f"{k}.png" for k in range(60)], "split": "test", "label": labels, "predicted": predicted}
    )
    return table.join(pd.DataFrame(probabilities, columns=classes))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory, table: pd.DataFrame) -> Path:
    folder = tmp_path_factory.mktemp("report") / "10-20-30_small_cnn"
    (folder / ".hydra").mkdir(parents=True)
    facts = {"split": "test", "selected_on": "validation", "checkpoint": "checkpoints/best.ckpt", "epoch": 7}
    (folder / "metrics.json").write_text(json.dumps(compute_metrics(table) | facts))
    classification_report(table).to_csv(folder / "classification_report.csv")
    history = pd.DataFrame({"epoch": [0, 1], "train/loss": [2.0, 1.5], "val/loss": [1.9, 1.6], "val/acc": [0.3, 0.4]})
    history.to_csv(folder / "history.csv", index=False)
    (folder / "environment.json").write_text(json.dumps({"versions": {"torch": "2.6"}, "gpus": [], "git": None}))
    (folder / ".hydra" / "config.yaml").write_text("seed: 0\n")
    save(plot_curves(history), folder / "curves.png", dpi=40)
    save(plot_confusion(table), folder / "confusion_matrix.png", dpi=40)
    return folder


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return Path(shutil.copytree(finished_run, tmp_path / finished_run.name))


def write_metrics(folder: Path, **changes: object) -> None:
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_complete_run(run: Path, table: pd.DataFrame) -> None:
    target = write_report(run)
    page = Page(target)
    metrics = compute_metrics(table)
    assert target == run / "report.html"
    assert [file.name for file in run.glob("*report.html*")] == ["report.html"]
    assert f"{100 * metrics['accuracy']:.1f} % accuracy" in page.text
    assert f"{100 * metrics['accuracy_interval'][0]:.1f} to {100 * metrics['accuracy_interval'][1]:.1f} %" in page.text
    for expected in ("Test score", "10-20-30_small_cnn", "macro average", "versions.torch", "seed: 0", "best.ckpt"):
        assert expected in page.text
    assert "Not on this page" not in page.text
    assert "Interrupted" not in page.text
    inlined = [base64.b64decode(image.removeprefix("data:image/png;base64,")) for image in page.images]
    assert inlined == [(run / name).read_bytes() for name in ("curves.png", "confusion_matrix.png")]


def test_page_is_self_contained(run: Path) -> None:
    page = Page(write_report(run))
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    style = re.search(r"<style>(.*?)</style>", (run / "report.html").read_text(), re.DOTALL)[1]
    assert "url(" not in style
    assert "@import" not in style
    for query in ("prefers-color-scheme: dark", "max-width: 640px", "@media print"):
        assert query in style


def test_twice_gives_the_same_page(run: Path) -> None:
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first


def test_score_is_called_what_it_is(run: Path) -> None:
    write_metrics(run, split="validation", selected_on="validation")
    text = Page(write_report(run)).text
    assert "\nValidation score\n" in text
    assert "it is not a test score" in text


def test_interrupted_run_says_so(run: Path) -> None:
    write_metrics(run, interrupted=True)
    text = Page(write_report(run)).text
    assert "Interrupted run." in text
    assert "The weights are those of epoch 7." in text
    (run / "metrics.json").write_text('{"interrupted": true}')
    text = Page(write_report(run)).text
    assert "Interrupted run." in text
    assert "This run was not scored." in text


def test_empty_folder(tmp_path: Path) -> None:
    text = Page(write_report(tmp_path)).text
    assert "This run was not scored." in text
    for part in ("metrics.json", "classification_report.csv", "history.csv", "environment.json", ".hydra/config.yaml"):
        assert f"{part} is missing" in text


@pytest.mark.parametrize("part", ["metrics.json", "classification_report.csv", "history.csv", "environment.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"[1, 2"], ids=["empty", "binary", "half"])
def test_damaged_part_is_named_and_the_rest_shown(run: Path, part: str, content: bytes) -> None:
    (run / part).write_bytes(content)
    page = Page(write_report(run))
    assert len(page.images) == 2
    if not (part.endswith(".csv") and content == b"[1, 2"):  # pandas takes that for a header
        assert f"{part} cannot be read" in page.text


def test_heat_maps_are_shown_beside_the_area_of_each_part(run: Path) -> None:
    assert "Where the network looks" not in Page(write_report(run)).text
    shares = {"happy": {"images": 12, "eyes": 0.1, "mouth": 0.9}, "<sad>": {"images": 0, "eyes": None, "mouth": None}}
    record = {"method": "occlusion", "split": "validation", "epoch": 7, "areas": {"eyes": 0.25, "mouth": 0.75}}
    (run / "heat_maps.json").write_text(json.dumps(record | {"classes": shares}))
    text = Page(write_report(run)).text.split("Where the network looks")[1].split("Figures")[0]
    for expected in ("area of the part", "25 %", "75 %", "10 %", "90 %", "<sad>", "–", "epoch 7", "Zeiler"):
        assert expected in text


@pytest.mark.parametrize("content", ["[1]", '{"areas": 3}', '{"classes": {"happy": 3}}', '{"epoch": "first"}', "{"])
def test_damaged_heat_maps_are_named_and_the_rest_shown(run: Path, content: str) -> None:
    (run / "heat_maps.json").write_text(content)
    text = Page(write_report(run)).text
    assert "heat_maps.json cannot be read" in text
    assert "Where the network looks" not in text


def test_half_written_figure_is_left_out(run: Path) -> None:
    (run / "curves.png").write_bytes((run / "curves.png").read_bytes()[:500])
    page = Page(write_report(run))
    assert len(page.images) == 1
    assert "curves.png cannot be read (it is no complete PNG)" in page.text


def test_per_class_table_falls_back_on_metrics(run: Path) -> None:
    (run / "classification_report.csv").unlink()
    text = Page(write_report(run)).text
    assert "Each class" in text
    assert "macro average" not in text


def test_strings_of_the_user_are_escaped(run: Path) -> None:
    evil = '<script>alert("1")</script>'
    folder = run.rename(run.with_name("<b>&run"))
    per_class = {evil: {"precision": 0.5, "recall": None, "f1": 0.5, "support": 60, "predicted": 3, "roc_auc": None}}
    write_metrics(folder, split=evil, selected_on=evil, checkpoint=evil, epoch=evil, interrupted=True, data=evil,
                  per_class=per_class, **{evil: [evil]})  # fmt: skip
    (folder / "classification_report.csv").write_text('class,f1,"<i>x"\n"<b>mad",0.5,<u>\n')
    (folder / "history.csv").write_text("epoch,<i>\n0,<u>\n")
    (folder / "environment.json").write_text(json.dumps({evil: {evil: evil}}))
    (folder / ".hydra" / "config.yaml").write_text(evil)
    (folder / "curves.png").rename(folder / "<img onerror=alert(1)>.png")
    page = Page(write_report(folder))
    assert not {"script", "u"} & set(page.tags)
    assert page.text.count(evil) >= 8
    html = (folder / "report.html").read_text()
    for raw in ("<script", "<b>mad", "<i>x", "<u>", "<img onerror", "<b>&run"):
        assert raw not in html


def test_one_class_and_nulls(run: Path) -> None:
    write_metrics(run, roc_auc_macro=None, accuracy_interval=None, f1_macro_interval=None, per_class={}, count=1)
    text = Page(write_report(run)).text
    assert "ROC-AUC" not in text.split("Each class")[0]
    assert "always answering" not in text


def test_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run folder .*nowhere"):
        write_report(tmp_path / "nowhere")


def test_names_that_are_not_utf8_pass_through_every_file(tmp_path: Path, table: pd.DataFrame) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    table = table.assign(path=[name, *table["path"][1:]])
    write_results(table, None, tmp_path, split="test", data=f"of {name}", checkpoint=name)
    assert b"\ncaf\xe9.png," in (tmp_path / "predictions.csv").read_bytes()
    assert read_predictions_of(tmp_path, "test")["path"].tolist() == table["path"].tolist()
    assert json.loads((tmp_path / "metrics.json").read_bytes().decode("ascii"))["checkpoint"] == name
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count(r"of caf\xe9.png") == 1
