"""`format=safetensors`: a file that predict, evaluate and model.weights= take as they take its checkpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

from fer_lightning import export, predict
from fer_lightning.core.errors import CheckpointError
from fer_lightning.data.seen_images import SeenImages, seen_by
from fer_lightning.inference.checkpoint_recognizer import CheckpointRecognizer
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.inference.export.facts import describe
from fer_lightning.inference.recognizer import load_recognizer
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.training.evaluate_checkpoint import evaluate
from fer_lightning.training.run import TrainingRun

SaveModel = Callable[..., Path]
Compose = Callable[..., DictConfig]
TINY = "++model.backbone_kwargs={channels: [4, 4, 4, 8], stem_width: 4}"  # of the legacy run
QUIET = ("trainer=cpu", "trainer.precision=32-true", "trainer.enable_progress_bar=false")


def test_it_is_used_as_its_checkpoint(
    legacy: Path, tmp_path: Path, compose: Compose, portrait_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best, file = legacy / "checkpoints" / "best.ckpt", tmp_path / "model.safetensors"
    export.main([f"ckpt_path={best}", "format=safetensors", f"output={file}", f"hydra.run.dir={tmp_path}/a"])
    *_, command = capsys.readouterr().out.splitlines()
    assert str(tmp_path / "legacy") not in file.read_bytes().decode("latin-1"), "a path of this machine"
    first, then = Checkpoint.read(best), Checkpoint.read(file)
    assert (first.epoch, first.global_step, first.data_facts) == (then.epoch, then.global_step, then.data_facts)
    assert then.selection == first.selection == {"selected_on": "validation"}
    assert describe(then)["scores"] == describe(first)["scores"]
    told = json.loads((legacy / "metrics.json").read_text())
    for model in (best, file):
        out = tmp_path / model.suffix
        accuracy = evaluate(compose("evaluate", f"ckpt_path={model}", "data=synthetic", *QUIET, f"output_dir={out}"))
        assert accuracy == told["accuracy"]
        scored = json.loads((out / "metrics.json").read_text())
        assert scored["checkpoint"] == str(model)
        assert scored["selected_on"] == "validation"
    words = command.replace("photo.jpg", str(portrait_file)).split()[3:]
    folder = predict.main([*words, f"hydra.run.dir={tmp_path}/b"])
    assert portrait_file.name in (folder / "predictions.csv").read_text()


def test_it_begins_a_training_and_continues_none(legacy: Path, tmp_path: Path, compose: Compose) -> None:
    file = tmp_path / "model.safetensors"
    export_checkpoint(legacy / "checkpoints" / "best.ckpt", file, "safetensors")
    small = ("data=synthetic", "data.synthetic={train: 14, validation: 7, test: 7}", "data.image_size=16", *QUIET)
    small = (*small, "model=timm", "model.backbone=resnet10t", TINY, "callbacks=none", "logger=none")
    with pytest.raises(CheckpointError, match="holds weights alone and cannot be continued") as refused:
        TrainingRun(compose("train", *small, f"ckpt_path={file}", f"output_dir={tmp_path / 'a'}"))
    typed = re.search(r"type (model\.weights=\S+) without ckpt_path", str(refused.value))
    assert typed is not None
    run = TrainingRun(compose("train", *small, typed[1], f"output_dir={tmp_path / 'b'}"))
    expected = Checkpoint.read(file).content["state_dict"]
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_the_images_that_it_has_seen_go_with_it(save_model: SaveModel, tmp_path: Path) -> None:
    path, file = save_model(), tmp_path / "model.safetensors"
    content = torch.load(path, weights_only=True)
    seen = SeenImages(np.array([1, 2**63 + 5], dtype=np.uint64), np.array([7], dtype=np.uint64))
    torch.save(content | {"ExpressionDataModule": seen.state()}, path)
    export_checkpoint(path, file, "safetensors")
    for found in (seen_by(file), seen_by(path), SeenImages.from_checkpoint(Checkpoint.read(file).content)):
        assert found is not None
        np.testing.assert_array_equal(found.train, seen.train)
        np.testing.assert_array_equal(found.validation, seen.validation)


@pytest.mark.parametrize("format", ["safetensors", pytest.param("onnx", marks=pytest.mark.slow)])
def test_half_the_bytes_give_nearly_the_same(save_model: SaveModel, tmp_path: Path, format: str) -> None:
    path, sizes = save_model(), []
    for storage in ("float32", "float16"):
        output = tmp_path / f"{storage}.{format}"
        typed = (f"ckpt_path={path}", f"format={format}", f"storage={storage}", f"output={output}")
        export.main([*typed, f"hydra.run.dir={tmp_path}/out"])
        sizes.append(output.stat().st_size)
    assert 0.5 < sizes[1] / sizes[0] < 0.53
    faces = np.random.default_rng(0).integers(0, 256, (64, 1, 32, 32), dtype=np.uint8)
    difference = np.abs(load_recognizer(output)(faces) - CheckpointRecognizer.load(path)(faces)).max()
    assert 1e-7 < difference < 5e-3
