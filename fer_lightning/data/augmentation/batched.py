"""Augmentation of whole batches on their device: CPU, CUDA or MPS.

The distributions are those of Albumentations 2.0.8, parameter by parameter; a test compares the two. All geometric
changes are one resampling, all changes of light one multiplication and addition. Nothing synchronises with the device
and no shape depends on a random number, so a call can be compiled and captured in a CUDA graph.

Kornia draws from a global generator and took 2.8 times as long (48 pixels, batches of 128, 2 CPU cores).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_lightning.core.errors import ConfigError
from fer_lightning.data.augmentation.counter_rng import noise_bank, uniforms
from fer_lightning.data.augmentation.engine import Engine
from fer_lightning.data.augmentation.spec import Augmentation

_GREY = (0.299, 0.587, 0.114)  # of red, green and blue
_RATIO = (0.5, 2.0)  # of an erased rectangle, width over height
_CHUNK_BYTES = 512 << 10  # of images that a CPU augments together, to stay in its cache


class Numbers(NamedTuple):
    """What a specification says in numbers: of all images, or float32 `(B,)` of each."""

    flip: float | Tensor
    affine: float | Tensor
    light: float | Tensor
    rotate: float | Tensor  # radians; from here on those that `Augmentation.ramp` lets grow
    shift: float | Tensor
    zoom: float | Tensor
    brightness: float | Tensor
    contrast: float | Tensor
    erase: float | Tensor

    @classmethod
    def of(cls, spec: Augmentation) -> Numbers:
        numbers = {name: getattr(spec, name) for name in cls._fields}
        return cls(**numbers | {"rotate": math.radians(spec.rotate)})


class BatchedEngine(Engine):
    """Augments whole batches as tensors of at least 2 x 2 pixels.

    For CUDA graphs, `epoch` may also be int64 `()` on the device of the images.

    Raises:
        ConfigError: `spec.extra` is given, which only Albumentations supports.
    """

    def __init__(self, spec: Augmentation, seed: int, kinds: Tensor | None = None, epochs: int | None = None) -> None:
        super().__init__(spec, seed, kinds, epochs)
        if spec.extra:
            raise ConfigError("augmentation.extra needs Albumentations: type data.engine=albumentations, or auto")
        self._flips, self._erases = (any(getattr(one, name) > 0 for one in self.specs) for name in ("flip", "erase"))
        self._moves, self._lights = (any(getattr(one, name) for one in self.specs) for name in ("moves", "lights"))
        self._idle = not (self._flips or self._moves or self._lights or self._erases)
        self._shared = Numbers.of(spec)
        self._table = torch.tensor([Numbers.of(one) for one in self.specs]).T  # float32 (9, kinds)

    @property
    def summary(self) -> str:
        if self._idle:
            return "augmentation: none"
        return (
            "augmentation: whole batches at once (data.engine=batched), drawn as the Albumentations pipeline in "
            f"augmentation.json draws them, but faster{self.course}"
        )

    def __call__(self, images: Tensor, epoch: int | Tensor, rows: Tensor, repeats: Tensor) -> Tensor:
        if self._idle or len(images) == 0:
            return images
        size = max(1, _CHUNK_BYTES // images[0].numel()) if images.device.type == "cpu" else len(images)
        draws = uniforms(self.seed, epoch, rows, repeats, 15)
        if self.kinds is not None or self.spec.ramp > 0:
            draws = torch.cat([draws, self._numbers(epoch, rows)])
        chunks = zip(torch.split(images, size), torch.split(draws, size, dim=1), strict=True)
        changed = [self._change(*chunk) for chunk in chunks]
        return changed[0] if len(changed) == 1 else torch.cat(changed)  # on a GPU there is one, and no copy

    def _numbers(self, epoch: int | Tensor, rows: Tensor) -> Tensor:
        """Return the `Numbers` of each image in an epoch, float32 `(9, B)`."""
        self._table = self._table.to(rows.device)  # the first time; then it is there
        if self.kinds is None:
            numbers = self._table.repeat(1, len(rows))
        else:
            self.kinds = self.kinds.to(rows.device)
            numbers = self._table[:, self.kinds[rows]]
        if not isinstance(epoch, Tensor):
            grown: float | Tensor = self.growth(epoch)
        else:
            grown = (epoch / self.ramp_epochs).clamp(max=1) if self.ramp_epochs > 0 else 1.0
        numbers[Numbers._fields.index("rotate") :] *= grown
        return numbers

    def _change(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change images by uniform numbers float32 `(15, B)` in [0, 1), after which their own `Numbers` may stand."""
        numbers = Numbers(*draws[15:]) if len(draws) > 15 else self._shared
        flip, affine, light, erase = draws[:4]  # each step happens below its probability
        flipped = flip < numbers.flip
        if self._flips and not self._moves:
            images = _choose(_bytes(flipped).view(-1, 1, 1, 1), images.flip(-1), images)
        if self._moves or self._lights:
            values = images.to(torch.float32)
            if self._moves:
                values = _move(values, numbers, flipped, affine, draws[4:8])
            if self._lights:
                values = _relight(values, numbers, light, draws[8:10])
            images = values.to(torch.uint8)
        erased = erase < numbers.erase
        return _erase(images, self.spec.erase_area, erased, draws[10:15]) if self._erases else images


def _move(values: Tensor, numbers: Numbers, flipped: Tensor, chances: Tensor, draws: Tensor) -> Tensor:
    """Flip, scale, rotate about the centre, shift by whole pixels; the draws are angle, shift across and down, scale.

    Bilinear, mirrored at the border without repeating the outermost pixels (OpenCV's BORDER_REFLECT_101). Positions are
    -1…1 between the centres of the outermost pixels. The grid, which leads from the result to the image, is a sum of a
    function of x and one of y; `F.affine_grid`, which multiplies small matrices, takes twice as long as the sampling.
    """
    height, width = values.shape[-2:]
    moved = (chances < numbers.affine).to(torch.float32)
    angle, across, down, zoom = (_plus_minus_one(draws) * moved).unbind(0)
    scale = zoom * numbers.zoom + 1
    angle = angle * numbers.rotate
    cos, sin = angle.cos() / scale, angle.sin() / scale
    shift_x = (across * (numbers.shift * width)).trunc() * (2 / (width - 1))
    shift_y = (down * (numbers.shift * height)).trunc() * (2 / (height - 1))
    aspect = (height - 1) / (width - 1)
    left, up = sin * aspect, sin / aspect
    mirror = 1 - 2 * flipped.to(torch.float32)
    x = torch.linspace(-1, 1, width, device=values.device)
    y = torch.linspace(-1, 1, height, device=values.device)
    of_x = torch.stack([cos * mirror, up])[..., None] * x
    of_y = torch.stack([-left * mirror, cos])[..., None] * y
    of_y = of_y + torch.stack([(left * shift_y - cos * shift_x) * mirror, -up * shift_x - cos * shift_y])[..., None]
    grid = (of_y[..., :, None] + of_x[..., None, :]).permute(1, 2, 3, 0)
    return F.grid_sample(values, grid, mode="bilinear", padding_mode="reflection", align_corners=True).round_()


def _relight(values: Tensor, numbers: Numbers, chances: Tensor, draws: Tensor) -> Tensor:
    """Change brightness and contrast in place, and round; without clipping between them their order does not matter.

    The mean is exact, because rows are summed as integers: the order in which a device adds floats depends on the size
    of the batch.
    """
    height, width = values.shape[-2:]
    means = values.sum(3).to(torch.int64).sum(2).to(torch.float32) / (height * width)
    if values.shape[1] == 3:
        red, green, blue = torch.split(means, 1, dim=1)
        means = _GREY[0] * red + _GREY[1] * green + _GREY[2] * blue
    lit = (chances < numbers.light).to(torch.float32)
    brighter, steeper = (_plus_minus_one(draws) * lit).unbind(0)
    gain, stretch = (brighter * numbers.brightness + 1)[:, None], (steeper * numbers.contrast + 1)[:, None]
    values.mul_((gain * stretch)[..., None, None]).add_((means * (gain * (1 - stretch)))[..., None, None])
    return values.clamp_(0, 255).round_()


def _erase(images: Tensor, areas: tuple[float, float], chosen: Tensor, draws: Tensor) -> Tensor:
    """Overwrite a rectangle of the chosen images with noise; the draws are area, ratio, left, top, place in bank."""
    height, width = images.shape[-2:]
    size, ratio, left, top, noise = draws
    smallest, largest = (fraction * height * width for fraction in areas)
    largest = min(largest, height**2 * _RATIO[0], width**2 / _RATIO[1])
    area = size * (largest - smallest) + smallest
    narrowest, widest = (area / height**2).clamp(min=_RATIO[0]), (width**2 / area).clamp(max=_RATIO[1])
    ratio = ratio * (widest - narrowest) + narrowest
    erased = chosen.to(torch.float32)
    wide, tall = (area * ratio).sqrt().round() * erased, (area / ratio).sqrt().round() * erased
    left, top = (left * (width - wide + 1)).floor(), (top * (height - tall + 1)).floor()
    columns = _between(left, wide, width).view(-1, 1, 1, width)
    rows = _between(top, tall, height).view(-1, 1, height, 1)
    bank = noise_bank(images[0].numel(), images.device)
    drawn = bank.index_select(0, (noise * len(bank)).long()).view(images.shape)
    return _choose(columns & rows, drawn, images)


def _between(start: Tensor, length: Tensor, side: int) -> Tensor:
    """Return the mask uint8 `(B, side)` of the pixels from `start` on, `length` many."""
    pixels = torch.arange(side, dtype=torch.float32, device=start.device)
    return _bytes((pixels >= start[:, None]) & (pixels < (start + length)[:, None]))


def _plus_minus_one(draws: Tensor) -> Tensor:
    return draws * 2 - 1


def _bytes(mask: Tensor) -> Tensor:
    return mask.to(torch.uint8) * 255


def _choose(mask: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
    """Do the same as `torch.where`, for a mask of 0 and 255, 30 times as fast for bytes on a CPU."""
    return other ^ ((chosen ^ other) & mask)
