"""A student that learns from its teacher alone comes to agree with it, and beats chance."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fer_lightning.core.errors import ConfigError
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.distilled import DistilledClassifier, Method

CLASSES = ["across", "down", "both"]
SETTINGS = {"image_size": 8, "backbone_kwargs": {"widths": [16, 16]}, "drop_rate": 0.0}


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Stripes in noise, uint8 (count, 1, 8, 8), and their direction, int64 (count,)."""
    draw, at = torch.Generator().manual_seed(seed), torch.arange(8) // 2 % 2
    labels = torch.arange(count) % 3
    patterns = torch.stack([at.view(8, 1).expand(8, 8), at.view(1, 8).expand(8, 8), at.view(8, 1) ^ at.view(1, 8)])
    noise = torch.randint(0, 155, (count, 8, 8), generator=draw)
    return (noise + 100 * patterns[labels]).to(torch.uint8).unsqueeze(1), labels


def fitted(model: ExpressionClassifier, images: torch.Tensor, labels: torch.Tensor) -> ExpressionClassifier:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=12, log_every_n_steps=1, **quiet)  # type: ignore[arg-type]
    trainer.fit(model, DataLoader(TensorDataset(images, labels, torch.arange(len(labels))), 12, shuffle=True))
    trainer.save_checkpoint(Path(trainer.default_root_dir) / "model.ckpt")
    return model.eval()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        fitted(ExpressionClassifier("small_cnn", CLASSES, **SETTINGS, optimizer=FAST), *stripes(120, 1))
    return path / "model.ckpt"


FAST = partial(torch.optim.AdamW, lr=0.02)


@pytest.mark.parametrize("method", ["kd", pytest.param("dkd", marks=pytest.mark.slow)])
def test_it_agrees_with_its_teacher_without_looking_at_labels(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(2)
    ways = {"method": method, "alpha": 1.0, "beta": 1.0}
    student = DistilledClassifier(
        "small_cnn",
        CLASSES,
        teachers=[str(teacher)],
        optimizer=FAST,
        **ways,
        **SETTINGS,  # type: ignore[arg-type]
    )
    images, labels = stripes(120, 2)
    # for kd, labels without a meaning; the parts of dkd are divided at the label
    given = torch.zeros_like(labels) if method == "kd" else labels
    fitted(student, images, given)
    unseen, direction = stripes(60, 3)
    with torch.no_grad():
        found, expected = student(unseen), student.panel.networks[str(teacher)](unseen)
    assert (expected.argmax(1) == direction).float().mean() > 0.9
    assert (found.argmax(1) == expected.argmax(1)).float().mean() > 0.9
    apart = (found.softmax(1) - expected.softmax(1)).abs().max(1).values.mean()
    assert apart < 0.05


def test_at_alpha_0_it_is_an_ordinary_classifier(teacher: Path) -> None:
    torch.manual_seed(1)
    student = DistilledClassifier("small_cnn", CLASSES, teachers=[str(teacher)], alpha=0.0, **SETTINGS)  # type: ignore[arg-type]
    plain = ExpressionClassifier(**student.hparams)
    plain.load_state_dict(student.state_dict())
    batch = (*stripes(9, 4), torch.arange(9))
    torch.testing.assert_close(student.loss_and_hits(*batch)[0], plain.loss_and_hits(*batch)[0])


def test_images_of_another_datamodule_are_learnt_from_on_the_fly_only(teacher: Path) -> None:
    images, labels = stripes(12, 5)
    data = pl.LightningDataModule.from_datasets(TensorDataset(images, labels, torch.arange(12)), batch_size=12)
    trainers = (pl.Trainer(accelerator="cpu", fast_dev_run=True, enable_progress_bar=False) for _ in range(2))
    settings = {"teachers": [str(teacher)], **SETTINGS}
    student = DistilledClassifier("small_cnn", CLASSES, **settings)  # type: ignore[arg-type]
    before = student.backbone.get_classifier().weight.clone()
    next(trainers).fit(student, datamodule=data)
    assert not torch.equal(student.backbone.get_classifier().weight, before)
    plain = DistilledClassifier("small_cnn", CLASSES, teacher_view="plain", **settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"needs trainer\.fit\(model, datamodule=ExpressionDataModule"):
        next(trainers).fit(plain, datamodule=data)
