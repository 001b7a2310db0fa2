"""The LightningModule of every network that is trained with one loss and one label per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fer_lightning import __version__
from fer_lightning.core.errors import ConfigError, DivergedError, first_lines
from fer_lightning.models.backbones import Stem, build_backbone
from fer_lightning.models.heads import freeze, head_logits
from fer_lightning.models.mixing import Blend, build_mix
from fer_lightning.models.normalize import Normalization, Normalize, statistics
from fer_lightning.models.optimized_module import OptimizedModule
from fer_lightning.models.parameter_groups import parameter_groups
from fer_lightning.models.run_fraction import fraction_done
from fer_lightning.models.schedules import Mode
from fer_lightning.models.scores import RunningMean, SplitScores
from fer_lightning.models.unfreezing import frozen_parameters, set_evaluation_mode

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]
Batch = tuple[Tensor, Tensor, Tensor]


class Shown(NamedTuple):
    """What the network is shown in a step of training."""

    images: Tensor  # (B, C, H, W), uint8, or float 0…255 where they are mixed
    rows: Tensor | None  # int64 (B,), of the manifest; of mixed images those of the first ones
    blend: Blend | None  # mixes what belongs to the images before mixing, float (B, n), as they are; None: unmixed


class ExpressionClassifier(OptimizedModule):
    """Trains and evaluates a backbone on batches `(images uint8 (B, C, H, W), labels int64 (B,), index int64 (B,))`.

    All arguments but `loss`, `optimizer` and `scheduler` are plain values that are stored with the checkpoint, which
    therefore describes itself.

    Args:
        backbone: `small_cnn`, `compact_cnn`, `keras_cnn`, `cnn_gru` or any timm name.
        classes: names of the outputs, in order.
        channels, image_size: of the images: 1 or 3, and pixels a side.
        mean, std: of each channel of the training split, 0…1, `(channels,)`.
        normalize: scale of the backbone's input: `standard` (by `mean` and `std`), `unit` ([0, 1]) or `imagenet`.
        input_size: pixels a side that the backbone sees; None for `image_size`. Upsampling happens on the device.
        stem, drop_rate, pretrained, weights, backbone_kwargs: see `build_backbone`.
        freeze_backbone: train the last layer only, on features of the rest in evaluation mode …
        unfreeze_epoch: … for this many epochs, then everything; None never trains the rest.
        unfreeze_epochs_per_stage: … or then one stage more, from the last to the first, every so many epochs (gradual
            unfreezing; Howard & Ruder, 2018).
        backbone_lr: learning rate of everything but the last layer; None for the optimizer's.
        layer_decay, weight_decay_exclude_1d: see `parameter_groups`.
        mixup, cutmix: α of mixup (Zhang et al., 2018) and of cutmix (Yun et al., 2019); 0 turns it off. With both, each
            batch draws one of them.
        mix_until: fraction of the run's epochs after which images are no longer mixed, in [0, 1].
        channels_last: memory format of weights and activations.
        compile: mode of `torch.compile` for the backbone: `default`, `reduce-overhead` (CUDA graphs), `max-autotune` or
            `max-autotune-no-cudagraphs`; None runs it as it is.
        data_facts: the images it is trained on and how to find its splits again, stored with the checkpoint.
        loss: maps logits `(B, K)` and labels `(B,)` or `(B, K)` to a scalar; None for cross-entropy.
        optimizer, scheduler: make an optimizer from parameter groups, and a schedule from an optimizer; None for none.
        monitor, mode: logged value that a plateau schedule watches, and whether `max` or `min` of it is better.

    Raises:
        ValueError: an argument is out of its range.
        ConfigError: unknown backbone, one that cannot be frozen as asked, or weights that cannot be loaded.
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
        normalize: Normalization = "standard",
        input_size: int | None = None,
        stem: Stem = "imagenet",
        drop_rate: float = 0.0,
        pretrained: bool = False,
        weights: str | None = None,
        backbone_kwargs: dict[str, Any] | None = None,
        freeze_backbone: bool = False,
        unfreeze_epoch: int | None = None,
        unfreeze_epochs_per_stage: int | None = None,
        backbone_lr: float | None = None,
        layer_decay: float = 1.0,
        weight_decay_exclude_1d: bool = False,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        mix_until: float = 1.0,
        channels_last: bool = True,
        compile: CompileMode | None = None,
        data_facts: dict[str, Any] | None = None,
        loss: nn.Module | None = None,
        optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        scheduler: Callable[..., Any] | None = None,
        monitor: str = "val/acc",
        mode: Mode = "max",
    ) -> None:
        super().__init__()
        self.optimizer, self.scheduler, self.monitor, self.mode = optimizer, scheduler, monitor, mode
        if channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"mixup and cutmix must be 0 (off) or positive, got mixup={mixup}, cutmix={cutmix}")
        if not 0 <= mix_until <= 1:
            raise ValueError(f"mix_until is a fraction of the run's epochs in [0, 1], got {mix_until}")
        if not 0 <= drop_rate < 1:
            raise ValueError(f"drop_rate must be in [0, 1), got {drop_rate}")
        if unfreeze_epoch is not None and unfreeze_epoch < 0:
            raise ValueError(f"unfreeze_epoch must be 0 or more, got {unfreeze_epoch}")
        if unfreeze_epochs_per_stage is not None and unfreeze_epochs_per_stage < 1:
            raise ValueError(f"unfreeze_epochs_per_stage must be 1 or more, got {unfreeze_epochs_per_stage}")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay must be in (0, 1], got {layer_decay}")
        self.classes = list(classes)
        self.save_hyperparameters(ignore=["loss", "optimizer", "scheduler"], logger=False)
        self.hparams.update(classes=self.classes, mean=list(mean), std=list(std))
        self.pixels = Normalize(*statistics(normalize, mean, std), input_size)
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
            freeze(self.backbone, backbone, (channels, side, side), always=unfreeze_epoch is None)
        if compile is not None:
            self.backbone.compile(mode=compile)  # in place, so that names of weights stay
        self.mix = build_mix(float(mixup), float(cutmix))
        self.loss = nn.CrossEntropyLoss() if loss is None else loss
        self.scores = SplitScores(len(classes))
        self.train_loss, self.train_acc = RunningMean(), RunningMean()
        self._epoch_begins = True

    def forward(self, images: Tensor) -> Any:
        """Return logits float `(B, K)` for images uint8 `(B, C, H, W)`."""
        if len(images) == 0:  # a rank's last evaluation batch can be empty, which attention does not take
            return self.pixels.scale.new_zeros((0, len(self.classes)))
        return self._logits(self.pixels(images))

    def _logits(self, pixels: Tensor) -> Any:
        pixels = pixels.contiguous(memory_format=self.memory_format)
        if self.training and self.frozen:
            return head_logits(self.backbone, pixels, self.hparams["drop_rate"])
        try:
            return self.backbone(pixels)
        except Exception as error:
            if self.hparams["compile"] is None or not type(error).__module__.startswith("torch._"):
                raise
            reason = f"{type(error).__name__}: {first_lines(error)}"
            raise ConfigError(
                f"model.compile={self.hparams['compile']}: {self.hparams['backbone']} cannot be compiled here "
                f"({reason}); install a C++ compiler if that is what is missing, or type model.compile=null"
            ) from error

    @property
    def frozen(self) -> bool:
        """Whether only the head is trained now; depends on the epoch alone, so that a resumed run agrees."""
        end = self.hparams["unfreeze_epoch"]
        return bool(self.hparams["freeze_backbone"]) and (end is None or self.current_epoch < end)

    def frozen_stages(self) -> set[str]:
        """Return the names of the backbone's parameters that gradual unfreezing has not reached in this epoch."""
        start, per_stage = self.hparams["unfreeze_epoch"], self.hparams["unfreeze_epochs_per_stage"]
        if not self.hparams["freeze_backbone"] or start is None or per_stage is None or self.frozen:
            return set()
        return frozen_parameters(self.backbone, self.current_epoch - start, per_stage)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed now, where a mix is asked for; depends on the epoch alone, as `frozen` does."""
        until: float = self.hparams["mix_until"]
        return until == 1 or fraction_done(self.trainer) < until

    def train(self, mode: bool = True) -> ExpressionClassifier:
        """Switch to training mode, but for a frozen backbone or stage, whose statistics must not move."""
        super().train(mode)
        if mode and self.frozen:
            self.backbone.eval()
        elif mode:
            set_evaluation_mode(self.backbone, self.frozen_stages())
        return self

    def _unfreeze(self) -> None:
        """Train what is to be trained in this epoch."""
        self.train()
        if self.hparams["unfreeze_epochs_per_stage"] is not None:
            frozen = self.frozen_stages()
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(name not in frozen)

    def on_train_epoch_start(self) -> None:
        self._unfreeze()
        for metric in (self.train_loss, self.train_acc):
            metric.reset()  # Lightning does at the end of an epoch, which an interrupted run did not reach
        self._epoch_begins = True

    def on_train_start(self) -> None:  # also of a run that is resumed within an epoch, whose start is not called again
        self._unfreeze()
        self._epoch_begins = True
        if self.train_loss.update_called:  # or, resumed after its last batch, the epoch would lack these
            self._log_averages()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        labels = batch[1]
        loss, hits = self.loss_and_hits(*batch)
        if self.in_second_pass:
            return loss
        self.train_loss.update(loss.detach() * len(labels), len(labels))
        self.train_acc.update(hits, len(labels))
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it unannotated
        if self._epoch_begins or (every > 0 and (self.global_step + 1) % every == 0):  # logging in each step is slow
            self._epoch_begins = False
            self._log_averages()
            # not prog_bar=True, for which Lightning would wait for the device in every step: see ProgressBar
            self.log("train/loss_step", self.train_loss.recent())
        return loss

    def _log_averages(self) -> None:
        for name in ("loss", "acc"):  # with the attribute's name, for which Lightning would search
            metric = f"train_{name}"
            self.log(f"train/{name}", getattr(self, metric), on_step=False, on_epoch=True, metric_attribute=metric)

    def loss_and_hits(self, images: Tensor, labels: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the loss `()`, and the number of images classified correctly `()`."""
        targets, blend = labels, None
        if self.mix is not None and self.mixes:
            images, blend = self.mix(images.float())
            targets = blend(F.one_hot(labels, len(self.classes)).float())
        logits = self._logits(self.pixels(images)).float()
        wanted = targets.argmax(dim=1) if targets.ndim == 2 else targets  # of mixed labels the larger fraction
        hits = (logits.detach().argmax(dim=1) == wanted).sum()
        return self.training_loss(logits, targets, Shown(images, index, blend)), hits

    def training_loss(self, logits: Tensor, targets: Tensor, shown: Shown) -> Tensor:
        """Return the loss `()` of logits float `(B, K)`; targets are labels `(B,)`, or `(B, K)` of mixed images."""
        loss: Tensor = self.loss(logits, targets)
        return loss

    def on_train_epoch_end(self) -> None:
        self._check_finite(self.trainer.callback_metrics.get("train/loss"))
        self.step_plateaus()

    def _check_finite(self, loss: Tensor | None) -> None:
        if loss is not None and not loss.isfinite():
            raise DivergedError(
                f"the loss is not finite since epoch {self.current_epoch + 1}: type a smaller optimizer.lr or "
                "trainer.gradient_clip_val=1"
            )

    def on_validation_epoch_start(self) -> None:
        self.scores.reset()

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        images, labels, index = batch
        logits = self(images).float()
        self.scores.update(logits, labels)
        return {"index": index, "probabilities": logits.softmax(dim=1)}

    def on_validation_epoch_end(self) -> None:
        self._check_finite(self.scores.mean_loss.compute())
        self._log_scores("val")

    on_test_epoch_start, test_step = on_validation_epoch_start, validation_step

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _log_scores(self, stage: str) -> None:
        scores = {f"{stage}/{name}": value for name, value in self.scores.compute().items()}
        self.log_dict(scores, prog_bar=True, sync_dist=True)  # equal on all ranks already; Lightning warns otherwise

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return `index` int64 `(B,)` and `probabilities` float32 `(B, K)`."""
        images, _, index = batch
        return {"index": index, "probabilities": self(images).float().softmax(dim=1)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        options = {name: self.hparams[name] for name in ("backbone_lr", "layer_decay", "weight_decay_exclude_1d")}
        return parameter_groups(self.backbone, **options, splits_hidden=self.splits_hidden)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kind = f"{type(self).__module__}.{type(self).__qualname__}"
        checkpoint["fer_lightning"] = {"version": __version__, "torch": str(torch.__version__), "class": kind}
