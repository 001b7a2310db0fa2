"""The main program, end to end on small drawn faces."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig
from sklearn.metrics import accuracy_score, f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.cli.command import run_task
from fer_lightning.core.errors import CheckpointError, ConfigError, DataError
from fer_lightning.data.synthetic.dataset import write_tree
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.build import build_data

Compose = Callable[..., DictConfig]
TINY = (
    "data.synthetic={train: 56, validation: 21, test: 21}",
    "data.image_size=16",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
)

QUICK = (*TINY, "~callbacks.batch_preview", "~callbacks.validation_pictures", "trainer.max_epochs=1")
JUDGED = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")


def train(cfg: DictConfig) -> float | None:
    value: float | None = run_task("training.run:train", cfg)
    return value


def evaluate(cfg: DictConfig) -> None:
    run_task("training.evaluate_checkpoint:evaluate", cfg)


def run_program(folder: Path, *overrides: str, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fer_lightning.train", *TINY, f"hydra.run.dir={folder}", *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=folder.parent
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, compose: Compose) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(compose("train", *TINY, f"output_dir={folder}"))
    return folder


def test_a_run_leaves_everything_it_promises(finished: Path) -> None:
    promised = """
        checkpoints/best.ckpt checkpoints/last.ckpt csv/metrics.csv environment.json report.html augmentation.json
        metrics.json classification_report.csv predictions.csv history.csv
        curves.png confusion_matrix.png predictions.png mistakes.png batch.png
    """
    missing = [name for name in promised.split() if not (finished / name).stat().st_size]
    assert missing == []
    record = json.loads((finished / "environment.json").read_text())
    assert record["versions"]["torch"]
    assert record["data"]["fingerprint"]
    assert record["machine"]["precision"] == "32-true"


def test_metrics_follow_from_the_predictions_table(finished: Path) -> None:
    table = pd.read_csv(finished / "predictions.csv")
    metrics = json.loads((finished / "metrics.json").read_text())
    assert list(table)[:4] == ["path", "split", "label", "predicted"]
    assert (len(table), set(table["split"])) == (21, {"test"})
    assert table["path"].is_unique
    np.testing.assert_allclose(table.iloc[:, 4:].sum(axis=1), 1, atol=1e-4)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(table["label"], table["predicted"]), abs=1e-6)
    assert metrics["f1_macro"] == pytest.approx(f1_score(table["label"], table["predicted"], average="macro"), abs=1e-6)
    assert (metrics["selected_on"], metrics["checkpoint"]) == ("validation", "checkpoints/best.ckpt")
    best = torch.load(finished / "checkpoints/best.ckpt", weights_only=True)
    history = pd.read_csv(finished / "history.csv").set_index("epoch")
    assert metrics["epoch"] == best["epoch"] + 1 == history["val/acc"].idxmax()
    assert metrics["monitored"] == pytest.approx(history["val/acc"].max())


def test_tensorboard_shows_scalars_pictures_text_and_hyperparameters(finished: Path) -> None:
    events = EventAccumulator(str(finished / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    wanted = {"train/loss", "train/acc", "val/loss", "val/acc", "val/f1_macro", "final/test/acc"}
    assert wanted <= set(tags["scalars"])
    assert len(events.Scalars("val/acc")) == 2
    assert any(tag.startswith("lr-") for tag in tags["scalars"])
    assert {"training batch", "validation/confusion", "validation/examples"} <= set(tags["images"])
    assert len(events.Images("validation/confusion")) == 2
    assert any("config" in tag for tag in tags["tensors"])
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_the_same_seed_gives_the_same_run_and_another_does_not(compose: Compose, tmp_path: Path) -> None:
    weights = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(compose("train", *QUICK, "logger=none", f"seed={seed}", "data.seed=5", f"output_dir={tmp_path / name}"))
        weights.append(torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    first, second, other = ({key: value.float() for key, value in state.items()} for state in weights)
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("schedule", [pytest.param("none", marks=pytest.mark.slow), "plateau"])
def test_a_resumed_run_is_the_unbroken_one(compose: Compose, tmp_path: Path, schedule: str) -> None:
    # no accuracy doubles each epoch, so that a plateau cuts the learning rate after each but the first
    falling = ("scheduler.patience=0", "scheduler.threshold=1") if schedule == "plateau" else ()
    options = (*QUICK, f"scheduler={schedule}", *falling, "model.mixup=0.2", "callbacks=ema", "callbacks.ema.decay=0.9")
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    train(compose("train", *options, "trainer.max_epochs=3", f"output_dir={straight}"))
    train(compose("train", *options, "trainer.max_epochs=1", f"output_dir={resumed}"))
    last = resumed / "checkpoints/last.ckpt"
    train(compose("train", *options, "trainer.max_epochs=3", f"output_dir={resumed}", f"ckpt_path={last}"))
    rates = pd.read_csv(straight / "history.csv")["lr"].tolist()
    assert rates == ([1e-3, 1e-3, 5e-4] if schedule == "plateau" else [1e-3] * 3)
    for file in ("history.csv", "csv/metrics.csv"):
        expected, actual = (pd.read_csv(folder / file) for folder in (straight, resumed))
        pd.testing.assert_frame_equal(actual[sorted(actual)], expected[sorted(expected)], check_exact=False, rtol=1e-5)
    states = [
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in (straight, resumed)
    ]
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, msg=name)
    events = EventAccumulator(str(resumed / "tensorboard")).Reload()
    assert [event.value for event in events.Scalars("epoch")][-1] == 2.0
    assert len(events.Scalars("val/acc")) == 3


def test_one_batch_can_be_learnt_by_heart(compose: Compose, tmp_path: Path) -> None:
    options = ("augmentation=none", "model.drop_rate=0", "scheduler=none", "callbacks=none", "logger=none")
    limits = ("trainer.overfit_batches=1", "trainer.limit_val_batches=0", "trainer.max_epochs=12")
    cfg = compose("train", *TINY, *options, *limits, f"output_dir={tmp_path}")
    from fer_lightning.training.run import TrainingRun

    run = TrainingRun(cfg)
    run.fit()
    assert run.trainer.callback_metrics["train/acc"] == 1.0


@pytest.mark.slow
def test_two_ranks_score_each_image_once(compose: Compose, tmp_path: Path) -> None:
    folder = tmp_path / "ddp"
    program = run_program(folder, "trainer.strategy=ddp", "trainer.devices=2")
    output, _ = program.communicate(timeout=180)
    assert program.returncode == 0, output
    table = pd.read_csv(folder / "predictions.csv")
    assert len(table) == 21
    assert table["path"].is_unique
    metrics = json.loads((folder / "metrics.json").read_text())
    best = f"ckpt_path={folder / 'checkpoints/best.ckpt'}"
    evaluate(compose("evaluate", best, *JUDGED, f"output_dir={tmp_path / 'again'}"))
    again = json.loads((tmp_path / "again/metrics.json").read_text())
    for key in ("accuracy", "f1_macro", "ece", "loss", "roc_auc_macro"):
        assert metrics[key] == pytest.approx(again[key], abs=1e-6), key
    for name, scores in metrics["per_class"].items():
        assert scores == pytest.approx(again["per_class"][name], abs=1e-6), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "ddp"]


@pytest.mark.slow
def test_ctrl_c_keeps_the_checkpoint_and_writes_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    program = run_program(folder, "trainer.max_epochs=500", "callbacks.early_stopping.patience=500")
    deadline = time.monotonic() + 120
    while not (folder / "checkpoints/last.ckpt").exists() and program.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    program.send_signal(signal.SIGINT)
    output, _ = program.communicate(timeout=120)
    assert program.returncode == 130, output
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert (folder / "report.html").exists()
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["epoch"] < 499


BAD = [
    (["data.root={tmp}/nowhere"], DataError, "no such"),
    (["data=folders", "data.root={tmp}"], DataError, "data.root"),
    (["ckpt_path={tmp}/missing.ckpt"], CheckpointError, "missing.ckpt"),
    (["data.batch_size=0"], ConfigError, "batch_size"),
    (["augmentation.flip=2"], ConfigError, "flip"),
    (["model.backbone=resnet51"], ConfigError, "resnet50"),
    (["trainer.precision=17"], ConfigError, "17"),
    (["loss.class_weights=invers"], ConfigError, "inverse"),
    (["data.classes=[happy, sd]"], ConfigError, "sad"),
    (["optimizer.lr=-1"], ConfigError, "lr|learning rate"),
]


@pytest.mark.parametrize(("overrides", "error", "text"), BAD, ids=[" ".join(case[0]) for case in BAD])
def test_bad_input_is_answered_in_one_message(
    compose: Compose, tmp_path: Path, overrides: list[str], error: type[Exception], text: str
) -> None:
    words = [word.format(tmp=tmp_path) for word in overrides]
    with pytest.raises(error, match=text):
        train(compose("train", *TINY, *words, f"output_dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_other_classes_is_refused(compose: Compose, tmp_path: Path, finished: Path) -> None:
    last = f"ckpt_path={finished / 'checkpoints/last.ckpt'}"
    with pytest.raises(CheckpointError, match="cannot be continued: classes was"):
        train(compose("train", *TINY, "data.classes=[happy, sad]", last, f"output_dir={tmp_path / 'a'}"))
    cfg = compose("evaluate", "data.merge={bad: [angry, sad]}", last, f"output_dir={tmp_path / 'b'}")
    with pytest.raises(CheckpointError, match="knows angry"):
        evaluate(cfg)


def test_evaluate_repeats_the_score_of_train(compose: Compose, tmp_path: Path, finished: Path) -> None:
    best = f"ckpt_path={finished / 'checkpoints/best.ckpt'}"
    evaluate(compose("evaluate", best, *JUDGED, f"output_dir={tmp_path}"))
    again, before = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path, finished))
    assert again["split"] == "test"
    for key in ("accuracy", "f1_macro", "ece", "loss", "count", "per_class"):
        assert again[key] == before[key]


def test_the_views_of_an_image_are_averaged_and_it_is_said(
    compose: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str], finished: Path
) -> None:
    checkpoint = finished / "checkpoints/best.ckpt"
    evaluate(compose("evaluate", f"ckpt_path={checkpoint}", *JUDGED, "views=flip", f"output_dir={tmp_path}"))
    name = "Test score (mean of each image and its mirror image)"
    assert f"{name}: accuracy" in capsys.readouterr().out
    assert name in (tmp_path / "report.html").read_text()
    assert json.loads((tmp_path / "metrics.json").read_text())["views"] == "flip"
    found, before = (pd.read_csv(folder / "predictions.csv") for folder in (tmp_path, finished))
    data = build_data(compose("train", *TINY))
    by_path = {path: row for row, path in enumerate(data.table.paths)}
    images = torch.from_numpy(data.images(np.array([by_path[path] for path in found["path"]])))
    model = Checkpoint.read(checkpoint).build()
    with torch.no_grad():
        expected = torch.stack([model(view).softmax(dim=1) for view in (images, images.flip(-1))]).mean(dim=0)
    np.testing.assert_allclose(found.iloc[:, -7:], expected, atol=1e-5)
    assert not np.allclose(found.iloc[:, -7:], before.iloc[:, -7:], atol=1e-3)


def test_a_run_scores_its_best_weights_as_evaluate_does(compose: Compose, tmp_path: Path) -> None:
    train(compose("train", *QUICK, "logger=none", "views=ten_crop", f"output_dir={tmp_path / 'run'}"))
    best = f"ckpt_path={tmp_path / 'run/checkpoints/best.ckpt'}"
    evaluate(compose("evaluate", best, *JUDGED, "views=ten_crop", f"output_dir={tmp_path / 'again'}"))
    one, two = ((tmp_path / name / "predictions.csv").read_text() for name in ("run", "again"))
    assert one == two
    assert json.loads((tmp_path / "run/metrics.json").read_text())["views"] == "ten_crop"


def write_flat(root: Path) -> Path:
    write_tree(root, layout="flat", per_class=20, image_size=16)
    return root


def test_evaluate_finds_the_splits_of_training_again(compose: Compose, tmp_path: Path) -> None:
    data = (f"data.root={write_flat(tmp_path / 'data')}", f"data.cache_dir={tmp_path / 'cache'}")
    cut = ("logger=none", "data.seed=7", "data.split=[0.6, 0.2, 0.2]")
    train(compose("train", *QUICK, *data, *cut, f"output_dir={tmp_path / 'run'}"))
    last = f"ckpt_path={tmp_path / 'run/checkpoints/last.ckpt'}"
    evaluate(compose("evaluate", last, *JUDGED, *data, "split=test", f"output_dir={tmp_path / 'again'}"))
    paths = [set(pd.read_csv(tmp_path / name / "predictions.csv")["path"]) for name in ("run", "again")]
    assert paths[0] == paths[1]
    with pytest.raises(CheckpointError, match=r"its training images would be scored.*data\.seed=7"):
        evaluate(compose("evaluate", last, *JUDGED, *data, "data.seed=8", f"output_dir={tmp_path / 'other'}"))
    evaluate(compose("evaluate", last, *JUDGED, *data, "split=all", f"output_dir={tmp_path / 'all'}"))
    assert len(pd.read_csv(tmp_path / "all/predictions.csv")) == 140


def test_classes_of_ones_own_from_training_to_report(
    compose: Compose, tmp_path: Path, write_tree_of: Callable[..., Path]
) -> None:
    names = ("Cats", *(f"class_{code:02d}" for code in range(10)), "dogs & such")
    counts = {f"{split}/{name}": count for split, count in (("train", 5), ("val", 2)) for name in names}
    data = (f"data.root={write_tree_of(tmp_path / 'data', counts)}", f"data.cache_dir={tmp_path / 'cache'}")
    options = (*QUICK, "data.classes=own", "logger=none", f"output_dir={tmp_path / 'run'}")
    train(compose("train", *data, *options))
    last = f"ckpt_path={tmp_path / 'run/checkpoints/last.ckpt'}"
    evaluate(compose("evaluate", last, *JUDGED, *data, f"output_dir={tmp_path / 'again'}"))
    for folder in ("run", "again"):
        table = pd.read_csv(tmp_path / folder / "predictions.csv")
        assert set(table["label"]) == set(names) <= set(table.columns)
        assert list(json.loads((tmp_path / folder / "metrics.json").read_text())["per_class"]) == list(names)
        assert (tmp_path / folder / "confusion_matrix.png").exists()


def test_a_run_without_validation_checkpoint_says_whose_weights_it_scored(compose: Compose, tmp_path: Path) -> None:
    options = ("callbacks=none", "logger=none", "trainer.max_epochs=1", "+trainer.limit_test_batches=1")
    assert train(compose("train", *TINY, *options, f"output_dir={tmp_path}")) is not None
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["selected_on"], metrics["partial"], metrics["count"]) == (None, True, 16)
    assert "no checkpoint was kept" in metrics["checkpoint"]


def test_epochs_without_validation_have_no_scores_of_it(compose: Compose, tmp_path: Path) -> None:
    options = ("trainer.check_val_every_n_epoch=2", "trainer.max_epochs=3", "logger=none")
    train(compose("train", *TINY, *options, f"output_dir={tmp_path}"))
    assert pd.read_csv(tmp_path / "history.csv")["val/acc"].isna().tolist() == [True, False, True]


def test_a_moved_run_keeps_its_best_score(compose: Compose, tmp_path: Path) -> None:
    options = (*QUICK, "logger=none", "monitor=val/loss", "mode=min", "trainer.max_epochs=2")
    train(compose("train", *options, f"output_dir={tmp_path / 'first'}"))
    moved = (tmp_path / "first").rename(tmp_path / "moved")
    best = torch.load(moved / "checkpoints/best.ckpt", weights_only=True)
    again = (f"ckpt_path={moved / 'checkpoints/last.ckpt'}", "optimizer.lr=0", "trainer.max_epochs=3")
    train(compose("train", *options, *again, "model.drop_rate=0", "optimizer.weight_decay=0", f"output_dir={moved}"))
    history = pd.read_csv(moved / "history.csv")
    kept = torch.load(moved / "checkpoints/best.ckpt", weights_only=True)
    assert kept["epoch"] + 1 == history.set_index("epoch")["val/loss"].idxmin()
    assert kept["epoch"] >= best["epoch"]


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        (["data.image_size=40"], "image_size was 16 and is 40"),
        (["model=keras_cnn"], "backbone was small_cnn and is keras_cnn"),
        (["data.seed=9"], "the images was drawn"),
    ],
    ids=["size", "network", "images"],
)
def test_a_run_is_not_continued_on_something_else(
    compose: Compose, tmp_path: Path, finished: Path, overrides: list[str], text: str
) -> None:
    last = f"ckpt_path={finished / 'checkpoints/last.ckpt'}"
    with pytest.raises(CheckpointError, match=text):
        train(compose("train", *TINY, *overrides, last, f"output_dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_overwritten(compose: Compose, finished: Path) -> None:
    before = (finished / "metrics.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match=r"holds a run already.*last\.ckpt"):
        train(compose("train", *TINY, f"output_dir={finished}"))
    last = f"ckpt_path={finished / 'checkpoints/last.ckpt'}"
    rows = (finished / "csv/metrics.csv").read_text()
    with pytest.raises(ConfigError, match="gradient_clip_algorithm"):
        train(compose("train", *TINY, last, "trainer.gradient_clip_algorithm=foo", f"output_dir={finished}"))
    assert (finished / "csv/metrics.csv").read_text() == rows
    assert (finished / "metrics.json").stat().st_mtime_ns == before


def test_results_of_a_trial_may_be_written_over_and_those_of_a_run_without_checkpoints_not(
    compose: Compose, tmp_path: Path
) -> None:
    folder = f"output_dir={tmp_path / 'run'}"
    train(compose("train", *TINY, "trainer.fast_dev_run=true", folder))
    train(compose("train", *TINY, "callbacks=none", folder))
    with pytest.raises(ConfigError, match="holds a run already"):
        train(compose("train", *TINY, "trainer.fast_dev_run=true", folder))


def test_several_bad_values_are_told_together(compose: Compose, tmp_path: Path) -> None:
    wrong = ("model.backbone=resnet51", "optimizer.lr=-1", "loss.label_smoothing=2", "augmentation.flip=2")
    with pytest.raises(ConfigError, match=r"(?s)flip.*resnet50.*-1.*label_smoothing"):
        train(compose("train", *TINY, *wrong, f"output_dir={tmp_path}"))


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ([], "data.root has no value"),
        (["ckpt_path=compct"], "did you mean model=compact?"),
        (["{last}", "data.image_size=40"], "takes 16"),
    ],
    ids=["data", "name", "size"],
)
def test_evaluate_asks_for_what_it_needs(
    compose: Compose, tmp_path: Path, finished: Path, overrides: list[str], text: str
) -> None:
    words = [word.format(last=f"ckpt_path={finished / 'checkpoints/last.ckpt'}") for word in overrides]
    with pytest.raises(ConfigError, match=text):
        evaluate(compose("evaluate", *JUDGED, *words, f"output_dir={tmp_path}"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("best.ckpt", {"selected_on": "validation"}), ("last.ckpt", {"selected_on": None}), ("renamed.ckpt", {})],
)
def test_a_checkpoint_knows_whether_it_was_chosen(finished: Path, name: str, expected: dict[str, str | None]) -> None:
    file = "best.ckpt" if name == "renamed.ckpt" else name
    assert replace(Checkpoint.read(finished / "checkpoints" / file), path=Path(name)).selection == expected


@pytest.mark.parametrize("missing", ["train", "validation"])
def test_a_missing_split_is_said_before_training(compose: Compose, tmp_path: Path, missing: str) -> None:
    shares = {"train": "[0, 0.5, 0.5]", "validation": "[0.8, 0, 0.2]"}[missing]
    data = (f"data.root={write_flat(tmp_path / 'data')}", f"data.cache_dir={tmp_path / 'cache'}")
    with pytest.raises(DataError, match=f"no {missing} images"):
        train(compose("train", *TINY, *data, f"data.split={shares}", f"output_dir={tmp_path / 'run'}"))
    assert not (tmp_path / "run").exists()
