"""Run folders written by hand, as `train` writes them, for what no tiny run could show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from fer_lightning.evaluation.metrics import wilson_interval

WriteRun = Callable[..., Path]
CLASSES = ("happy", "sad")
BASE: dict[str, Any] = {
    "data": {"root": "/faces", "image_size": 48, "channels": 1, "seed": "${seed}"},
    "model": {"backbone": "small_cnn", "drop_rate": 0.3},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001, "amsgrad": False},
    "callbacks": {"best_checkpoint": {"monitor": "${monitor}", "dirpath": "${output_dir}/checkpoints"}},
    "seed": 1,
    "monitor": "val/acc",
    "mode": "max",
    "output_dir": "${hydra:runtime.output_dir}",
}


def predictions(right: Sequence[bool] | np.ndarray, split: str = "validation") -> pd.DataFrame:
    """Return a predictions table whose first, second, … image is right or not."""
    right = np.asarray(right, dtype=bool)
    label = np.array([CLASSES[at % 2] for at in range(len(right))], dtype=object)
    other = np.array([CLASSES[(at + 1) % 2] for at in range(len(right))], dtype=object)
    predicted = np.where(right, label, other)
    table = pd.DataFrame({"path": [f"{split}/{at}.jpg" for at in range(len(right))], "split": split})
    table["label"], table["predicted"] = label, predicted
    return table.assign(**{name: np.where(predicted == name, 0.75, 0.25) for name in CLASSES})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with dotted keys changed."""
    settings = json.loads(json.dumps(base))
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        node = settings
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return settings


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """Return a function that writes a run: write_run(folder, right=[True, …], value=0.6, settings={"seed": 2})."""

    def write(
        folder: Path,
        right: Sequence[bool] | np.ndarray | None = None,
        *,
        value: float | None = None,
        split: str = "validation",
        settings: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
        fingerprint: str = "f00d",
        splits: str | None = "cafe",
        epochs: int = 3,
        **facts: Any,
    ) -> Path:
        told = merged(BASE, {} if settings is None else settings)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        overrides = [f"{key}={item}" for key, item in ({} if settings is None else settings).items()]
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        command = " ".join(["python -m fer_lightning.train", *overrides, f"hydra.run.dir={folder}"])
        record = {"command": command, "data": {"fingerprint": fingerprint, "splits": splits}}
        (folder / "environment.json").write_text(json.dumps(record))
        rows = [{"epoch": at, "val/acc": 0.2 * at, "train/loss": 2 / at} for at in range(1, epochs + 1)]
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
        if status is not None:
            (folder / "status.json").write_text(json.dumps(status))
        if right is not None:
            table = predictions(right, split)
            table.to_csv(folder / "predictions.csv", index=False)
            correct = int(np.sum(right))
            metrics = {
                "split": split,
                "monitor": told["monitor"],
                "monitored": correct / len(table) if value is None else value,
                "epoch": 2,
                "parameters": 1_174_439,
                "partial": False,
                "count": len(table),
                "accuracy": correct / len(table),
                "accuracy_interval": wilson_interval(correct, len(table)),
                "f1_macro": 0.5,
                **facts,
            }
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    return write
