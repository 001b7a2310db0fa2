"""The baselines do what they are compared for: they train, predict, decode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fer_lightning.benchmarks import baselines, keras_baseline
from fer_lightning.data.augmentation.spec import Augmentation


class Enough(Exception):
    """The clock has seen what it wants."""


class Counter:
    """A clock that ends the loop after some steps."""

    def __init__(self, steps: int) -> None:
        self.left, self.counts = steps, []

    def __call__(self, count: float) -> None:
        self.counts.append(count)
        self.left -= 1
        if self.left == 0:
            raise Enough


def run(work: Callable[..., Any], steps: int, *arguments: Any, **options: Any) -> list[float]:
    clock = Counter(steps)
    with pytest.raises(Enough):
        work(clock, *arguments, **options)
    return clock.counts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Dark and bright pictures, 11 of each."""
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 156)):
        (tmp_path / name).mkdir()
        for number in range(11):
            pixels = rng.integers(low, low + 100, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


class Bytes(nn.Module):
    """Scales bytes itself, as our networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.float() / 127.5 - 1)


@pytest.mark.slow
def test_the_textbook_loop_learns(folder: Path) -> None:
    spec = Augmentation(flip=0.5, rotate=5, shift=0.1, zoom=0.1, brightness=0.05, contrast=0.05, erase=0.2)
    loader = baselines.textbook_loader(str(folder), spec, size=16, mean=[0.5], std=[0.5], batch_size=8)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    counts = run(baselines.textbook, 30, loader, model, nn.CrossEntropyLoss(), optimizer, torch.device("cpu"))
    assert counts[:4] == [8, 8, 6, 8]  # whole epochs of 22
    images, labels = next(iter(loader))
    assert images.shape[1:] == (1, 16, 16)
    assert (model.eval()(images).argmax(1) == labels).float().mean() > 0.9
    assert loader.num_workers == 2


def test_transforms_that_can_do_nothing_are_left_out(folder: Path) -> None:
    def names(spec: Augmentation) -> list[str]:
        loader = baselines.textbook_loader(str(folder), spec, size=16, mean=[0.5], std=[0.5], batch_size=8)
        return [type(step).__name__ for step in loader.dataset.transform.transforms]  # type: ignore[attr-defined]

    plain = ["Grayscale", "Resize", "RandomHorizontalFlip", "ToTensor", "Normalize"]
    assert names(Augmentation()) == plain
    assert set(names(Augmentation(rotate=5, contrast=0.1, erase=0.1))) - {*plain} == {"RandomApply", "RandomErasing"}


@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_the_expert_loop_learns_on_augmented_full_batches(half: torch.dtype | None) -> None:
    labels = torch.arange(22) % 2
    images = (torch.rand(22, 1, 16, 16) * 100 + 156 * labels.view(-1, 1, 1, 1)).to(torch.uint8)
    seen: list[tuple[int, list[int]]] = []

    def augment(batch: Tensor, epoch: int, rows: Tensor) -> Tensor:
        assert torch.equal(batch, images[rows])
        seen.append((epoch, rows.tolist()))
        return batch.flip(3)

    model = Bytes()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    options = {"batch_size": 8, "half": half}
    counts = run(baselines.expert, 30, images, labels, model, nn.CrossEntropyLoss(), optimizer, augment, **options)
    assert set(counts) == {8}
    assert [epoch for epoch, _ in seen[:5]] == [0, 0, 1, 1, 2]
    assert len({*seen[0][1], *seen[1][1]}) == 16
    assert (model(images).argmax(1) == labels).float().mean() > 0.9


def test_the_expert_loop_takes_a_set_smaller_than_a_batch() -> None:
    model = Bytes()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    arguments = (torch.zeros(5, 1, 16, 16, dtype=torch.uint8), torch.zeros(5, dtype=torch.long), model)
    options = {"batch_size": 8, "half": None}
    loss = nn.CrossEntropyLoss()
    assert run(baselines.expert, 2, *arguments, loss, optimizer, lambda batch, *_: batch, **options) == [5, 5]


def test_inference_counts_whole_passes() -> None:
    model = Bytes().train()
    images = torch.zeros(21, 1, 16, 16, dtype=torch.uint8)
    assert run(baselines.inference, 2, images, model, batch_size=8, half=None) == [21, 21]
    assert not model.training


def test_folders_are_decoded_and_listed(folder: Path) -> None:
    assert run(baselines.decode_folder, 2, str(folder), size=16, channels=3) == [22, 22]
    assert run(baselines.list_folder, 2, str(folder)) == [22, 22]
    (folder / "dark" / "0.png").write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify"):
        baselines.decode_folder(Counter(1), str(folder), size=16, channels=1)


def test_a_matrix_product_counts_its_arithmetic() -> None:
    assert run(baselines.matmul, 3, size=8, device="cpu") == [1024] * 3


def test_keras_fits_the_same_number_of_images(folder: Path) -> None:
    pytest.importorskip("tensorflow", reason='needs pip install "fer_lightning[keras]"')
    counts = run(keras_baseline.keras_fit, 6, str(folder), size=32, batch_size=8, learning_rate=1e-4)
    assert sum(counts) == pytest.approx(44)  # two epochs of 22 in three batches each
