"""Loss, accuracy and macro-F1 of a split, kept on the device and summed over ranks."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix


class SplitScores(nn.Module):
    """What `val/` and `test/` scores of K = `num_classes` classes are computed from."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.confusion = MulticlassConfusionMatrix(num_classes=num_classes, validate_args=False)
        self.mean_loss = MeanMetric(nan_strategy="disable")  # else it leaves out what diverged

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits float `(B, K)`, labels int64 `(B,)`."""
        # plain cross-entropy whatever was trained on, so that runs compare; one value an image, so that the mean is
        # exact over ranks and last batches
        self.mean_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        self.confusion.update(logits, labels)

    def compute(self) -> dict[str, Tensor]:
        """Return `loss`, `acc` and `f1_macro`, float32 `()` each."""
        counts = self.confusion.compute().double()
        correct, either = counts.diagonal(), counts.sum(0) + counts.sum(1)
        f1 = 2 * correct[either > 0] / either[either > 0]  # classes neither present nor predicted have no F1
        scores = {"loss": self.mean_loss.compute(), "acc": correct.sum() / counts.sum(), "f1_macro": f1.mean()}
        return {name: value.float() for name, value in scores.items()}

    def reset(self) -> None:
        self.confusion.reset()
        self.mean_loss.reset()
