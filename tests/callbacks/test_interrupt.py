"""Ctrl-C ends a run between two batches, and ranks of a distributed run leave together."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, os, signal, sys
import lightning.pytorch as pl, torch
from fer_lightning.callbacks import interrupt
from fer_lightning.callbacks.interrupt import Interrupted, StopOnInterrupt

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        if self.trainer.global_rank == self.trainer.world_size - 1 and self.global_step == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGINT)  # to this rank alone
        return self.layer(batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

if __name__ == "__main__":
    interrupt.BATCHES_BETWEEN = 5
    looks = []
    quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    ranks = int(sys.argv[3])
    strategy = "ddp" if ranks > 1 else "auto"
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=ranks, strategy=strategy, log_every_n_steps=0,
        callbacks=[StopOnInterrupt()], use_distributed_sampler=False, **quiet,
    )
    decide = trainer.strategy.reduce_boolean_decision
    def noted(decision, all=True):
        if sys._getframe(1).f_code.co_name == "_leave_if_asked":
            looks.append(trainer.fit_loop.epoch_loop.batch_idx)
        return decide(decision, all)
    trainer.strategy.reduce_boolean_decision = noted
    ended = "finished"
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(Model(), torch.utils.data.DataLoader(torch.ones(12, 1), batch_size=1))
    except Interrupted:
        ended = "interrupted"
    found = [ended, trainer.global_step, looks, signal.getsignal(signal.SIGINT) is before]
    with open(f"{sys.argv[1]}/{trainer.global_rank}.json", "w") as file:
        json.dump(found, file)
    if ranks > 1:
        torch.distributed.destroy_process_group()  # or a slower rank may find the other gone, and abort
"""


def ends(folder: Path, at: int, ranks: int) -> list[list[object]]:
    script = folder / "fit.py"
    script.write_text(PROGRAM)
    command = [sys.executable, script, folder, str(at), str(ranks)]
    ended = subprocess.run(command, timeout=180, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]


@pytest.mark.parametrize(
    ("at", "step", "looks"),
    [
        (6, 10, [4, 9]),  # every few batches
        pytest.param(10, 12, [4, 9, 11], marks=pytest.mark.slow),  # and at the end of an epoch
        pytest.param(99, 24, [4, 9, 11] * 2, marks=pytest.mark.slow),
    ],
    ids=["amid", "end of epoch", "never"],
)
def test_ranks_leave_together_when_one_is_asked_to(tmp_path: Path, at: int, step: int, looks: list[int]) -> None:
    ended = "finished" if at == 99 else "interrupted"
    assert ends(tmp_path, at, ranks=2) == [[ended, step, looks, True]] * 2


def test_one_process_leaves_after_the_batch_and_asks_nobody(tmp_path: Path) -> None:
    assert ends(tmp_path, 6, ranks=1) == [["interrupted", 7, [], True]]
