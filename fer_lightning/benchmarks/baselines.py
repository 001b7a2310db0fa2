"""The baselines: loops as people write them themselves, each to be read from top to bottom.

Each loop calls `clock` after every step with the number of images, and ends when that raises.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

from fer_lightning.data.augmentation.spec import Augmentation

Clock = Callable[[float], None]
Loss = Callable[[Tensor, Tensor], Tensor]
TEXTBOOK_WORKERS = 2


def textbook(
    clock: Clock, loader: Iterable[Any], network: nn.Module, criterion: Loss, optimizer: Optimizer, device: torch.device
) -> None:
    """Train as every tutorial does: fp32, NCHW, batches from `textbook_loader`."""
    network.to(device).train()
    while True:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(network(images), labels)
            loss.backward()  # type: ignore[no-untyped-call]  # of torch
            optimizer.step()
            clock(len(images))


def textbook_loader(
    folder: str, spec: Augmentation, *, size: int, mean: Sequence[float], std: Sequence[float], batch_size: int
) -> DataLoader[Any]:
    """Return what a tutorial loads class folders with: ImageFolder, torchvision's transforms, two workers.

    The images have `size` pixels a side and as many channels as `mean` (0…1); one is grey. The augmentation `spec` is
    done as nearly as torchvision does it.
    """
    steps: list[Any] = [transforms.Grayscale()] if len(mean) == 1 else []
    steps += [transforms.Resize((size, size)), transforms.RandomHorizontalFlip(spec.flip)]
    if max(spec.rotate, spec.shift, spec.zoom) > 0:
        translate, scale = (spec.shift, spec.shift), (1 - spec.zoom, 1 + spec.zoom)
        bilinear = transforms.InterpolationMode.BILINEAR
        move = transforms.RandomAffine(spec.rotate, translate, scale, interpolation=bilinear)
        steps.append(transforms.RandomApply([move], p=spec.affine))
    if max(spec.brightness, spec.contrast) > 0:
        steps.append(transforms.RandomApply([transforms.ColorJitter(spec.brightness, spec.contrast)], p=spec.light))
    steps += [transforms.ToTensor(), transforms.Normalize(mean, std)]
    if spec.erase > 0:
        steps.append(transforms.RandomErasing(spec.erase, spec.erase_area, (0.5, 2.0), value="random"))
    dataset = ImageFolder(folder, transforms.Compose(steps))
    return DataLoader(dataset, batch_size=batch_size, shuffle=True, num_workers=TEXTBOOK_WORKERS)


def expert(
    clock: Clock,
    images: Tensor,
    labels: Tensor,
    network: nn.Module,
    criterion: Loss,
    optimizer: Optimizer,
    augment: Callable[[Tensor, int, Tensor], Tensor],
    *,
    batch_size: int,
    half: torch.dtype | None,
) -> None:
    """Train as fast as a bare loop can, with all that makes ours fast and nothing of Lightning.

    Images are uint8 `(N, C, H, W)` and labels int64 `(N,)`, on the device, where the network scales bytes itself;
    `augment` returns the changed batch for its images, the epoch and its rows. Arithmetic is in the type `half` inside
    autocast, or in fp32.
    """
    network.train()
    for epoch in itertools.count():
        order = torch.randperm(len(images), device=images.device)
        for rows in torch.split(order, batch_size):
            if len(rows) < min(batch_size, len(images)):
                break
            batch = augment(images[rows], epoch, rows)
            optimizer.zero_grad()
            with autocast(images.device, half):
                logits = network(batch)
            loss = criterion(logits.float(), labels[rows])
            loss.backward()  # type: ignore[no-untyped-call]  # of torch
            optimizer.step()
            clock(len(rows))


def inference(clock: Clock, images: Tensor, network: nn.Module, *, batch_size: int, half: torch.dtype | None) -> None:
    """Predict all images uint8 `(N, C, H, W)` over and over; a step is a whole pass that ends in a NumPy array."""
    network.eval()
    while True:
        with torch.inference_mode(), autocast(images.device, half):
            outputs = [network(batch).float().softmax(dim=1) for batch in torch.split(images, batch_size)]
        torch.cat(outputs).cpu().numpy()
        clock(len(images))


def autocast(device: torch.device, half: torch.dtype | None) -> contextlib.AbstractContextManager[Any]:
    """Return autocast to a type of 16 bits, or nothing for None."""
    return contextlib.nullcontext() if half is None else torch.autocast(device.type, half)


def decode_folder(clock: Clock, folder: str, *, size: int, channels: int) -> None:
    """Open every picture of class folders with Pillow, over and over; a step is a whole pass."""
    samples = ImageFolder(folder).samples
    while True:
        for path, _ in samples:
            with Image.open(path) as picture:
                np.asarray(picture.convert("L" if channels == 1 else "RGB").resize((size, size)))
        clock(len(samples))


def list_folder(clock: Clock, folder: str) -> None:
    """List the pictures of class folders, over and over, as any program must before its first batch."""
    while True:
        clock(len(ImageFolder(folder)))


def matmul(clock: Clock, *, size: int, device: str) -> None:
    """Multiply two square matrices in bf16, over and over: what the matrix units can really do. Counts FLOPs."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    while True:
        torch.mm(left, right)
        clock(2 * size**3)
