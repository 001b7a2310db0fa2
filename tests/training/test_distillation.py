"""Students learn from trained networks, on the fly or by stored logits; their checkpoints need no teachers."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.config.check import check_config
from fer_lightning.core.errors import CheckpointError, ConfigError, DataError
from fer_lightning.data.seen_images import seen_by
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.distillation.teachers import Teacher
from fer_lightning.training.evaluate_checkpoint import evaluate
from fer_lightning.training.run import TrainingRun

Compose = Callable[..., DictConfig]
TINY = (
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=2",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
EACH_STEP = (
    "++callbacks.steps={_target_: fer_lightning.callbacks.checkpoint.RunCheckpoint, filename: 'step{step}', "
    "every_n_train_steps: 1, dirpath: '${output_dir}/kept', save_top_k: -1, auto_insert_metric_name: false}"
)
STUDENT = ("model=distilled", "++model.backbone_kwargs={widths: [4, 8]}", "model.drop_rate=0.3")


@pytest.fixture(scope="module")
def teachers(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Checkpoints of two networks of different kinds, one of which reads larger colour images in another way."""
    folder = tmp_path_factory.mktemp("teachers")
    kinds = {
        "a": ("model=small_cnn", "++model.backbone_kwargs={widths: [4, 4]}"),
        "b": ("model=cnn_gru", "data.image_size=24", "data.channels=3", "model.normalize=unit"),
    }
    for name, options in kinds.items():
        TrainingRun(compose("train", *TINY, *options, "trainer.max_epochs=1", f"output_dir={folder / name}")).fit()
    return [str(folder / name / "checkpoints/best.ckpt") for name in kinds]


@pytest.fixture
def run(compose: Compose, tmp_path: Path) -> Callable[..., TrainingRun]:
    """Return a function that makes a run of a student of some teachers in a folder of its own."""

    def make(teachers: list[str], *options: str, name: str = "student") -> TrainingRun:
        typed = (*TINY, *STUDENT, f"model.teachers=[{','.join(teachers)}]", f"data.cache_dir={tmp_path / 'cache'}")
        cfg = compose("train", *typed, *options, f"output_dir={tmp_path / name}")
        check_config(cfg)
        return TrainingRun(cfg)

    return make


Run = Callable[..., TrainingRun]


def trained(run: TrainingRun) -> dict[str, torch.Tensor]:
    run.fit()
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


@pytest.mark.parametrize("view", ["augmented", pytest.param("plain", marks=pytest.mark.slow)])
def test_a_student_without_its_teachers_is_an_ordinary_network(
    run: Run, compose: Compose, tmp_path: Path, teachers: list[str], view: str
) -> None:
    here = [str(shutil.copy(path, tmp_path / f"{number}.ckpt")) for number, path in enumerate(teachers)]
    student = run(here, f"model.teacher_view={view}", "callbacks=ema", "model.mixup=0.4")
    alone = ExpressionClassifier(**student.model.hparams)
    assert student.parameters == sum(parameter.numel() for parameter in alone.parameters())
    weights = trained(student)
    assert weights.keys() == alone.state_dict().keys()
    assert copy.deepcopy(student.model).panel is student.model.panel
    for path in here:
        Path(path).unlink()
    best = tmp_path / "student/checkpoints/best.ckpt"
    model = Checkpoint.read(best).build()
    assert type(model) is ExpressionClassifier
    cfg = compose("evaluate", f"ckpt_path={best}", "trainer=cpu", f"output_dir={tmp_path / 'score'}")
    assert 0 <= evaluate(cfg) <= 1
    assert CheckpointRecognizer.load(best)(np.zeros((2, 1, 16, 16), np.uint8)).shape == (2, 7)


def silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no teacher be asked from now on."""

    def refuse(*_: object) -> torch.Tensor:
        raise AssertionError("a teacher was asked")

    monkeypatch.setattr(Teacher, "__call__", refuse)


@pytest.mark.parametrize(
    "options",
    [(), pytest.param(("model.mixup=0.4", "model.cutmix=1"), marks=pytest.mark.slow)],
    ids=["unmixed", "mixed"],
)
def test_stored_logits_are_those_of_the_fly_and_another_run_asks_nobody(
    run: Run, tmp_path: Path, teachers: list[str], monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    on_the_fly = trained(run(teachers, *options, "model.stored_logits=null", name="fly"))
    assert not list((tmp_path / "cache").rglob("*.bin"))
    assert_equal(trained(run(teachers, *options, name="first")), on_the_fly)
    silence(monkeypatch)
    assert_equal(trained(run(teachers, *options, name="second")), on_the_fly)
    trained(run(teachers, *options, "optimizer.lr=1e-4", "model.method=dkd", "model.temperature=2", name="other"))
    with pytest.raises(AssertionError, match="a teacher was asked"):
        run(teachers, *options, "trainer.max_epochs=3", name="longer").fit()


@pytest.mark.slow
def test_logits_of_plain_images_replace_their_teachers(
    run: Run, tmp_path: Path, teachers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, shared = "model.teacher_view=plain", tmp_path / "shared.npz"
    weights = trained(run(teachers, plain, f"model.stored_logits={shared}", name="first"))
    silence(monkeypatch)
    assert_equal(trained(run(teachers, plain, f"model.stored_logits={shared}", name="again")), weights)
    assert_equal(trained(run([str(shared)], plain, name="alone")), weights)
    for teacher in teachers:  # whose images must not count as unseen
        assert set(seen_by(teacher).validation) < set(seen_by(shared).validation)
    with pytest.raises(ConfigError, match=r"shared\.npz holds .* without .*type model\.teacher_view=plain, or name"):
        run([str(shared)])
    with pytest.raises(ConfigError, match=r"is a file for .*: type model\.teacher_view=plain, or .* a folder"):
        run(teachers, f"model.stored_logits={shared}")
    with pytest.raises(ConfigError, match=rf"of other teachers: type .* new file, or model\.teachers=\[{shared}\]"):
        run(teachers[:1], plain, f"model.stored_logits={shared}", name="fewer").fit()
    more = run([str(shared)], plain, "data.synthetic={train: 49, validation: 14, test: 14}", name="more")
    with pytest.raises(DataError, match=r"shared\.npz knows 42 of the 49 training images"):
        more.fit()


@pytest.mark.parametrize(
    "options",
    [
        ("model.teacher_view=plain", "model.method=dkd", "model.cutmix=1"),
        pytest.param(("model.mixup=0.4", "callbacks=ema"), marks=pytest.mark.slow),
    ],
    ids=["plain", "augmented"],
)
def test_a_resumed_student_is_the_unbroken_one(
    run: Run, tmp_path: Path, teachers: list[str], options: tuple[str, ...]
) -> None:
    unbroken = trained(run(teachers, *options, EACH_STEP, "trainer.max_epochs=3"))
    shutil.copytree(tmp_path / "student", tmp_path / "again", ignore=shutil.ignore_patterns("last.ckpt", "history.csv"))
    checkpoint = f"ckpt_path={tmp_path / 'again/kept/step4.ckpt'}"  # amid the second epoch
    assert_equal(trained(run(teachers, *options, "trainer.max_epochs=3", checkpoint, name="again")), unbroken)


def test_a_run_is_continued_with_its_own_teachers_only(run: Run, tmp_path: Path, teachers: list[str]) -> None:
    run(teachers, "trainer.max_epochs=1").fit()
    last = f"ckpt_path={tmp_path / 'student/checkpoints/last.ckpt'}"
    with pytest.raises(CheckpointError, match=rf"learnt from other .*: from {','.join(teachers)}, in this order"):
        run(teachers[::-1], last).fit()
    with pytest.raises(CheckpointError, match=r"model\.teachers: there is no file gone\.ckpt; type 'model\.teachers="):
        run(["gone.ckpt"], last)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["data.classes=[happy,sad]"],
            r"a/checkpoints/best\.ckpt knows angry, .*; the data has happy, sad\. Choose",
        ),
        (["model.alpha=1.5"], r"alpha must be in \[0, 1\], got 1\.5"),
        (["model.temperature=0"], r"temperature must be positive"),
        (["model.teachers=[]"], r"model\.teachers=\[\] is nobody to learn from: type 'model\.teachers=\["),
        (["model.temprature=2"], r"takes no model\.temprature; did you mean model\.temperature"),
        (["model.method=dk"], r"model\.method=dk is not one of kd, dkd"),
    ],
)
def test_what_cannot_be_is_said(run: Run, teachers: list[str], options: list[str], said: str) -> None:
    with pytest.raises((CheckpointError, ConfigError), match=said):
        run(teachers, *(f"++{option}" for option in options))
