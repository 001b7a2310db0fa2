"""The datamodule on the layouts that users download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.data.synthetic.dataset import write_tree
from fer_lightning.data.table.emotions import EMOTIONS

FLIP_AND_TURN = Augmentation(
    flip=0.5, rotate=20, shift=0.1, zoom=0.1, affine=1, brightness=0.2, contrast=0.2, light=0.5, erase=0.5,
    erase_area=(0.02, 0.2), extra=None,
)  # fmt: skip


def module(tmp_path: Path, **options: object) -> ExpressionDataModule:
    data = ExpressionDataModule(cache_dir=str(tmp_path / "cache"), image_size=32, batch_size=8, **options)  # type: ignore[arg-type]
    data.setup()
    return data


@pytest.mark.parametrize(
    ("layout", "splits"),
    [
        ("train_validation", {"train", "validation"}),
        ("train_test", {"train", "validation", "test"}),  # validation is held out of train
        ("official", {"train", "validation", "test"}),
        ("nested", {"train", "validation"}),
        ("wrapped", {"train", "validation"}),
        ("flat", {"train", "validation", "test"}),
        ("csv", {"train", "validation", "test"}),
        ("icml", {"train", "validation", "test"}),
    ],
)
def test_every_layout_gives_batches_of_bytes(tmp_path: Path, layout: str, splits: set[str]) -> None:
    write_tree(tmp_path / "data", layout=layout, per_class=12, image_size=48)
    data = module(tmp_path, root=str(tmp_path / "data"))
    assert set(data.table.splits) == splits
    assert data.classes == EMOTIONS
    images, labels, index = next(iter(data.train_dataloader()))
    assert (images.shape, images.dtype) == ((8, 1, 32, 32), torch.uint8)
    assert labels.dtype == index.dtype == torch.int64
    np.testing.assert_array_equal(labels, data.table.labels[index])
    np.testing.assert_array_equal(images, data.images(index.numpy()))
    assert all("\n" not in note for note in data.notes)


@pytest.mark.parametrize(
    ("there", "wanted", "said"),
    [
        ({"test": 12}, "train", "no train images: the data has test; rename the file or folder if it is not for evalu"),
        (
            {"train": 12, "test": 2},
            "validation",
            r"no validation images: .* train, test; data\.holdout=0\.1 takes some",
        ),
    ],
)
def test_a_split_without_images(
    tmp_path: Path, write_tree_of: Callable[..., Path], there: dict[str, int], wanted: str, said: str
) -> None:
    counts = {f"{split}/{name}": count for split, count in there.items() for name in ("happy", "sad")}
    root = write_tree_of(tmp_path / "data", counts)
    with pytest.raises(DataError, match=said):
        module(tmp_path, root=str(root), holdout=0).require(wanted)
    if wanted == "validation":
        assert len(module(tmp_path, root=str(root), holdout=0.1).require(wanted)) > 0
    else:
        root.joinpath("test").rename(root / "train")
        assert len(module(tmp_path, root=str(root)).require(wanted)) > 0


def test_the_draws_have_a_seed_of_their_own(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="flat", per_class=12, image_size=48)
    one, other = (module(tmp_path, root=str(tmp_path / "data"), draw_seed=seed) for seed in (1, 2))
    assert one.facts() == other.facts()
    orders = [torch.cat([batch.index for batch in data.train_dataloader()]) for data in (one, other)]
    assert not torch.equal(*orders)
    same = module(tmp_path, root=str(tmp_path / "data"), draw_seed=1)
    assert torch.equal(orders[0], torch.cat([batch.index for batch in same.train_dataloader()]))


def test_evaluation_reads_each_image_of_a_split_once(tmp_path: Path) -> None:
    data = module(tmp_path, synthetic={"train": 70, "validation": 27, "test": 14})
    seen = torch.cat([batch.index for batch in data.val_dataloader()]).numpy()
    np.testing.assert_array_equal(np.sort(seen), data.rows("validation"))
    assert len(seen) == 27
    assert data.report_split == "test"


def test_sizes_depend_on_whether_faces_are_drawn(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="flat", per_class=12, image_size=32)
    read = ExpressionDataModule(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    drawn = ExpressionDataModule(synthetic={"train": 14, "validation": 7, "test": 7})
    asked = ExpressionDataModule(synthetic={"train": 14, "validation": 7, "test": 7}, image_size=16, batch_size=4)
    for data in (read, drawn, asked):
        data.setup()
    shapes = [tuple(next(iter(data.train_dataloader())).images.shape) for data in (read, drawn, asked)]
    assert shapes == [(64, 1, 48, 48), (14, 1, 24, 24), (4, 1, 16, 16)]
    assert asked.source.fingerprint == "drawn-14-7-7-16px-1ch-seed42"  # as in earlier versions


def test_holdout_makes_the_other_split_the_test(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="train_validation", per_class=10)
    plain = module(tmp_path, root=str(tmp_path / "data"))
    held = module(tmp_path, root=str(tmp_path / "data"), holdout=0.2)
    assert plain.report_split == "validation"
    assert held.report_split == "test"
    np.testing.assert_array_equal(plain.rows("validation"), held.rows("test"))
    assert set(held.rows("validation")) < set(plain.rows("train"))


def test_a_subset_keeps_its_order_and_reuses_the_cache(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="train_validation", per_class=6)
    whole = module(tmp_path, root=str(tmp_path / "data"))
    some = module(tmp_path, root=str(tmp_path / "data"), classes=["sad", "happy"])
    assert some.classes == ("sad", "happy")
    assert some.source.fingerprint == whole.source.fingerprint
    for row in range(len(some.table)):
        (row_in_whole,) = np.flatnonzero(whole.table.paths == some.table.paths[row])
        np.testing.assert_array_equal(some.images(np.array([row])), whole.images(np.array([row_in_whole])))


def test_an_unreadable_image_is_named_or_left_out(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="train_validation", per_class=6)
    broken = sorted((tmp_path / "data").rglob("*.png"))[3:5]
    for path in broken:
        path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"{broken[0].name}.*1 more.*data.on_error=skip"):
        module(tmp_path, root=str(tmp_path / "data"))
    data = module(tmp_path, root=str(tmp_path / "data"), on_error="skip")
    assert len(data.source.skipped) == 2
    assert len(data.table) == len(list((tmp_path / "data").rglob("*.png"))) - 2


def test_draws_do_not_depend_on_workers(tmp_path: Path) -> None:
    def epochs(workers: int) -> list[torch.Tensor]:
        data = ExpressionDataModule(
            synthetic={"train": 35, "validation": 7, "test": 7}, image_size=32, num_workers=workers,
            augmentation=FLIP_AND_TURN, batch_size=8,
        )  # fmt: skip
        data.setup()
        train = data.train_dataloader()
        found = []
        for epoch in range(2):
            train.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
            found.append(torch.cat([batch.images for batch in train]))
        return found

    alone, together = epochs(0), epochs(2)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert not torch.equal(*alone)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"layout": "foldres"}, "folders"), ({"split": [0.5, 0.1, 0.1]}, "summing"), ({"holdout": 1.5}, "holdout"),
     ({"image_size": 4}, "image_size"), ({"on_error": "ignore"}, "skip"), ({"limit": 0}, "limit")],
)  # fmt: skip
def test_values_out_of_range_are_named(options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ExpressionDataModule(**options)  # type: ignore[arg-type]


def test_folders_without_a_root_say_what_to_type() -> None:
    with pytest.raises(DataError, match=r"data\.root=PATH"):
        ExpressionDataModule(layout="folders").setup()


def test_unknown_classes_suggest_near_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="happy"):
        module(tmp_path, classes=["hapy", "sad"])


def test_a_class_may_be_augmented_by_numbers_of_its_own(tmp_path: Path) -> None:
    write_tree(tmp_path / "data", layout="train_validation", per_class=12, image_size=32)
    options = {"root": str(tmp_path / "data"), "classes": ["sad", "happy", "angry"]}  # in another order than on disk
    data = module(tmp_path, **options, augmentation=Augmentation(by_class={"happy": {"flip": 1.0}}, ramp=0.5))
    data.trainer = pl.Trainer(max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False)
    found = list(data.train_dataloader())
    assert data.loaders.engine is not None
    assert data.loaders.engine.epochs == 4
    images, labels = (torch.cat(column) for column in list(zip(*found, strict=True))[:2])
    plain = torch.from_numpy(data.images(torch.cat([batch.index for batch in found]).numpy()))
    happy = labels == data.classes.index("happy")
    assert happy.sum() > 5
    assert torch.equal(images[happy], plain[happy].flip(-1))
    assert torch.equal(images[~happy], plain[~happy])
    with pytest.raises(ConfigError, match=r"by_class\.hapy is no class; did you mean augmentation\.by_class\.happy\?"):
        module(tmp_path, **options, augmentation=Augmentation(by_class={"hapy": {"flip": 1.0}}))
