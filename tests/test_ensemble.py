"""The verb from the command line, on runs that were really trained."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from sklearn.metrics import accuracy_score

from fer_lightning import ensemble, train
from fer_lightning.cli.command import run_task
from fer_lightning.core.errors import ConfigError
from fer_lightning.evaluation.metrics import class_names

WriteTree = Callable[[Path, Mapping[str, int]], Path]
TINY = (
    "data.synthetic={train: 28, validation: 42, test: 28}",
    "data.classes=[happy,sad]",  # fewer faces in the galleries, which take most of the time
    "data.image_size=16",
    "data.seed=5",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=1",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
JUDGED = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs that differ in their seed, scored on validation images."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2, 3):
        train.main([*TINY, f"seed={seed}", "split=validation", f"hydra.run.dir={folder / f'seed{seed}'}"])
    return folder


@pytest.fixture
def copied(runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(runs, tmp_path / "copied"))


def judge(runs: Path, out: Path, *words: str) -> dict[str, object]:
    ensemble.main([str(runs), *JUDGED, *words, f"hydra.run.dir={out}"])
    return json.loads((out / "metrics.json").read_text())


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        ensemble.main([*words, *JUDGED])
    return stop.value.code, capsys.readouterr().err


def read(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv").sort_values("path", ignore_index=True)


def best_of(runs: Path) -> list[Path]:
    """Folders, best first."""
    values = {run: json.loads((run / "metrics.json").read_text())["monitored"] for run in sorted(runs.iterdir())}
    return sorted(values, key=lambda run: -values[run])


def test_what_was_predicted_is_averaged(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = judge(runs, tmp_path / "out", "top=2")
    members = best_of(runs)[:2]
    tables = [read(member) for member in members]
    classes = list(class_names(tables[0]))
    mean = (tables[0][classes] + tables[1][classes]) / 2
    found = read(tmp_path / "out")
    np.testing.assert_allclose(found[classes], mean, atol=1e-8)
    guesses = np.array(classes)[mean.to_numpy().argmax(axis=1)]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(tables[0]["label"], guesses))
    single = accuracy_score(tables[0]["label"], tables[0]["predicted"])
    assert metrics["gain"] == pytest.approx(metrics["accuracy"] - single)  # type: ignore[operator]
    assert metrics["members"] == [member.name for member in members]
    assert (metrics["split"], metrics["selected_on"]) == ("validation", "validation")
    said = capsys.readouterr().out
    assert f"gain over {members[0].name}" in said
    assert "chosen on these same validation images" in said
    promised = (
        "report.html classification_report.csv confusion_matrix.png predictions.png mistakes.png environment.json"
    )
    assert [name for name in promised.split() if not (tmp_path / "out" / name).stat().st_size] == []


@pytest.mark.slow
def test_weights_of_the_best_runs_are_averaged(runs: Path, tmp_path: Path) -> None:
    metrics = judge(runs, tmp_path / "out", "top=2", "average=weights", "split=validation")
    assert {*metrics["members"]} == {str(run / "checkpoints/best.ckpt") for run in best_of(runs)[:2]}


def test_what_was_not_predicted_the_checkpoints_predict(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = judge(copied, tmp_path / "out", "top=3", "split=test")
    assert (metrics["split"], metrics["count"], metrics["same_data"]) == ("test", 8, True)
    assert "chosen on these same" not in capsys.readouterr().out
    assert set(read(tmp_path / "out")["split"]) == {"test"}
    assert (tmp_path / "out" / "predictions.png").exists()


def test_a_checkpoint_predicts_what_its_run_had_predicted(copied: Path, runs: Path, tmp_path: Path) -> None:
    before = judge(runs, tmp_path / "before")
    for run in copied.iterdir():
        (run / "predictions.csv").unlink()
    again = judge(copied, tmp_path / "again", "split=validation")
    assert again["accuracy"] == before["accuracy"]
    classes = list(class_names(read(tmp_path / "again")))
    np.testing.assert_allclose(read(tmp_path / "again")[classes], read(tmp_path / "before")[classes], atol=1e-6)


def test_galleries_are_left_out_where_the_images_are_gone(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(best_of(copied)[0] / "checkpoints")
    metrics = judge(copied, tmp_path / "out")
    assert metrics["count"] == 12
    assert not (tmp_path / "out" / "predictions.png").exists()
    assert (tmp_path / "out" / "report.html").exists()
    log = (tmp_path / "out" / "ensemble.log").read_text()
    assert "galleries of faces are left out: no checkpoint" in log
    assert "top=5, but 3 runs have a score: all of them are averaged" in log


def test_unfinished_runs_are_left_out(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "seed2" / "status.json").write_text('{"status": "failed"}')
    metrics = judge(copied, tmp_path / "two")
    assert set(metrics["members"]) == {"seed1", "seed3"}  # type: ignore[call-overload]
    assert "without seed2 (failed)" in (tmp_path / "two" / "ensemble.log").read_text()
    (copied / "seed3" / "status.json").write_text('{"status": "running"}')
    code, message = fail(capsys, str(copied), f"hydra.run.dir={tmp_path / 'one'}")
    assert (code, message) == (
        3,
        "error: an average needs two finished runs, and there is 1 among 3: name more folders\n",
    )


def test_what_cannot_be_averaged_is_told(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"hydra.run.dir={tmp_path / 'out'}"
    code, message = fail(capsys, str(copied), "split=test", "data.root=/nowhere", "data.layout=folders", out)
    assert code == 3
    assert "has no predictions of the test split: " in message
    best, other, _ = best_of(copied)
    shutil.rmtree(best / "checkpoints")
    shutil.rmtree(other / "checkpoints")
    code, message = fail(capsys, str(copied), "split=test", out)
    assert code == 2
    assert message.startswith(f"error: {best.name} has no predictions of the test split: no checkpoint at")
    table = other / "predictions.csv"
    pd.read_csv(table).iloc[1:].to_csv(table, index=False)
    metrics = other / "metrics.json"
    metrics.write_text(metrics.read_text().replace('"count": 12', '"count": 11'))
    code, message = fail(capsys, str(copied), out)
    assert code == 3
    assert "were not scored on the same images: of 12 and 11, 11 are the same" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", "path,split,label,predicted\na,validation,h"])
def test_damaged_predictions_are_made_again(copied: Path, runs: Path, tmp_path: Path, content: str) -> None:
    (best_of(copied)[1] / "predictions.csv").write_text(content)
    metrics = judge(copied, tmp_path / "out")
    assert metrics["accuracy"] == judge(runs, tmp_path / "whole")["accuracy"]
    assert "its checkpoint predicts again" in (tmp_path / "out" / "ensemble.log").read_text()


@pytest.mark.parametrize("typed", [[], ["data.max_pixels=64000000"]])
def test_images_are_read_under_the_limit_of_the_run(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], typed: list[str]
) -> None:
    for run in best_of(copied):
        config = run / ".hydra/config.yaml"
        config.write_text(re.sub("max_pixels: .*", "max_pixels: 0", config.read_text()))
        (run / "predictions.csv").unlink()
    words = (str(copied), *typed, f"hydra.run.dir={tmp_path / 'out'}")
    if typed:
        judge(copied, tmp_path / "out", *typed)
    else:
        assert "data.max_pixels=0" in fail(capsys, *words)[1]


def test_the_next_best_takes_the_place_of_a_run_that_cannot_predict(copied: Path, tmp_path: Path) -> None:
    best, *others = best_of(copied)
    (best / "predictions.csv").unlink()
    shutil.rmtree(best / "checkpoints")
    metrics = judge(copied, tmp_path / "out", "top=2")
    assert metrics["members"] == [run.name for run in others]
    assert f"left out: {best.name} has no predictions" in (tmp_path / "out" / "ensemble.log").read_text()


def test_runs_that_other_values_chose_are_not_mixed(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied / "seed1" / "metrics.json"
    path.write_text(path.read_text().replace('"val/acc"', '"val/loss"'))
    code, message = fail(capsys, str(copied), f"hydra.run.dir={tmp_path / 'out'}")
    assert code == 3
    assert "were not chosen by the same value" in message


def test_a_file_that_would_run_code_is_refused(
    copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "touched",))

    for run in best_of(copied)[:2]:
        torch.save({"fer_lightning": Evil()}, run / "checkpoints" / "best.ckpt")
    code, message = fail(capsys, str(copied), "split=test", f"hydra.run.dir={tmp_path / 'out'}")
    assert (code, "cannot be read as a checkpoint" in message) == (2, True)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("top=1", "top=1 must be at least 2"),
        ("top=many", "top=many is not a whole number"),
        ("split=tset", "split=tset is not one of train"),
        ("runs=a", r"runs=a is not a list of text; type 'runs=\[a\]'"),
    ],
)
def test_bad_settings_are_told(compose: Callable[..., DictConfig], typed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_task("comparison.ensembling:ensemble_runs", compose("ensemble", "trainer=cpu", "output_dir=out", typed))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("top=2", "runs is empty: type the folders of runs"),
        ("trainer.devices=2", "predict on one device: type trainer.devices=1"),
    ],
)
def test_what_is_missing_is_told(compose: Callable[..., DictConfig], typed: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_task("comparison.ensembling:ensemble_runs", compose("ensemble", "trainer=cpu", "output_dir=out", typed))


@pytest.mark.slow
def test_what_any_member_has_seen_is_left_out_of_other_data(
    flat_tree: Path, write_tree_of: WriteTree, tmp_path: Path
) -> None:
    """Two members divided the same pictures differently; then these are sorted into train and test by hand."""
    chosen = ("data.classes=[happy,sad]", f"data.cache_dir={tmp_path / 'cache'}", "data.image_size=16")
    own = [word for word in TINY if not word.startswith(("data.", "~"))]
    for seed in (1, 2):
        words = (
            f"data.root={flat_tree}",
            f"data.seed={seed}",
            "~callbacks.batch_preview",
            "~callbacks.validation_pictures",
        )
        train.main([*own, *chosen, *words, f"hydra.run.dir={tmp_path / f'runs/seed{seed}'}"])
    tested = [set(read(tmp_path / f"runs/seed{seed}")["path"]) for seed in (1, 2)]
    root = write_tree_of(
        tmp_path / "sorted", {f"{split}/{name}": 5 for split in ("a", "train") for name in ("happy", "sad")}
    )
    for name in ("happy", "sad"):
        new = [path.rename(path.with_name(f"new{path.name}")) for path in (root / "a" / name).iterdir()]
        for path in (flat_tree / "Data" / name.capitalize()).iterdir():
            shutil.copy(path, root / "a" / name)
        assert len(new) == 5
    (root / "a").rename(root / "test")
    metrics = judge(
        tmp_path / "runs", tmp_path / "out", "split=test", f"data.root={root}", f"data.cache_dir={tmp_path / 'cache'}"
    )
    both = {Path(path).name for path in tested[0] & tested[1]}
    scored = {Path(path).name for path in read(tmp_path / "out")["path"]}
    assert {name for name in scored if not name.startswith("new")} <= both
    assert metrics["count"] == 10 + len(tested[0] & tested[1])
    assert metrics["left_out_in_train"] + metrics.get("left_out_in_validation", 0) == 20 - len(tested[0] & tested[1])  # type: ignore[operator]
    assert (metrics["same_data"], metrics["duplicates_in_train"]) == (False, 0)
