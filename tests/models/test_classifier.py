"""The LightningModule: one contract for every model configuration, honest scores, self-describing checkpoints."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch.utils.data import DataLoader

from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.core.errors import CheckpointError, ConfigError, UserError
from fer_lightning.data.loading.dataset import Batch
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.losses import CrossEntropy
from fer_lightning.models.normalize import Normalize

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

    with initialize_config_dir(str(conf_dir()), **hydra_options(initialize_config_dir)):
        node = compose("train", [f"model={name}", "output_dir=unused"]).model
    maker = instantiate(OmegaConf.merge(node, {"channels_last": True}), _partial_=True, _convert_="all")
    return maker(classes=list(EMOTIONS), **arguments)


@pytest.mark.parametrize(("name", "channels"), [*((name, 1) for name in MODELS), ("small_cnn", 3), ("resnet50", 3)])
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
    torch.testing.assert_close(Normalize([0.5], [0.25])(images), expected)
    assert Normalize([0.5], [0.25], size=8)(images).shape == (1, 1, 8, 8)
    with pytest.raises(ValueError, match="std positive"):
        Normalize([0.5], [0.0])


SCALES = [
    ("standard", 1, [-2.0, 2.0]),
    ("standard", 3, [-2.0, 2.0]),
    ("unit", 1, [0.0, 1.0]),
    ("unit", 3, [0.0, 1.0]),
    ("imagenet", 1, [-0.449 / 0.226, (1 - 0.449) / 0.226]),
    ("imagenet", 3, [-0.485 / 0.229, (1 - 0.485) / 0.229]),  # of red
]


@pytest.mark.parametrize(("normalize", "channels", "expected"), SCALES)
@pytest.mark.parametrize("name", ["small_cnn", "cnn_gru", "resnet10t", "vgg11"])
def test_the_scale_of_pixels_is_chosen_and_kept(
    tmp_path: Path, name: str, normalize: Any, channels: int, expected: list[float]
) -> None:
    statistics = {"mean": [0.5] * channels, "std": [0.25] * channels}
    model = ExpressionClassifier(
        name, EMOTIONS, channels=channels, image_size=32, normalize=normalize, **statistics
    ).eval()
    images = torch.zeros(1, channels, 32, 32, dtype=torch.uint8)
    images[..., 1] = 255
    seen: list[torch.Tensor] = []
    model.backbone.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    logits = model(images)
    torch.testing.assert_close(seen[0][0, 0, 0, :2].tolist(), expected, atol=2e-3, rtol=0)
    content = {"fer_lightning": {"version": "0"}, "hyper_parameters": dict(model.hparams)}
    torch.save(content | {"state_dict": model.state_dict()}, tmp_path / "model.ckpt")
    again = Checkpoint.read(tmp_path / "model.ckpt").build()
    torch.testing.assert_close(again(images), logits)


def test_checkpoints_of_before_have_the_only_scale_that_there_was(tmp_path: Path) -> None:
    model = ExpressionClassifier("small_cnn", EMOTIONS, mean=[0.5], std=[0.25])
    parameters = {key: value for key, value in model.hparams.items() if key != "normalize"}
    content = {"fer_lightning": {"version": "0.1"}, "hyper_parameters": parameters, "state_dict": model.state_dict()}
    torch.save(content, tmp_path / "old.ckpt")
    assert Checkpoint.read(tmp_path / "old.ckpt").build().pixels(torch.zeros(1, 1, 1, 1)).item() == -2


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.normalize=unti: choose one of standard, unit, imagenet"):
        ExpressionClassifier("small_cnn", EMOTIONS, normalize="unti")  # type: ignore[arg-type]


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
    again = Checkpoint.read(tmp_path / "model.ckpt").build()
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
        Checkpoint.read(path)
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        Checkpoint.read(tmp_path / "missing.ckpt")


class OneOutputMore(ExpressionClassifier):
    """A user's subclass with an argument of its own."""

    def __init__(self, *args: object, temperature: float = 1.0, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.offset = torch.nn.Parameter(torch.full((1,), temperature))


def save(model: ExpressionClassifier, path: Path) -> Path:
    trainer = quiet_trainer()
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def test_a_checkpoint_of_another_class_names_what_is_foreign(tmp_path: Path) -> None:
    path = save(OneOutputMore("small_cnn", EMOTIONS, temperature=2.0), tmp_path / "theirs.ckpt")
    with pytest.raises(CheckpointError, match=r"theirs\.ckpt was made by another class.*OneOutputMore.*'temperature'"):
        Checkpoint.read(path).build()
    again = Checkpoint.read(path).build(OneOutputMore)
    assert type(again) is OneOutputMore
    assert again.hparams.temperature == again.offset.item() == 2.0


def test_weights_of_other_names_are_no_bare_error(tmp_path: Path) -> None:
    path = save(ExpressionClassifier("small_cnn", EMOTIONS), tmp_path / "old.ckpt")
    content = torch.load(path, weights_only=True)
    content["state_dict"]["backbone.old"] = content["state_dict"].pop("backbone.fc.bias")
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=r"another class or version.*fc\.bias"):
        Checkpoint.read(path).build()


def fit_frozen(
    epochs: int, unfreeze_epoch: int | None, ckpt_path: Path | None = None, **options: object
) -> tuple[pl.Trainer, ExpressionClassifier]:
    torch.manual_seed(1)
    settings = {"freeze_backbone": True, "unfreeze_epoch": unfreeze_epoch, "backbone_lr": 1e-4, "image_size": 16}
    model = ExpressionClassifier("keras_cnn", EMOTIONS, **settings)  # type: ignore[arg-type]
    trainer = quiet_trainer(max_epochs=epochs, **options)
    trainer.fit(model, loader(random_batch(16, size=16), 8), ckpt_path=ckpt_path)
    return trainer, model


def state_of_body(model: ExpressionClassifier) -> dict[str, torch.Tensor]:
    head = {
        f"backbone.{name}" for name, part in model.backbone.named_modules() if part is model.backbone.get_classifier()
    }
    return {k: v.clone() for k, v in model.state_dict().items() if not any(k.startswith(f"{name}.") for name in head)}


def trained_once(model: ExpressionClassifier) -> dict[str, torch.Tensor]:
    images, labels, _ = random_batch(4, channels=model.hparams.channels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model.train()
    model.loss(model(images), labels).backward()
    optimizer.step()
    return state_of_body(model)


@pytest.mark.parametrize(
    ("name", "unfreeze_epoch"),
    [*((name, None) for name in (*MODELS, "mobilenetv3_small_050")), ("keras_cnn", 3), ("mobilenetv3_small_050", 3)],
)
def test_in_every_model_a_frozen_step_moves_the_last_layer_only(name: str, unfreeze_epoch: int | None) -> None:
    frozen = {"freeze_backbone": True, "unfreeze_epoch": unfreeze_epoch}
    model = compose_model(name, **frozen) if name in MODELS else ExpressionClassifier(name, EMOTIONS, **frozen)  # type: ignore[arg-type]
    before, head = state_of_body(model), model.backbone.get_classifier().weight.clone()
    after = trained_once(model)
    assert [key for key in before if not torch.equal(before[key], after[key])] == []
    assert not torch.equal(model.backbone.get_classifier().weight, head)


@pytest.mark.parametrize("name", ["small_cnn", "keras_cnn", "vgg11", "resnet10t"])
def test_the_head_of_a_frozen_backbone_has_its_dropout(name: str) -> None:
    model = ExpressionClassifier(name, EMOTIONS, freeze_backbone=True, drop_rate=0.5)
    images = random_batch(4).images
    one, two = (model.train()(images) for _ in range(2))
    assert not torch.equal(one, two)
    assert torch.equal(model.eval()(images), model(images))
    drawn = []
    hook = model.backbone.get_classifier().register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    model.eval()(images)
    model.train()(images)
    hook.remove()
    kept = drawn[1] != 0
    torch.testing.assert_close(drawn[1][kept], 2 * drawn[0][kept])  # the features of evaluation mode, some left out
    present = drawn[0] != 0
    assert 0.35 < kept[present].float().mean() < 0.65


def test_a_backbone_with_two_last_layers_cannot_be_frozen() -> None:
    with pytest.raises(ConfigError, match=r"model\.freeze_backbone=true: .*deit_tiny_distilled"):
        ExpressionClassifier("deit_tiny_distilled_patch16_224", EMOTIONS, freeze_backbone=True)


@pytest.mark.parametrize("unfreeze_epoch", [None, 2])
def test_a_frozen_backbone_changes_neither_weights_nor_statistics(unfreeze_epoch: int | None) -> None:
    torch.manual_seed(1)
    before = state_of_body(ExpressionClassifier("keras_cnn", EMOTIONS, freeze_backbone=True, image_size=16))
    _, model = fit_frozen(2, unfreeze_epoch=unfreeze_epoch)
    after = state_of_body(model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_unfreezing_survives_a_resume(tmp_path: Path) -> None:
    _, straight = fit_frozen(4, unfreeze_epoch=1)
    trainer, _ = fit_frozen(2, unfreeze_epoch=1)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _, resumed = fit_frozen(4, unfreeze_epoch=1, ckpt_path=tmp_path / "half.ckpt")
    unfrozen = state_of_body(straight)
    _, frozen = fit_frozen(1, unfreeze_epoch=1)
    assert any(not torch.equal(value, state_of_body(frozen)[name]) for name, value in unfrozen.items())
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)


def test_a_frozen_epoch_resumed_in_its_middle_stays_frozen(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=3)  # amid the second epoch
    _, straight = fit_frozen(2, 2, enable_checkpointing=True, callbacks=[saver])
    _, resumed = fit_frozen(2, 2, ckpt_path=tmp_path / "step=3.ckpt")
    for name, value in state_of_body(straight).items():
        assert torch.equal(state_of_body(resumed)[name], value), name


FROZEN_ON_TWO_RANKS = """
import sys, torch, lightning.pytorch as pl
from fer_lightning.data.loading.dataset import Batch
from fer_lightning.models.classifier import ExpressionClassifier

class States(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        if trainer.is_global_zero:
            torch.save(module.state_dict(), f"{sys.argv[1]}/{trainer.current_epoch}.pt")

if __name__ == "__main__":
    torch.manual_seed(0)
    settings = dict(image_size=16, freeze_backbone=True, unfreeze_epoch=2)
    model = ExpressionClassifier("keras_cnn", ["sad", "happy"], **settings)
    batch = Batch(torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), torch.arange(4))
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    two_ranks = dict(accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true")
    trainer = pl.Trainer(max_epochs=4, callbacks=[States()], use_distributed_sampler=False, **two_ranks, **quiet)
    trainer.fit(model, torch.utils.data.DataLoader([batch, batch], batch_size=None))
"""


@pytest.mark.slow  # starts two processes
def test_a_timed_freeze_holds_and_ends_under_ddp(tmp_path: Path) -> None:
    script = tmp_path / "fit.py"
    script.write_text(FROZEN_ON_TWO_RANKS)
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120, capture_output=True)
    states = [torch.load(tmp_path / f"{epoch}.pt", weights_only=True) for epoch in range(4)]
    moved = [
        {name for name, value in before.items() if not torch.equal(value, after[name])}
        for before, after in itertools.pairwise(states)
    ]
    assert moved[0] == moved[1] == {"backbone.fc.weight", "backbone.fc.bias"}
    assert moved[2] == set(states[0])


@pytest.mark.parametrize("broken", ["train", "val"])
def test_a_diverged_loss_ends_the_run_with_advice(broken: str) -> None:
    class Diverged(ExpressionClassifier):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            logits = super().forward(images).clone()
            if broken == "val" and self.current_epoch == 1:
                logits[0] = float("nan")  # of one image a batch
            return logits

        def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
            self.loss.weight.fill_(float("nan") if broken == "train" and self.current_epoch == 1 else 1.0)
            return super().training_step(batch, batch_idx)

    model = Diverged("small_cnn", EMOTIONS, loss=CrossEntropy([1] * 7))
    trainer = quiet_trainer(max_epochs=4, limit_val_batches=2 if broken == "val" else 0)
    batches = loader(random_batch(16), 8)
    message = r"not finite since epoch 2: type a smaller optimizer\.lr or trainer\.gradient_clip_val=1"
    with pytest.raises(UserError, match=message) as raised:
        trainer.fit(model, batches, batches)
    assert raised.value.exit_code == 1


def test_training_accuracy_under_mixing_counts_the_larger_share() -> None:
    model = ExpressionClassifier("small_cnn", EMOTIONS, optimizer=partial(torch.optim.SGD, lr=0.0))
    labels = torch.tensor([0, 1, 2, 3])
    model.backbone.fc.register_forward_hook(lambda *_: torch.eye(7)[(labels + 1) % 4].requires_grad_())
    model.mix = lambda images: (
        images,
        lambda values: 0.3 * values + 0.7 * values[(labels + 1) % 4],  # the neighbour's share is the larger
    )
    batch = Batch(random_batch(4).images, labels, torch.arange(4))
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(model, loader(batch, 4))
    assert trainer.callback_metrics["train/acc"] == 1.0


@pytest.mark.parametrize("mix", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixing_trains_on_soft_targets(mix: dict[str, float]) -> None:
    model = ExpressionClassifier("small_cnn", EMOTIONS, loss=CrossEntropy([1] * 7), **mix)
    images, labels, _ = random_batch(8)
    mixed, blend = model.mix(images.float())  # type: ignore[misc]
    assert mixed.shape == (8, 1, 48, 48)
    targets = blend(torch.eye(7)[labels])
    assert targets.shape == (8, 7)
    np.testing.assert_allclose(targets.sum(1), 1.0, atol=1e-6)
    brightness = images.float().mean((1, 2, 3))
    apart = (mixed.mean((1, 2, 3)) - blend(brightness[:, None])[:, 0]).abs()
    assert apart.max() < (1e-3 if "cutmix" not in mix else 6)  # a rectangle of noise is not of the very same brightness
    quiet_trainer(max_epochs=1).fit(model, loader(random_batch(16), 8))


def test_mixing_ends_where_it_is_asked_to() -> None:
    model, mixed = ExpressionClassifier("small_cnn", EMOTIONS, mixup=1.0, mix_until=0.6), []
    model.loss.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[1].ndim == 2))
    quiet_trainer(max_epochs=4).fit(model, loader(random_batch(2), 2))
    assert mixed == [True, True, True, False]  # 0, 0.25 and 0.5 of the run are over when the first three begin


@pytest.mark.parametrize(
    "wrong",
    [{"channels": 2}, {"mixup": -1.0}, {"mix_until": 1.5}, {"drop_rate": 1.0}, {"unfreeze_epoch": -1}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_values_out_of_range_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ExpressionClassifier("small_cnn", EMOTIONS, **wrong)  # type: ignore[arg-type]
