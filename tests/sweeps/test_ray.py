"""A sweep on a Ray of this machine, with two workers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fer_lightning.runs.environment import installed_version
from fer_lightning.runs.status import read_status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(installed_version("hydra-ray-launcher") is None, reason="needs hydra-ray-launcher"),
]
TINY = (
    "hydra/launcher=ray",
    "hydra.launcher.ray.init.num_cpus=2",
    "hydra.launcher.ray.init.include_dashboard=false",
    "data.synthetic={train: 28, validation: 14, test: 14}",
    "data.image_size=32",
    "data.batch_size=14",
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.enable_progress_bar=false",
    "logger=none",
)


def test_two_workers_run_a_sweep(tmp_path: Path) -> None:
    # no folder is typed as a whole path: workers have a directory of their own
    command = [
        sys.executable,
        "-m",
        "fer_lightning.train",
        "-m",
        *TINY,
        "trainer.max_epochs=1,2",
        "hydra.sweep.dir=sweep",
    ]
    own = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}  # Ray sets it for each job
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=180, env=own, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    jobs = sorted((tmp_path / "sweep").glob("[0-9]*"))
    assert [job.name for job in jobs] == ["0_max_epochs=1", "1_max_epochs=2"]
    for job, epochs in zip(jobs, (1, 2), strict=True):
        status = read_status(job)
        assert status is not None
        assert status.status == "finished"
        told = re.findall(r"epoch (\d+)/(\d+): ", (job / "output.log").read_text())
        assert told == [(str(epoch), str(epochs)) for epoch in range(1, epochs + 1)]
        machine = json.loads((job / "environment.json").read_text())["machine"]
        assert machine["threads"] == 1  # the core that Ray grants each job
    assert "epoch 1/" not in done.stdout + done.stderr
    ours = f"{tmp_path}{os.sep}"  # the whole path: the same test may run in another session on this machine
    assert not [
        process for process in psutil.process_iter(["cmdline"]) if ours in " ".join(process.info["cmdline"] or [])
    ]
