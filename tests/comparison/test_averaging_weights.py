"""Checkpoints of one training become one, which evaluates like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fer_lightning import ensemble, evaluate, train
from fer_lightning.comparison import averaging_weights
from fer_lightning.models.checkpoint import Checkpoint

TINY = (
    "data.synthetic={train: 42, validation: 42, test: 28}",
    "data.classes=[happy,sad]",  # fewer faces in the galleries, which take most of the time
    "data.image_size=16",
    "data.batch_size=21",
    "data.seed=5",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "trainer.max_epochs=3",
    "logger=none",
    "~callbacks.batch_preview",
    "~callbacks.validation_pictures",
)
JUDGED = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")
NARROW = "++model.backbone_kwargs.widths=[4,4]"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The checkpoints of the three epochs of a run."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train.main([*TINY, NARROW, "callbacks.best_checkpoint.save_top_k=-1", f"hydra.run.dir={folder}"])
    return sorted((folder / "checkpoints").glob("best_epoch*.ckpt"))


def averaged(out: Path, *words: object) -> tuple[Checkpoint, dict[str, object]]:
    ensemble.main([*map(str, words), *JUDGED, f"hydra.run.dir={out}"])
    return Checkpoint.read(out / "checkpoints/average.ckpt"), json.loads((out / "metrics.json").read_text())


def test_the_mean_of_the_weights_is_a_checkpoint(
    checkpoints: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, metrics = averaged(tmp_path / "out", *checkpoints, "average=weights")
    states = [torch.load(path, weights_only=True)["state_dict"] for path in checkpoints]
    assert len(states) == 3
    for name, value in found.content["state_dict"].items():
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(value, sum(state[name] for state in states) / 3)
    means = [state["backbone.blocks.0.1.running_mean"] for state in (*states, found.content["state_dict"])]
    assert not torch.allclose(means[3], (means[0] + means[1] + means[2]) / 3, rtol=1e-3)  # of its own
    assert (metrics["split"], metrics["selected_on"], len(metrics["members"])) == ("test", "validation", 3)
    assert f"ckpt_path={tmp_path / 'out/checkpoints/average.ckpt'}" in capsys.readouterr().out
    evaluate.main([f"ckpt_path={found.path}", "data=synthetic", *JUDGED, f"hydra.run.dir={tmp_path / 'again'}"])
    again = json.loads((tmp_path / "again/metrics.json").read_text())
    assert {key: again[key] for key in ("accuracy", "loss", "selected_on")} == {
        key: metrics[key] for key in ("accuracy", "loss", "selected_on")
    }


@pytest.mark.slow
def test_greedy_takes_what_does_not_make_it_worse(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # accuracies of the three alone, of the mean with the second, and of that with the third
    given = {"best_epoch1": 0.5, "best_epoch2": 0.7, "best_epoch3": 0.6, "the mean of 2 checkpoints": 0.69}
    names: dict[int, str] = {}
    predict = averaging_weights._predict

    def noted(evaluation: averaging_weights.Evaluation, split: str) -> averaging_weights.Rescored:
        done = predict(evaluation, split)
        names[id(done.table)] = evaluation.checkpoint.path.name.removesuffix(".ckpt")
        kept.append(done)
        return done

    kept: list[averaging_weights.Rescored] = []
    monkeypatch.setattr(averaging_weights, "_predict", noted)
    monkeypatch.setattr(averaging_weights, "_accuracy", lambda done: given[names[id(done.table)]])
    found, _ = averaged(tmp_path / "worse", *checkpoints, "average=greedy_weights")
    assert [Path(name).stem for name in found.content["averaged"]] == ["best_epoch2"]
    given["the mean of 2 checkpoints"] = 0.7  # no worse
    given["the mean of 3 checkpoints"] = 0.65
    found, _ = averaged(tmp_path / "better", *checkpoints, "average=greedy_weights")
    assert [Path(name).stem for name in found.content["averaged"]] == ["best_epoch2", "best_epoch3"]


def test_what_cannot_be_averaged_is_told(
    checkpoints: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*words: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            ensemble.main([*map(str, words), *JUDGED, f"hydra.run.dir={tmp_path / 'out'}"])
        return capsys.readouterr().err

    assert "needs two checkpoints" in fail(checkpoints[0], "average=weights")
    assert "either checkpoints or folders" in fail(checkpoints[0], tmp_path, "average=weights")
    assert "type average=weights" in fail(*checkpoints)
    other = torch.load(checkpoints[0], weights_only=True)
    other["state_dict"]["backbone.fc.weight"] = torch.zeros(2, 5)
    torch.save(other, tmp_path / "other.ckpt")
    assert "networks have other weights" in fail(checkpoints[0], tmp_path / "other.ckpt", "average=weights")
    other["hyper_parameters"]["backbone"] = "keras_cnn"
    torch.save(other, tmp_path / "other.ckpt")
    said = fail(checkpoints[0], tmp_path / "other.ckpt", "average=weights")
    assert "backbone is keras_cnn and small_cnn; name checkpoints of one network" in said
