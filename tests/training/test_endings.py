"""However a run ends, it says why; a signal that ends it leaves a checkpoint that continues exactly."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from fer_lightning.callbacks.reseed import ReseedSteps
from fer_lightning.cli.command import run_verb
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.training.run import TrainingRun

LEGACY = Path(__file__).parents[1] / "legacy" / "data" / "train" / "checkpoints" / "best.ckpt"
TINY = (  # three batches an epoch
    "data.synthetic={train: 42, validation: 14, test: 14}",
    "data.image_size=16",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=2",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)


@pytest.fixture(autouse=True)
def _signals_at_their_default() -> Iterator[None]:
    """Run as from a terminal: under `nohup`, SIGHUP would be ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    return state


@pytest.mark.parametrize(
    ("name", "step", "code"),
    [
        ("SIGTERM", 1, 143),
        pytest.param("SIGHUP", 2, 129, marks=pytest.mark.slow),
        pytest.param("SIGUSR1", 3, 138, marks=pytest.mark.slow),
        pytest.param("SIGINT", 4, 130, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_where_the_run_is_and_says_how_to_continue(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    name: str,
    step: int,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    run_verb("train", "training.run:train", [*TINY, "hydra.run.dir=straight"])
    plain = ReseedSteps.on_train_batch_start

    def signalled(self: ReseedSteps, trainer, module, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.Signals[name])
        plain(self, trainer, module, batch, batch_idx)

    monkeypatch.setattr(ReseedSteps, "on_train_batch_start", signalled)
    with pytest.raises(SystemExit) as end:
        run_verb("train", "training.run:train", [*TINY, "hydra.run.dir=run"])
    monkeypatch.setattr(ReseedSteps, "on_train_batch_start", plain)
    assert end.value.code == code
    status = json.loads(Path("run/status.json").read_text())
    called = "Ctrl-C" if name == "SIGINT" else name
    assert status["status"] == "interrupted"
    assert status["message"] == f"interrupted by {called} in epoch {step // 3 + 1}, after step {step + 1}"
    assert Path("run/report.html").is_file()
    assert json.loads(Path("run/metrics.json").read_text())["ended"] == status["message"]
    typed = capfd.readouterr().err.partition("to continue: ")[2].splitlines()[0]
    run_verb("train", "training.run:train", shlex.split(typed)[3:])
    assert json.loads(Path("run/status.json").read_text())["status"] == "finished"
    straight, continued = weights(tmp_path / "straight"), weights(tmp_path / "run")
    assert [key for key, value in straight.items() if not torch.equal(continued[key], value)] == []
    handled = [signal.getsignal(signal.Signals[other]) for other in ("SIGTERM", "SIGHUP", "SIGUSR1")]
    assert handled == [signal.SIG_DFL] * 3


def test_a_signal_ends_a_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain, calls = ExpressionClassifier.predict_step, []

    def signalled(self: ExpressionClassifier, batch, batch_idx):  # type: ignore[no-untyped-def]
        calls.append(batch_idx)
        os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, batch_idx)

    monkeypatch.setattr(ExpressionClassifier, "predict_step", signalled)
    words = (f"ckpt_path={LEGACY}", "data=synthetic", *TINY[0:1], "data.batch_size=7", *TINY[3:5])
    with pytest.raises(SystemExit) as end:
        run_verb("evaluate", "training.evaluate_checkpoint:evaluate", [*words, "hydra.run.dir=out"])
    assert (end.value.code, calls) == (143, [0])
    assert not Path("out/metrics.json").exists()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("options", "ended"),
    [
        (["trainer.max_epochs=1"], "trainer.max_epochs=1 reached"),
        (["trainer.max_steps=2"], "trainer.max_steps=2 reached in epoch 1"),
        (["trainer.max_time=00:00:00:00"], "the time of trainer.max_time was over in epoch 1"),
        (
            ["trainer.max_epochs=9", "callbacks.early_stopping.patience=1", "optimizer.lr=0", "model.drop_rate=0"],
            "early stopping after epoch 2: val/acc was not better for 1 epoch",
        ),
    ],
    ids=["epochs", "steps", "time", "early stopping"],
)
def test_a_run_says_why_it_ended(
    compose: Callable[..., DictConfig], tmp_path: Path, options: list[str], ended: str
) -> None:
    run = TrainingRun(compose("train", *TINY, *options, f"output_dir={tmp_path}"))
    run.fit()
    assert run.ended.startswith(ended)
