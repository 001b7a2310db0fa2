"""The LightningModule of every network that is trained by one loss on one label an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from fer_lightning import __version__
from fer_lightning.errors import UserError
from fer_lightning.models.backbones import build_backbone
from fer_lightning.models.heads import backbone_parameters, freeze, head_logits, head_parameters
from fer_lightning.models.mixing import build_mix, main_labels
from fer_lightning.models.pixels import Pixels
from fer_lightning.models.schedules import scheduler_config


class ExpressionClassifier(pl.LightningModule):
    """Trains and judges a backbone on batches `(images uint8 (B, C, H, W), labels int64 (B,), index int64 (B,))`.

    All arguments but `loss`, `optimizer` and `scheduler` are plain values that are stored with the checkpoint, which
    therefore describes itself.

    Args:
        backbone: `small_cnn`, `keras_cnn` or any timm name.
        classes: names of the outputs, in order.
        channels: of the images, 1 or 3.
        image_size: pixels a side of the images.
        mean: of each channel of the training split, 0…1, `(channels,)`.
        std: likewise.
        input_size: pixels a side that the backbone sees; None for `image_size`. Upsampling happens on the device.
        stem: `imagenet`, or `small` for a network that does not throw away the resolution of small faces at once.
        drop_rate: dropout before the last layer.
        pretrained: start from timm's weights.
        weights: start from a local file.
        backbone_kwargs: further arguments of `timm.create_model`.
        freeze_backbone: train the last layer only, on features that the rest gives in evaluation mode …
        unfreeze_epoch: … for this many epochs, then everything; None for ever.
        backbone_lr: learning rate of everything but the last layer; None for the optimizer's.
        mixup: α of mixup (Zhang et al., 2018); 0 turns it off.
        cutmix: α of cutmix (Yun et al., 2019); 0 turns it off. With both, each batch draws one of them.
        channels_last: memory format of weights and activations.
        data_facts: which images it is trained on and how to find its splits again, for the record.
        loss: maps logits `(B, K)` and labels `(B,)` or `(B, K)` to a scalar; None for cross-entropy.
        optimizer: makes an optimizer from parameter groups.
        scheduler: makes a schedule from an optimizer; see `schedules.scheduler_config`.
        monitor: logged value that a plateau schedule watches.
        mode: `max` or `min` of it.

    Raises:
        ValueError: an argument is out of its range.
        ConfigError: unknown backbone, one that cannot be frozen as asked, or weights that cannot be had.
    """

    def __init__(
        self,
        backbone: str,
        classes: Sequence[str],
        *,
        channels: int = 1,
        image_size: int = 48,
        mean: Sequence[float] = (0.5,),
        std: Sequence[float] = (0.25,),
        input_size: int | None = None,
        stem: str = "imagenet",
        drop_rate: float = 0.0,
        pretrained: bool = False,
        weights: str | None = None,
        backbone_kwargs: dict[str, Any] | None = None,
        freeze_backbone: bool = False,
        unfreeze_epoch: int | None = None,
        backbone_lr: float | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        channels_last: bool = True,
        data_facts: dict[str, Any] | None = None,
        loss: nn.Module | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
        monitor: str = "val/acc",
        mode: str = "max",
    ) -> None:
        super().__init__()
        check_ranges(channels=channels, mixup=mixup, cutmix=cutmix, drop_rate=drop_rate, unfreeze_epoch=unfreeze_epoch)
        classes = list(classes)
        self.save_hyperparameters(ignore=["loss", "optimizer", "scheduler"], logger=False)
        self.hparams.update(classes=classes, mean=list(mean), std=list(std))
        self.classes = classes
        self.pixels = Pixels(mean, std, input_size)
        side = image_size if input_size is None else input_size
        self.backbone = build_backbone(
            backbone,
            num_classes=len(classes),
            in_channels=channels,
            image_size=side,
            pretrained=pretrained,
            weights=weights,
            drop_rate=drop_rate,
            stem=stem,
            backbone_kwargs=backbone_kwargs,
        )
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.backbone.to(memory_format=self.memory_format)
        if freeze_backbone:
            freeze(self.backbone, backbone, (channels, side, side), for_ever=unfreeze_epoch is None)
        self.mix = build_mix(mixup, cutmix, num_classes=len(classes))
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.optimizer, self.scheduler = optimizer, scheduler
        self.confusion = MulticlassConfusionMatrix(num_classes=len(classes), validate_args=False)
        self.mean_loss = MeanMetric(nan_strategy="disable")  # else it leaves out what diverged

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float `(B, K)` for images uint8 `(B, C, H, W)`."""
        if len(images) == 0:  # a rank's last evaluation batch can be empty, which attention does not take
            return self.pixels.scale.new_zeros((0, len(self.classes)))
        return self._logits(self.pixels(images))

    def _logits(self, pixels: Tensor) -> Tensor:
        pixels = pixels.contiguous(memory_format=self.memory_format)
        if self.training and self.frozen:
            return head_logits(self.backbone, pixels, self.hparams.drop_rate)
        return self.backbone(pixels)

    @property
    def frozen(self) -> bool:
        """Whether only the head learns now: a function of the epoch, so that a resumed run agrees."""
        thaw = self.hparams.unfreeze_epoch
        return self.hparams.freeze_backbone and (thaw is None or self.current_epoch < thaw)

    def train(self, mode: bool = True) -> ExpressionClassifier:
        """Switch to training, but leave a frozen backbone's statistics alone."""
        super().train(mode)
        if mode and self.frozen:
            self.backbone.eval()
        return self

    def on_train_epoch_start(self) -> None:
        self.train()  # an epoch may thaw the backbone

    on_train_start = on_train_epoch_start  # for a run resumed amid an epoch, whose start Lightning does not call again

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels, _ = batch
        pixels, targets = self.pixels(images), labels
        if self.mix is not None:
            pixels, targets = self.mix(pixels, labels)
        logits = self._logits(pixels).float()
        loss = self.loss(logits, targets)
        hits = (logits.detach().argmax(dim=1) == main_labels(targets)).float().mean()
        self.log("train/loss_step", loss.detach(), prog_bar=True)
        epoch = {"train/loss": loss.detach(), "train/acc": hits}
        self.log_dict(epoch, on_step=False, on_epoch=True, batch_size=len(labels), sync_dist=True)
        return loss

    def on_train_epoch_end(self) -> None:
        self._check_finite(self.trainer.callback_metrics.get("train/loss"))
        for config in self.trainer.lr_scheduler_configs:
            value = self.trainer.callback_metrics.get(config.monitor or "")
            if isinstance(config.scheduler, ReduceLROnPlateau) and value is not None:
                config.scheduler.step(value)

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        # Lightning would step a plateau schedule after the checkpoint is written, and a resumed run would miss the step
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def _check_finite(self, loss: Tensor | None) -> None:
        if loss is not None and not loss.isfinite():
            raise UserError(
                f"the loss is not finite since epoch {self.current_epoch + 1}: type a smaller optimizer.lr or "
                "trainer.gradient_clip_val=1"
            )

    def _judge(self, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
        images, labels, index = batch
        logits = self(images).float()
        # plain cross-entropy whatever was trained on, so that runs compare; one value an image, so that the mean is
        # exact over ranks and last batches
        self.mean_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.confusion.update(logits, labels)
        return {"index": index, "probabilities": logits.softmax(dim=1)}

    def _log_scores(self, stage: str) -> None:
        loss = self.mean_loss.compute()  # over ranks
        if stage == "val":
            self._check_finite(loss)
        counts = self.confusion.compute().double()
        correct, either = counts.diagonal(), counts.sum(0) + counts.sum(1)
        f1 = 2 * correct[either > 0] / either[either > 0]  # classes neither present nor predicted have no F1
        scores = {"loss": loss, "acc": correct.sum() / counts.sum(), "f1_macro": f1.mean()}
        named = {f"{stage}/{name}": value.float() for name, value in scores.items()}
        self.log_dict(named, prog_bar=True, sync_dist=True)  # equal on all ranks already; Lightning warns otherwise

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._judge(batch)

    def on_validation_epoch_start(self) -> None:
        self.confusion.reset()
        self.mean_loss.reset()

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def test_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._judge(batch)

    on_test_epoch_start = on_validation_epoch_start

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def predict_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Return `index` int64 `(B,)` and `probabilities` float32 `(B, K)`."""
        images, _, index = batch
        return {"index": index, "probabilities": self(images).float().softmax(dim=1)}

    def configure_optimizers(self) -> Any:
        head, body = head_parameters(self.backbone), backbone_parameters(self.backbone)
        groups = [{"params": head + body}]
        if self.hparams.backbone_lr is not None:
            groups = [{"params": head}, {"params": body, "lr": self.hparams.backbone_lr}]
        groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
        optimizer = self.optimizer([group for group in groups if group["params"]])
        if self.scheduler is None:
            return optimizer
        schedule = scheduler_config(
            self.scheduler,
            optimizer,
            total_steps=self.trainer.estimated_stepping_batches,
            monitor=self.hparams.monitor,
            mode=self.hparams.mode,
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["fer_lightning"] = {"version": __version__, "torch": str(torch.__version__), "class": kind}


def check_ranges(*, channels: int, mixup: float, cutmix: float, drop_rate: float, unfreeze_epoch: int | None) -> None:
    """Raise a ValueError that names the argument and its range."""
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
    if mixup < 0 or cutmix < 0:
        raise ValueError(f"mixup and cutmix must be 0 (off) or positive, got mixup={mixup}, cutmix={cutmix}")
    if not 0 <= drop_rate < 1:
        raise ValueError(f"drop_rate must be in [0, 1), got {drop_rate}")
    if unfreeze_epoch is not None and unfreeze_epoch < 0:
        raise ValueError(f"unfreeze_epoch must be 0 or more, got {unfreeze_epoch}")
