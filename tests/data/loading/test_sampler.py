"""Which rows come in which order on which rank, by themselves and under a real Trainer."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, Dataset

from fer_lightning.data.loading.epoch_order import count_repeats, fixed_order
from fer_lightning.data.loading.loaders import TrainLoader
from fer_lightning.data.loading.sampler import BatchIndices, EvaluationBatchSampler, TrainBatchSampler

LABELS = np.repeat([0, 1, 2], [23, 5, 12])  # 40 rows, uneven classes
RAGGED = [(40, 4, 1), (40, 7, 2), (41, 4, 3), (7, 4, 1), (3, 4, 2), (1, 4, 3), (33, 16, 2), (10, 5, 2)]


def _train(labels: np.ndarray = LABELS, batch_size: int = 4, **options: Any) -> TrainBatchSampler:
    return TrainBatchSampler(labels, batch_size, **{"strategy": "shuffle", "seed": 0, **options})


def _rows(sampler: TrainBatchSampler, epoch: int = 0) -> list[list[int]]:
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert {batch.epoch for batch in batches} == {epoch}
    return [batch.rows.tolist() for batch in batches]


def _draws(batches: Iterable[BatchIndices]) -> list[tuple[int, int]]:
    return [draw for batch in batches for draw in zip(batch.rows.tolist(), batch.repeats.tolist(), strict=True)]


def _flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def test_shuffle_is_a_function_of_seed_and_epoch() -> None:
    first = _rows(_train(), epoch=3)
    used = _train()
    _rows(used, epoch=0)
    next(iter(used))
    assert _rows(used, epoch=3) == first  # whatever was drawn before
    assert sorted(_flat(first)) == list(range(40))
    assert _rows(_train(), epoch=4) != first
    assert _rows(_train(seed=1), epoch=3) != first


def test_sequential_keeps_one_order_in_every_epoch_under_every_seed() -> None:
    sampler = _train(strategy="sequential")
    rows = _flat(_rows(sampler, 0))
    assert rows == _flat(_rows(sampler, 1)) == _flat(_rows(_train(strategy="sequential", seed=9), 1))
    assert sorted(rows) == list(range(40))


def test_the_first_batches_of_a_sorted_table_hold_every_class() -> None:
    labels = np.repeat(np.arange(7), 500)
    evaluated = _flat([batch.rows.tolist() for batch in EvaluationBatchSampler(len(labels), 32, 0, 1)][:3])
    overfitted = _flat(_rows(_train(labels, 32, strategy="sequential"))[:3])
    assert set(labels[evaluated]) == set(labels[overfitted]) == set(range(7))
    assert np.bincount(labels[evaluated]).max() < 96 / 3


def test_rows_that_come_again_in_an_epoch_are_counted_over_all_ranks() -> None:
    labels = np.repeat([0, 1], [95, 5])  # a row of class 1 comes ten times an epoch
    draws = _draws(_train(labels, 10, strategy="balanced"))
    assert len(set(draws)) == len(draws) == 100
    assert sorted(repeat for row, repeat in draws if row == 97) == list(range(10))
    ranks = [_draws(_train(labels, 5, strategy="balanced", rank=rank, world_size=2)) for rank in range(2)]
    assert sorted(ranks[0] + ranks[1]) == sorted(draws)
    assert {repeat for _, repeat in _draws(_train(labels, 10))} == {0}


def test_images_that_fill_up_the_last_batch_are_counted_as_repeats() -> None:
    ranks = [_draws(_train(LABELS[:7], 4, drop_last=False, rank=rank, world_size=2)) for rank in range(2)]
    draws = ranks[0] + ranks[1]
    assert len(set(draws)) == len(draws) == 8
    assert sorted(repeat for _, repeat in draws) == [0] * 7 + [1]


def test_count_repeats() -> None:
    assert count_repeats(np.array([3, 5, 3, 3, 0, 5])).tolist() == [0, 0, 1, 2, 0, 1]
    assert count_repeats(np.array([], dtype=np.int64)).tolist() == []


@pytest.mark.parametrize(("count", "batch_size", "world_size"), RAGGED)
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("strategy", ["shuffle", "balanced", "sequential"])
def test_ranks_share_equally(strategy: str, drop_last: bool, count: int, batch_size: int, world_size: int) -> None:
    labels = np.arange(count) % 3
    options = {"strategy": strategy, "drop_last": drop_last}
    ranks = [
        _rows(_train(labels, batch_size, rank=rank, world_size=world_size, **options), 2) for rank in range(world_size)
    ]
    sizes = [[len(batch) for batch in batches] for batches in ranks]
    assert all(size == sizes[0] for size in sizes)
    assert len(sizes[0]) >= 1
    assert set(sizes[0][:-1]) <= {batch_size}
    assert 1 <= sizes[0][-1] <= batch_size
    if strategy == "balanced":
        return
    seen = sorted(row for batches in ranks for row in _flat(batches))
    repeated = len(seen) - len(set(seen))
    if drop_last and count >= batch_size * world_size:
        assert repeated == 0
        assert count - len(seen) < batch_size * world_size
    else:
        assert sorted(set(seen)) == list(range(count))
        assert repeated < world_size


def test_two_ranks_see_what_one_process_sees() -> None:
    one = _rows(_train(batch_size=8), epoch=1)
    left, right = (_rows(_train(batch_size=4, rank=rank, world_size=2), epoch=1) for rank in range(2))
    assert [set(a) | set(b) for a, b in zip(left, right, strict=True)] == [set(batch) for batch in one]


def test_fewer_images_than_a_batch_give_one_smaller_batch() -> None:
    assert [len(batch) for batch in _rows(_train(LABELS[:3], batch_size=64))] == [3]


def test_balanced_draws_each_class_equally_and_uses_all_images_before_any_again() -> None:
    epochs = [_flat(_rows(_train(strategy="balanced", batch_size=1), epoch)) for epoch in range(6)]
    for rows in epochs:
        assert len(rows) == 40
        counts = np.bincount(LABELS[rows])
        assert counts.max() - counts.min() <= 1
    counts = np.bincount(_flat(epochs), minlength=40)
    for label in range(3):
        uses = counts[np.equal(LABELS, label)]
        assert uses.max() - uses.min() <= 1, f"class {label} repeats an image before all were used"
    assert len({tuple(rows) for rows in epochs}) == 6
    labels = LABELS[epochs[0]]
    assert (np.diff(labels) != 0).sum() > 10, "classes come mixed, not one after the other"


def test_balanced_takes_labels_with_gaps() -> None:
    rows = _flat(_rows(_train(np.array([7, 7, 7, 2]), batch_size=2, strategy="balanced")))
    assert rows.count(3) == 2


def test_resume_at_skips_once_and_only_in_its_epoch() -> None:
    sampler = _train()
    whole = _rows(sampler, 1)
    sampler.resume_at(1, 4)
    assert len(sampler) == len(whole)
    assert [batch.rows.tolist() for batch in sampler] == whole[4:]
    assert _rows(sampler, 1) == whole
    sampler.resume_at(0, 4)
    assert _rows(sampler, 1) == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "balance"}, "did you mean balanced"),
        ({"strategy": "random"}, "must be one of shuffle, balanced, sequential"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"labels": np.array([], dtype=np.int64)}, "N at least 1"),
        ({"rank": 0}, "must be given together"),
        ({"rank": 2, "world_size": 2}, "rank=2"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _train(**options)


@pytest.mark.parametrize(("count", "batch_size", "world_size"), [*RAGGED, (0, 4, 2)])
def test_evaluation_covers_every_row_once_in_equally_many_batches(count: int, batch_size: int, world_size: int) -> None:
    samplers = [EvaluationBatchSampler(count, batch_size, rank, world_size) for rank in range(world_size)]
    ranks = [[batch.rows.tolist() for batch in sampler] for sampler in samplers]
    assert {len(batches) for batches in ranks} == {len(sampler) for sampler in samplers}
    assert len(ranks[0]) == -(-count // (batch_size * world_size))
    assert sorted(row for batches in ranks for row in _flat(batches)) == list(range(count))
    for step in zip(*ranks, strict=True):
        sizes = [len(batch) for batch in step]
        assert max(sizes) - min(sizes) <= 1
        assert 0 < max(sizes) <= batch_size


def test_evaluation_refuses_bad_arguments() -> None:
    with pytest.raises(ValueError, match="count=-1"):
        EvaluationBatchSampler(-1, 4)
    with pytest.raises(ValueError, match="batch_size=0"):
        EvaluationBatchSampler(4, 0)


# --- under a real Trainer ---


class _Echo(Dataset[Any]):
    """Gives back what was asked for."""

    def __len__(self) -> int:
        return len(LABELS)

    def __getitems__(self, draws: BatchIndices) -> torch.Tensor:
        epochs = np.full_like(draws.rows, draws.epoch)
        return torch.from_numpy(np.stack([draws.rows, epochs, draws.repeats], axis=1))


class _Diary(pl.LightningModule):
    """Notes down every training batch; `stop_at` raises as Ctrl-C does, within that step."""

    def __init__(self, num_workers: int, persistent: bool, strategy: str, stop_at: int = -1) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.options = {"num_workers": num_workers, "persistent_workers": persistent, "collate_fn": _identity}
        self.strategy, self.stop_at = strategy, stop_at
        self.batches: list[list[list[int]]] = []
        self.validated: list[int] = []

    def train_dataloader(self) -> TrainLoader:
        progress = self.trainer.fit_loop.epoch_loop.batch_progress.current
        sampler = _train(batch_size=8, strategy=self.strategy)
        return TrainLoader(self._loader(sampler), sampler, trained=lambda: progress.processed)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(EvaluationBatchSampler(len(LABELS), 16))

    def _loader(self, sampler: Any) -> DataLoader[Any]:
        return DataLoader(_Echo(), batch_sampler=sampler, **self.options)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        if self.global_step == self.stop_at:
            raise RuntimeError("stopped")
        self.batches.append(batch.tolist())
        return self.layer(batch.float()).mean()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.validated += batch[:, 0].tolist()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def _identity(batch: torch.Tensor) -> torch.Tensor:
    return batch


def _fit(model: _Diary, epochs: int, ckpt_path: Path | None = None, **options: Any) -> list[list[list[int]]]:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    if not options.get("callbacks"):
        quiet["enable_checkpointing"] = False
    trainer = pl.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, num_sanity_val_steps=0, **quiet, **options)
    trainer.fit(model, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
    return model.batches


def _expected(epochs: int, strategy: str) -> list[list[list[int]]]:
    sampler, batches = _train(batch_size=8, strategy=strategy), []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        batches += [[[row, epoch, repeat] for row, repeat in _draws([batch])] for batch in sampler]
    return batches


LOADERS = [(0, False), (2, False), (2, True)]


@pytest.mark.parametrize(("num_workers", "persistent"), LOADERS)
def test_trainer_sets_the_epoch(num_workers: int, persistent: bool) -> None:
    model = _Diary(num_workers, persistent, "shuffle")
    assert _fit(model, 3) == _expected(3, "shuffle")
    assert model.validated == fixed_order(40).tolist() * 3


@pytest.mark.parametrize(("num_workers", "persistent"), LOADERS)
@pytest.mark.parametrize("when", ["epoch end", "validation end", "mid epoch"])
def test_resuming_goes_on_with_the_draws_of_the_unbroken_run(
    tmp_path: Path, when: str, num_workers: int, persistent: bool
) -> None:
    options = {
        "epoch end": {"every_n_epochs": 1, "save_on_train_epoch_end": True},
        "validation end": {"every_n_epochs": 1, "save_on_train_epoch_end": False},
        "mid epoch": {"every_n_train_steps": 7},  # two batches into epoch 1
    }[when]
    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **options)
    unbroken = _fit(_Diary(num_workers, persistent, "balanced"), 3, callbacks=[saver])
    assert unbroken == _expected(3, "balanced")
    done = 7 if when == "mid epoch" else 5
    (checkpoint,) = tmp_path.glob(f"*step={done}.ckpt")
    resumed = _Diary(num_workers, persistent, "balanced")
    assert _fit(resumed, 3, checkpoint) == unbroken[done:]
    assert resumed.validated == fixed_order(40).tolist() * 2


@pytest.mark.parametrize("step", [5, 8, 14])
def test_resuming_from_a_checkpoint_written_within_a_step(tmp_path: Path, step: int) -> None:
    saver = ModelCheckpoint(tmp_path, filename="stopped", save_on_exception=True)
    with pytest.raises(RuntimeError, match="stopped"):
        _fit(_Diary(2, True, "shuffle", stop_at=step), 3, callbacks=[saver])
    (checkpoint,) = tmp_path.glob("*.ckpt")
    assert _fit(_Diary(2, True, "shuffle"), 3, checkpoint) == _expected(3, "shuffle")[step:]


@pytest.mark.parametrize("persistent", [True, False])
def test_loader_processes_end_with_the_run(persistent: bool) -> None:
    before = set(multiprocessing.active_children())
    model = _Diary(2, persistent, "shuffle")
    _fit(model, 1)
    assert set(multiprocessing.active_children()) <= before, "and not when nobody knows the trainer any more"
    assert model.trainer is not None


def test_epochs_cut_short_start_anew() -> None:
    batches = _fit(_Diary(2, True, "shuffle"), 2, limit_train_batches=3)
    whole = _expected(2, "shuffle")
    assert batches == whole[:3] + whole[5:8]


# --- under torch.distributed ---

TWO_PROCESSES = """
import json, sys
import torch.distributed as dist, torch.multiprocessing as mp
from fer_lightning.data.loading.sampler import EvaluationBatchSampler, TrainBatchSampler

def work(rank, folder):
    train = TrainBatchSampler([0] * 9 + [1] * 33, 4, strategy="shuffle", seed=5)  # before anyone knows the ranks
    evaluation = EvaluationBatchSampler(42, 4)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    train.set_epoch(1)
    trained = [(batch.rows.tolist(), batch.epoch) for batch in train]
    result = [len(train), trained, len(evaluation), [batch.rows.tolist() for batch in evaluation]]
    dist.barrier()
    dist.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(result, file)

if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1],), nprocs=2)
"""


@pytest.mark.slow  # starts two processes
def test_two_processes_share_without_being_told_their_ranks(tmp_path: Path) -> None:
    script = tmp_path / "share.py"
    script.write_text(TWO_PROCESSES)
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for train_length, train, evaluation_length, evaluation in ranks:
        assert [len(rows) for rows, _ in train] == [4] * train_length == [4] * 5
        assert evaluation_length == len(evaluation) == 6
    trained = [row for rank in ranks for rows, epoch in rank[1] for row in rows if epoch == 1]
    assert len(trained) == len(set(trained)) == 40
    assert sorted(row for rank in ranks for row in _flat(rank[3])) == list(range(42))
