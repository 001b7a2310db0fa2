"""The LightningModule: one contract for every model configuration, honest scores, self-describing checkpoints."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch.utils.data import DataLoader

from fer_lightning.config import conf_dir
from fer_lightning.data.dataset import Batch
from fer_lightning.emotions import EMOTIONS
from fer_lightning.errors import CheckpointError
from fer_lightning.models.checkpoint import load_classifier, read_checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.losses import CrossEntropy
from fer_lightning.models.pixels import Pixels

MODELS = sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml"))


def random_batch(count: int, *, channels: int = 1, size: int = 48, classes: int = 7, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=draw)
    labels = torch.randint(0, classes, (count,), generator=draw)
    return Batch(images, labels, torch.arange(count))


def loader(batch: Batch, batch_size: int) -> DataLoader:
    rows = list(zip(*batch, strict=True))
    return DataLoader(rows, batch_size, collate_fn=lambda part: Batch(*map(torch.stack, zip(*part, strict=True))))  # type: ignore[arg-type]


def quiet_trainer(**options: object) -> pl.Trainer:
    settings = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return pl.Trainer(**{**settings, "enable_checkpointing": False, **options})  # type: ignore[arg-type]


def compose_model(name: str, **arguments: object) -> ExpressionClassifier:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        node = compose("train", [f"model={name}", "output_dir=unused"]).model
    maker = instantiate(OmegaConf.merge(node, {"channels_last": True}), _partial_=True, _convert_="all")
    return maker(classes=list(EMOTIONS), **arguments)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_model_takes_bytes_and_learns_in_every_layer(name: str, channels: int) -> None:
    statistics = {"mean": [0.5] * channels, "std": [0.25] * channels}
    model = compose_model(name, channels=channels, image_size=48, **statistics)
    images, labels, _ = random_batch(4, channels=channels)
    logits = model.train()(images)
    assert logits.shape == (4, 7)
    assert logits.dtype == torch.float32
    model.loss(logits, labels).backward()
    without = [key for key, value in model.named_parameters() if value.grad is None or not value.grad.isfinite().all()]
    assert without == []
    assert model.eval()(images[:1]).shape == (1, 7)
    assert model(images[:0]).shape == (0, 7)


def test_pixels_are_scaled_once_and_exactly() -> None:
    images = torch.tensor([[[[0, 51], [204, 255]]]], dtype=torch.uint8)
    expected = torch.tensor([[[[-2.0, -1.2], [1.2, 2.0]]]])
    torch.testing.assert_close(Pixels([0.5], [0.25])(images), expected)
    assert Pixels([0.5], [0.25], size=8)(images).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="std positive"):
        Pixels([0.5], [0.0])


def test_validation_scores_equal_scikit_learn_over_uneven_batches() -> None:
    torch.manual_seed(0)
    model = ExpressionClassifier("small_cnn", EMOTIONS)
    batch = random_batch(23)
    (scores,) = quiet_trainer().validate(model, loader(batch, 10), verbose=False)
    probabilities = model.eval()(batch.images).softmax(1).detach().double().numpy()
    labels, predicted = batch.labels.numpy(), probabilities.argmax(1)
    assert scores["val/acc"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-6)
    assert scores["val/f1_macro"] == pytest.approx(f1_score(labels, predicted, average="macro"), abs=1e-6)
    probabilities /= probabilities.sum(1, keepdims=True)
    assert scores["val/loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(7)), abs=1e-5)


def test_checkpoint_reloads_with_weights_only_and_asks_for_nothing(tmp_path: Path) -> None:
    batch = random_batch(16, classes=3)
    model = ExpressionClassifier(
        "small_cnn",
        ["sad", "happy", "neutral"],
        mean=[0.4],
        std=[0.2],
        loss=CrossEntropy([5, 5, 6], class_weights="sqrt"),
    )
    trainer = quiet_trainer(max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path)
    trainer.fit(model, loader(batch, 8))
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    torch.load(tmp_path / "model.ckpt", weights_only=True)
    again = load_classifier(tmp_path / "model.ckpt")
    assert again.classes == ["sad", "happy", "neutral"]
    assert again.hparams.image_size == 48
    torch.testing.assert_close(again(batch.images), model.eval()(batch.images))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_files_that_are_no_checkpoint_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.ckpt"
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.ckpt.*ckpt_path="):
        read_checkpoint(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "missing.ckpt")


def fit_frozen(
    epochs: int, unfreeze_epoch: int | None, ckpt_path: Path | None = None
) -> tuple[pl.Trainer, ExpressionClassifier]:
    torch.manual_seed(1)
    model = ExpressionClassifier(
        "small_cnn", EMOTIONS, freeze_backbone=True, unfreeze_epoch=unfreeze_epoch, backbone_lr=1e-4
    )
    trainer = quiet_trainer(max_epochs=epochs)
    trainer.fit(model, loader(random_batch(16), 8), ckpt_path=ckpt_path)
    return trainer, model


def state_of_body(model: ExpressionClassifier) -> dict[str, torch.Tensor]:
    head = {
        f"backbone.{name}" for name, part in model.backbone.named_modules() if part is model.backbone.get_classifier()
    }
    return {k: v.clone() for k, v in model.state_dict().items() if not any(k.startswith(f"{name}.") for name in head)}


def test_a_frozen_backbone_changes_neither_weights_nor_statistics() -> None:
    torch.manual_seed(1)
    before = state_of_body(ExpressionClassifier("small_cnn", EMOTIONS, freeze_backbone=True))
    _, model = fit_frozen(2, unfreeze_epoch=None)
    after = state_of_body(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_thawing_survives_a_resume(tmp_path: Path) -> None:
    _, straight = fit_frozen(4, unfreeze_epoch=1)
    trainer, _ = fit_frozen(2, unfreeze_epoch=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _, resumed = fit_frozen(4, unfreeze_epoch=1, ckpt_path=tmp_path / "half.ckpt")
    thawed = state_of_body(straight)
    _, frozen = fit_frozen(1, unfreeze_epoch=1)
    assert any(not torch.equal(value, state_of_body(frozen)[name]) for name, value in thawed.items())
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_trains_on_soft_targets(mix: dict[str, float]) -> None:
    model = ExpressionClassifier("small_cnn", EMOTIONS, loss=CrossEntropy([1] * 7), **mix)
    pixels, labels, _ = random_batch(8)
    mixed, targets = model.mix(model.pixels(pixels), labels)  # type: ignore[misc]
    assert mixed.shape == (8, 1, 48, 48)
    assert targets.shape == (8, 7)
    np.testing.assert_allclose(targets.sum(1), 1.0, atol=1e-6)
    quiet_trainer(max_epochs=1).fit(model, loader(random_batch(16), 8))


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 2}, {"mixup": -1.0}, {"drop_rate": 1.0}, {"unfreeze_epoch": -1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ExpressionClassifier("small_cnn", EMOTIONS, **wrong)  # type: ignore[arg-type]
