"""Means that nobody waits for: over an epoch, over what is recent, over ranks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fer_lightning.models.scores import RunningMean


def fed(*batches: list[float]) -> RunningMean:
    mean = RunningMean()
    for values in batches:
        mean.update(torch.tensor(values).sum(), len(values))
    return mean


def test_each_image_counts_alike_whatever_its_batch() -> None:
    assert fed([1.0, 2.0, 3.0], [10.0]).compute().item() == 4.0
    assert fed([1.0], [2.0, 3.0, 10.0]).compute().item() == 4.0


def test_recent_is_since_it_was_last_asked_for() -> None:
    mean = fed([1.0, 3.0])
    assert mean.recent().item() == 2.0
    for values in ([5.0], [6.0, 7.0]):
        mean.update(torch.tensor(values).sum(), len(values))
    assert mean.recent().item() == 6.0
    assert mean.compute().item() == pytest.approx(22 / 5)  # asking for what is recent forgets nothing
    assert mean.recent().isnan()  # of no image


def test_reset_forgets_everything() -> None:
    mean = fed([1.0, 3.0])
    mean.recent()
    mean.reset()
    mean.update(torch.tensor(8.0), 1)
    assert mean.compute().item() == mean.recent().item() == 8.0


def test_what_was_returned_does_not_change_later() -> None:
    mean = fed([2.0])
    recent, whole = mean.recent(), mean.compute()
    mean.update(torch.tensor(100.0), 1)
    assert (recent.item(), whole.item()) == (2.0, 2.0)


def test_counts_of_hits_are_means_too() -> None:
    mean = RunningMean()
    mean.update((torch.tensor([1, 2, 3, 4]) == torch.tensor([1, 2, 3, 0])).sum(), 4)
    assert mean.compute().item() == 0.75


def test_what_diverged_shows() -> None:
    assert fed([1.0], [float("nan")], [1.0]).compute().isnan()


TWO_PROCESSES = """
import json, sys
import torch, torch.distributed as dist, torch.multiprocessing as mp
from fer_lightning.models.scores import RunningMean

def work(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    mean = RunningMean()
    mean.update(torch.tensor([12.0, 1.0][rank]), [3, 1][rank])
    found = [mean.recent().item(), mean.compute().item()]
    mean.update(torch.tensor([8.0, 0.0][rank]), [1, 2][rank])  # goes on from its own part, not from the sum of ranks
    found += [mean.recent().item(), mean.compute().item()]
    mean.reset()
    mean.update(torch.tensor(float(rank)), 1)
    found.append(mean.compute().item())
    dist.barrier()
    dist.destroy_process_group()
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)

if __name__ == "__main__":
    mp.spawn(work, (sys.argv[1],), nprocs=2)
"""


@pytest.mark.slow  # starts two processes
def test_ranks_agree_on_the_mean_over_all_images(tmp_path: Path) -> None:
    script = tmp_path / "mean.py"
    script.write_text(TWO_PROCESSES)
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=120)
    left, right = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert left == [4.0, 13 / 4, 8.0, 3.0, 0.5]
    assert right == [1.0, 13 / 4, 0.0, 3.0, 0.5]
