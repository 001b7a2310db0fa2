"""A teacher takes the images of any student, and says what it thinks in the order of the student's classes."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from fer_lightning.core.errors import CheckpointError
from fer_lightning.models.classifier import ExpressionClassifier
from fer_lightning.models.distillation.logit_table import LogitTable
from fer_lightning.models.distillation.stored_logits import StoredLogits, checksums
from fer_lightning.models.distillation.teachers import SEEN, Teacher

CLASSES = ["happy", "sad", "neutral"]
NOTHING = {name: np.empty(0, np.uint64) for name in SEEN}


def saved(path: Path, backbone: str = "small_cnn", classes: list[str] = CLASSES, **settings: object) -> str:
    torch.manual_seed(1)
    model = ExpressionClassifier(backbone, classes, **{"image_size": 16, **settings})  # type: ignore[arg-type]
    torch.nn.init.normal_(model.backbone.get_classifier().weight)  # otherwise its first logits are almost equal
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return str(path)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_its_classes_get_the_order_of_the_student(tmp_path: Path, images: torch.Tensor) -> None:
    path = saved(tmp_path / "a.ckpt")
    logits, moved = Teacher.read(path, CLASSES)(images), Teacher.read(path, ["neutral", "happy", "sad"])(images)
    assert torch.equal(moved, logits[:, [2, 0, 1]])
    assert torch.equal(logits, logits.half().float())
    with pytest.raises(CheckpointError, match=r"a\.ckpt knows happy, sad, neutral; the data has happy, sad\. Choose"):
        Teacher.read(path, ["happy", "sad"])


def test_it_reads_images_as_it_was_trained_to(tmp_path: Path, images: torch.Tensor) -> None:
    settings = {"image_size": 24, "channels": 3, "mean": [0.5] * 3, "std": [0.2] * 3, "normalize": "unit"}
    path = saved(tmp_path / "a.ckpt", "cnn_gru", **settings)
    from fer_lightning.models.checkpoint import Checkpoint

    larger = torch.nn.functional.interpolate(images.float(), (24, 24), mode="bilinear", antialias=True)
    expected = Checkpoint.read(path).build()(larger.expand(-1, 3, -1, -1)).detach()
    torch.testing.assert_close(Teacher.read(path, CLASSES)(images), expected, rtol=1e-3, atol=1e-3)


def test_colour_is_made_grey_for_a_grey_teacher(tmp_path: Path, images: torch.Tensor) -> None:
    teacher = Teacher.read(saved(tmp_path / "a.ckpt"), CLASSES)
    torch.testing.assert_close(teacher(images.expand(-1, 3, -1, -1)), teacher(images), rtol=1e-2, atol=1e-2)
    red = images.expand(-1, 3, -1, -1) * torch.tensor([1, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    torch.testing.assert_close(teacher(red), teacher(0.299 * images.float()), rtol=1e-2, atol=1e-2)


def test_a_fingerprint_tells_weights_and_scales_apart(tmp_path: Path) -> None:
    paths = [saved(tmp_path / "a.ckpt"), saved(tmp_path / "b.ckpt"), saved(tmp_path / "c.ckpt", normalize="unit")]
    content = torch.load(paths[0], weights_only=True)
    content["state_dict"]["backbone.fc.bias"] += 1
    torch.save(content, tmp_path / "d.ckpt")
    one, same, scale, weights = (Teacher.read(path, CLASSES).fingerprint for path in (*paths, str(tmp_path / "d.ckpt")))
    assert one == same
    assert len({one, scale, weights}) == 3


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", "table"])
def test_files_that_hold_no_teacher_are_refused(tmp_path: Path, content: bytes | str | None) -> None:
    for name, reader in (("x.ckpt", Teacher), ("x.npz", LogitTable)):
        path = tmp_path / name
        if content == "table":
            np.savez(path.open("wb"), logits=np.zeros((2, 1, 3), np.float16))
        elif content is not None:
            path.write_bytes(bytes(content))  # type: ignore[arg-type]
        with pytest.raises(CheckpointError, match=rf"model\.teachers: .*{name}.*; type 'model\.teachers=\["):
            reader.read(str(path), CLASSES)


def test_a_table_keeps_logits_by_image(tmp_path: Path) -> None:
    logits = np.arange(12, dtype=np.float16).reshape(4, 1, 3)
    seen = NOTHING | {SEEN[0]: np.array([9, 2], np.uint64)}
    table = LogitTable.of(CLASSES, np.array([7, 5, 7, 2**63], np.uint64), logits, ["f00d"], [seen, NOTHING])
    table.write(tmp_path / "deep" / "t.npz")
    again = LogitTable.read(tmp_path / "deep" / "t.npz", ["sad", "neutral", "happy"])
    found, known = again.of_images(np.array([2**63, 6, 5, 2**64 - 1], np.uint64))
    assert known.tolist() == [True, False, True, False]
    assert found[known].tolist() == [[[10, 11, 9]], [[4, 5, 3]]]
    assert again.fingerprint == table.fingerprint
    assert again.seen[SEEN[0]].tolist() == [2, 9]


class Asked:
    """Answers with logits that name the pictures, and counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.times += 1
        return images.float().mean((1, 2, 3)).view(-1, 1, 1).expand(-1, 2, 3).half().float()


@pytest.mark.parametrize("side", [16, 5])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_slots_are_found_again_and_only_for_the_same_pictures(tmp_path: Path, side: int, kind: torch.dtype) -> None:
    images = torch.randint(0, 256, (4, 1, side, side), generator=torch.Generator().manual_seed(0)).to(kind)
    ask, index = Asked(), torch.tensor([5, 0, 3, 9])
    first = StoredLogits(tmp_path / "a.bin", 10, 2, 3)
    expected = ask(images)
    assert torch.equal(first.logits(2, index, images, ask), expected)
    assert torch.equal(first.logits(2, index, images, ask), expected)
    assert ask.times == 2
    first.flush()
    again = StoredLogits(tmp_path / "a.bin", 10, 2, 3)
    assert torch.equal(again.logits(2, index.flip(0), images.flip(0), ask), expected.flip(0))
    assert ask.times == 2
    changed = images.clone()
    changed[1, 0, 2, 2] += 1
    assert torch.equal(again.logits(2, index, changed, ask), ask(changed))
    again.logits(1, index, images, ask)
    assert ask.times == 5


def test_a_torn_slot_is_asked_for_again(tmp_path: Path) -> None:
    images, ask, index = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), Asked(), torch.arange(2)
    store = StoredLogits(tmp_path / "a.bin", 2, 2, 3)
    store.logits(0, index, images, ask)  # black pictures, whose logits are 0 as well
    assert ask.times == 1
    store.flush()
    content = bytearray((tmp_path / "a.bin").read_bytes())
    assert len(content) == 2 * (8 + 2 * 2 * 3)
    content[-1] ^= 1
    (tmp_path / "a.bin").write_bytes(content)
    assert StoredLogits(tmp_path / "a.bin", 2, 2, 3).logits(0, index, images, ask).eq(0).all()
    assert ask.times == 2
    (tmp_path / "a.bin").write_bytes(content[:20])
    StoredLogits(tmp_path / "a.bin", 2, 2, 3).logits(0, index, images, ask)
    assert ask.times == 3


def test_every_pixel_counts_in_a_checksum() -> None:
    image = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    one_off = torch.eye(16, dtype=torch.uint8).view(16, 1, 4, 4)
    assert len(checksums(torch.cat([image, one_off, one_off * 128])).unique()) == 33
