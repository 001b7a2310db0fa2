"""What is typed for a continued run is used, though a checkpoint would restore another value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, ModelCheckpoint
from omegaconf import DictConfig

from fer_lightning.core.errors import CheckpointError, UserError
from fer_lightning.training.run import TrainingRun

Compose = Callable[..., DictConfig]
TINY = (  # three batches an epoch
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)


class Seen(Exception):
    pass


class LookAtFirstStep(pl.Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        raise Seen


def started(compose: Compose, folder: Path, *options: str) -> TrainingRun:
    """Return a run at its first step."""
    run = TrainingRun(compose("train", *TINY, "trainer.max_epochs=2", *options, f"output_dir={folder}"))
    run.trainer.callbacks.append(LookAtFirstStep())
    with pytest.raises(Seen):
        run.fit()
    return run


def last_of(compose: Compose, folder: Path, *options: str) -> str:
    TrainingRun(compose("train", *TINY, "trainer.max_epochs=1", *options, f"output_dir={folder}")).fit()
    return f"ckpt_path={folder / 'checkpoints' / 'last.ckpt'}"


@pytest.fixture(scope="module")
def adamw(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint after one epoch of three steps with AdamW and a cosine."""
    return last_of(compose, tmp_path_factory.mktemp("adamw"), "callbacks=ema")


# what is typed, and what must then be of optimizer, schedule, module, callbacks and data
EFFECTS: dict[str, Callable[[TrainingRun], Any]] = {
    "optimizer.lr=0.5": lambda run: peak(run) == 0.5,
    "optimizer.weight_decay=0.125": lambda run: group(run)["weight_decay"] == 0.125,
    "optimizer.betas=[0.5, 0.6]": lambda run: list(group(run)["betas"]) == [0.5, 0.6],
    "optimizer.eps=0.25": lambda run: group(run)["eps"] == 0.25,
    "optimizer.amsgrad=true": lambda run: group(run)["amsgrad"] is True,
    "scheduler.warmup=0.9": lambda run: run.trainer.lr_scheduler_configs[0].scheduler.lr_lambdas[0](0) < 0.5,
    "model.drop_rate=0.75": lambda run: any(getattr(part, "p", 0) == 0.75 for part in run.model.modules()),
    "model.mixup=0.5": lambda run: run.model.mix is not None,
    "model.backbone_lr=0.25": lambda run: [g["initial_lr"] for g in run.trainer.optimizers[0].param_groups][1] == 0.25,
    "model.freeze_backbone=true": lambda run: run.model.frozen,
    "loss.label_smoothing=0.5": lambda run: run.model.loss.label_smoothing == 0.5,
    "loss=focal": lambda run: "Focal" in type(run.model.loss).__name__,
    "data.batch_size=6": lambda run: run.trainer.num_training_batches == 7,
    "data.sampler=balanced": lambda run: run.data.sampler == "balanced",
    "augmentation=none": lambda run: run.data.loaders.engine.spec.flip == 0,
    "callbacks.early_stopping.patience=77": lambda run: callback(run, EarlyStopping).patience == 77,
    "callbacks.early_stopping.min_delta=0.5": lambda run: callback(run, EarlyStopping).min_delta == 0.5,
    "callbacks.best_checkpoint.save_top_k=0": lambda run: callback(run, ModelCheckpoint).save_top_k == 0,
    "callbacks.ema.decay=0.25": lambda run: callback(run, EMAWeightAveraging).kept(9) == 0.25,
    "trainer.accumulate_grad_batches=2": lambda run: run.trainer.accumulate_grad_batches == 2,
    "trainer.gradient_clip_val=0.5": lambda run: run.trainer.gradient_clip_val == 0.5,
    "trainer.precision=bf16-mixed": lambda run: run.trainer.precision == "bf16-mixed",
}


def group(run: TrainingRun) -> dict[str, Any]:
    return run.trainer.optimizers[0].param_groups[0]


def peak(run: TrainingRun) -> float:
    return float(group(run)["initial_lr"])


def callback(run: TrainingRun, kind: type[Any]) -> Any:
    return next(one for one in run.trainer.callbacks if isinstance(one, kind))


# all at once where they do not contradict each other: each start costs a second
@pytest.mark.parametrize(
    "alone",
    [
        None,
        pytest.param("loss=focal", marks=pytest.mark.slow),
        "model.backbone_lr=0.25",
        pytest.param("callbacks.best_checkpoint.save_top_k=0", marks=pytest.mark.slow),
    ],
)
def test_what_is_typed_is_used(compose: Compose, adamw: str, tmp_path: Path, alone: str | None) -> None:
    apart = {"loss=focal", "model.backbone_lr=0.25", "callbacks.best_checkpoint.save_top_k=0", "model.mixup=0.5"}
    typed = [item for item in EFFECTS if item not in apart] if alone is None else [alone, "model.mixup=0.5"]
    run = started(compose, tmp_path, "callbacks=ema", adamw, *typed)
    assert [item for item in typed if not EFFECTS[item](run)] == []


def unbroken_rates(compose: Compose, folder: Path, *options: str) -> list[float]:
    run = TrainingRun(compose("train", *TINY, "trainer.max_epochs=2", *options, f"output_dir={folder}"))
    rates: list[float] = []

    class Note(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    run.trainer.callbacks.append(Note())
    run.fit()
    return rates


@pytest.mark.parametrize(
    "typed",
    [
        ["optimizer.lr=0.5"],
        ["optimizer=sgd", "optimizer.lr=0.5"],
        pytest.param(["scheduler=onecycle"], marks=pytest.mark.slow),
        pytest.param(["scheduler=none", "optimizer.lr=0.5"], marks=pytest.mark.slow),
        pytest.param(["scheduler=plateau"], marks=pytest.mark.slow),
        [
            "scheduler=none",
            "++scheduler={_target_: torch.optim.lr_scheduler.StepLR, _partial_: true, step_size: 1, gamma: 0.5}",
        ],
    ],
    ids=" ".join,
)
def test_the_rate_is_that_of_a_run_begun_with_it(
    compose: Compose, adamw: str, tmp_path: Path, typed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected = unbroken_rates(compose, tmp_path / "unbroken", *typed)[3]
    with caplog.at_level("INFO"):
        run = started(compose, tmp_path / "resumed", adamw, *typed)
    assert group(run)["lr"] == pytest.approx(expected)
    assert f"the learning rate is {expected:g} from here on" in caplog.text
    assert ("SGD starts without a state" in caplog.text) == ("optimizer=sgd" in typed)


def test_a_plateau_keeps_its_cuts_and_what_it_counted(compose: Compose, tmp_path: Path) -> None:
    options = ("scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1")
    TrainingRun(compose("train", *TINY, "trainer.max_epochs=2", *options, f"output_dir={tmp_path / 'a'}")).fit()
    last = f"ckpt_path={tmp_path / 'a' / 'checkpoints' / 'last.ckpt'}"
    again = (*options, last, "optimizer.lr=0.1", "scheduler.factor=0.25", "trainer.max_epochs=3")
    run = started(compose, tmp_path / "b", *again)
    schedule: Any = run.trainer.lr_scheduler_configs[0].scheduler
    assert (schedule.factor, schedule.last_epoch, group(run)["lr"]) == (0.25, 2, pytest.approx(0.05))


def test_an_unchanged_setting_is_restored_in_silence(
    compose: Compose, adamw: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        started(compose, tmp_path, "callbacks=ema", adamw)
    assert "from here on" not in caplog.text


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (["model.input_size=24", "++model.backbone_kwargs={dense: 7}"], "dense|another network"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=1 or more|trainer.max_epochs=2 or more"),
    ],
    ids=["network", "epochs"],
)
def test_what_cannot_be_continued_is_refused(
    compose: Compose, adamw: str, tmp_path: Path, typed: list[str], text: str
) -> None:
    with pytest.raises(UserError, match=text):
        TrainingRun(compose("train", *TINY, adamw, *typed, f"output_dir={tmp_path}"))


def test_weights_alone_are_not_continued(compose: Compose, tmp_path: Path) -> None:
    last = last_of(compose, tmp_path / "a", "++callbacks.last_checkpoint.save_weights_only=true")
    with pytest.raises(CheckpointError, match=r"type model.weights=.*last.ckpt without ckpt_path"):
        TrainingRun(compose("train", *TINY, last, f"output_dir={tmp_path / 'b'}"))
    started(compose, tmp_path / "c", last.replace("ckpt_path", "model.weights"))


def test_an_epoch_cut_into_other_batches_is_not_continued_within(compose: Compose, tmp_path: Path) -> None:
    at_step = "++callbacks.last_checkpoint.every_n_train_steps=2"
    options = (*TINY, "trainer.max_epochs=1", at_step, "callbacks.last_checkpoint.save_on_train_epoch_end=false")
    TrainingRun(compose("train", *options, f"output_dir={tmp_path / 'a'}")).fit()
    last = f"ckpt_path={tmp_path / 'a' / 'checkpoints' / 'last.ckpt'}"
    run = TrainingRun(compose("train", *options, last, "data.batch_size=7", f"output_dir={tmp_path / 'b'}"))
    with pytest.raises(CheckpointError, match=r"batch 2 of 3, and the epoch has 6 batches now"):
        run.fit()
