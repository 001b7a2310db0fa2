"""A network that learns from trained networks beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor

from fer_lightning.core.choices import check_choices
from fer_lightning.core.errors import CheckpointError, ConfigError
from fer_lightning.models.classifier import ExpressionClassifier, Shown
from fer_lightning.models.distillation.losses import dkd_loss, kd_loss, soften
from fer_lightning.models.distillation.panel import Panel, View

Method = Literal["kd", "dkd"]
_OWN = ("teachers", "method", "alpha", "temperature", "beta", "teacher_view", "stored_logits")


class DistilledClassifier(ExpressionClassifier):
    """An `ExpressionClassifier` whose training loss is (1 - α)·(loss of the labels) + α·T²·(distance from teachers).

    Its checkpoints are those of an `ExpressionClassifier`: whoever uses one needs no teachers. Only continuing the run
    does, and they must be the same ones.

    Args:
        teachers: checkpoints of networks of any kind, size of images and order of the same classes; or `.npz` files of
            their logits, as `stored_logits` writes them. The student learns the mean of their probabilities.
        method: `kd` (Hinton et al., 2015), or `dkd` (Zhao et al., 2022), which does not let sure teachers hide what
            they think of the other classes. Of mixed images, the label is that of the larger fraction.
        alpha: α, in [0, 1]; 1 does without labels.
        temperature: T of the softmax of both, positive.
        beta: β of `dkd`, the weight of the other classes among themselves, 0 or more.
        teacher_view: `augmented`: teachers are shown the very images that the student sees, mixed ones included
            (Beyer et al., 2022, "Knowledge distillation: A good teacher is patient and consistent"); `plain`: once,
            before training, the images without augmentation and their mirror images. Their probabilities are mixed
            as the images are.
        stored_logits: where teachers' logits are kept, so that another run pays nothing for them: `auto`, in the cache
            of the data, but for augmented images on a GPU, which is faster to ask; a folder; an `.npz` file for the
            plain view; or None, nowhere.

    Raises:
        ValueError: an argument is out of its range.
        CheckpointError: a teacher cannot be used.
    """

    def __init__(
        self,
        backbone: str,
        classes: Sequence[str],
        *,
        teachers: Sequence[str] = (),
        method: Method = "kd",
        alpha: float = 0.9,
        temperature: float = 4.0,
        beta: float = 8.0,
        teacher_view: View = "augmented",
        stored_logits: str | None = "auto",
        **settings: Any,
    ) -> None:
        check_choices(DistilledClassifier.__init__, {"method": method, "teacher_view": teacher_view}, prefix="model.")
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1], got {alpha}")
        if temperature <= 0 or beta < 0:
            raise ValueError(f"temperature must be positive and beta 0 or more, got {temperature} and {beta}")
        super().__init__(backbone, classes, **settings)
        for name in _OWN:  # which those who use the network need not know
            self.hparams.pop(name, None)
        self.method, self.alpha, self.temperature, self.beta = method, alpha, temperature, beta
        self.panel = Panel(teachers, classes, teacher_view, stored_logits)

    def on_fit_start(self) -> None:
        """Prepare the teachers, for all of the training images where they are asked once only."""
        if not self.panel:
            raise ConfigError("model.teachers=[]: type 'model.teachers=[<run folder>/checkpoints/best.ckpt]'")
        self.panel.prepare(self.trainer)

    def training_loss(self, logits: Tensor, targets: Tensor, shown: Shown) -> Tensor:
        loss = super().training_loss(logits, targets, shown)
        teachers = self._probabilities(shown)
        if self.method == "kd":
            distance = kd_loss(logits, teachers, self.temperature)
        else:
            labels = targets.argmax(dim=1) if targets.ndim == 2 else targets
            distance = dkd_loss(logits, teachers, labels, self.temperature, self.beta)
        return (1 - self.alpha) * loss + self.alpha * self.temperature**2 * distance

    def _probabilities(self, shown: Shown) -> Tensor:
        """Return the teachers' probabilities for what is shown, softened, float32 `(B, K)`."""
        softened = soften(self.panel.logits(shown, self.current_epoch), self.temperature)
        return softened if shown.blend is None or self.panel.view == "augmented" else shown.blend(softened)

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self.panel.flush()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["distillation"] = {"teachers": self.panel.facts()}
        self.panel.flush()  # a run that is interrupted goes on from here

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to continue a run with other teachers."""
        super().on_load_checkpoint(checkpoint)
        before = checkpoint.get("distillation", {}).get("teachers", [])
        known, now = ([one["fingerprint"] for one in facts] for facts in (before, self.panel.facts()))
        if known and known != now:
            files = ",".join(str(one["path"]) for one in before)
            raise CheckpointError(
                f"the run to be continued learnt from other teachers than model.teachers names: from {files}, in "
                "this order; a file that has changed since is another teacher"
            )
