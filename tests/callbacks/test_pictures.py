"""Pictures for TensorBoard take a small fraction of the time, and the first and the last are always there."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.callbacks.pictures import ValidationPictures
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.models.classifier import ExpressionClassifier

EPOCHS = 5


def epochs_shown(folder: Path, pictures: ValidationPictures, **options: object) -> list[int]:
    data = ExpressionDataModule(synthetic={"train": 14, "validation": 7, "test": 7}, image_size=16, batch_size=7)
    data.setup()
    model = ExpressionClassifier("small_cnn", data.classes, image_size=16, backbone_kwargs={"widths": [4]})
    trainer = pl.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", devices=1, logger=TensorBoardLogger(folder, name="", version=""),
        callbacks=[pictures], enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, **options,
    )  # fmt: skip
    trainer.fit(model, datamodule=data)
    trainer.logger.experiment.close()
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    steps = {name: [event.step for event in events.Images(f"validation/{name}")] for name in ("confusion", "examples")}
    assert steps["confusion"] == steps["examples"]
    return [step // 2 + 1 for step in steps["confusion"]]  # two steps an epoch


@pytest.mark.parametrize(
    ("fraction", "every_n_epochs", "shown"),
    [
        (1.0, 1, [1, 2, 3, 4, 5]),
        (0.0, 1, [1, 5]),  # any drawing at all is too slow
        (1.0, 2, [2, 4, 5]),
        (0.0, 2, [2, 5]),
        (1.0, 9, [5]),
    ],
)
def test_slow_drawings_are_left_out(tmp_path: Path, fraction: float, every_n_epochs: int, shown: list[int]) -> None:
    pictures = ValidationPictures(every_n_epochs=every_n_epochs, per_class=1, fraction=fraction)
    assert epochs_shown(tmp_path, pictures) == shown


def test_the_sanity_check_is_not_shown(tmp_path: Path) -> None:
    assert epochs_shown(tmp_path, ValidationPictures(per_class=1, fraction=0.0), num_sanity_val_steps=1) == [1, 5]


@pytest.mark.parametrize("wrong", [{"fraction": -0.1}, {"fraction": 1.5}, {"every_n_epochs": 0}, {"per_class": 0}])
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ValidationPictures(**wrong)
