"""Every notebook runs on what a run leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from omegaconf import DictConfig

from fer_lightning.training.run import train

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(
    path: Path, compose: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = ("data.synthetic={train: 28, validation: 14, test: 14}", "data.image_size=32", "trainer=cpu")
    train(compose("train", *tiny, "trainer.max_epochs=1", f"output_dir={tmp_path / 'outputs/run'}"))
    monkeypatch.setenv("FER_LIGHTNING_OUTPUTS", str(tmp_path / "outputs"))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(pictures) == 2
