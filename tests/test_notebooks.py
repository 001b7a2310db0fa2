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


# of the outputs of each notebook: what they hold, and how many do
EXPECTED = {
    "results": {"image/png": ("", 2)},
    "predict": {"text/html": ("data:image/jpeg;base64,", 2), "text/plain": ("Predictor(model: ", 1)},
}


@pytest.fixture(scope="module")
def outputs(compose: Callable[..., DictConfig], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a run lies in."""
    folder = tmp_path_factory.mktemp("outputs")
    tiny = ("data.synthetic={train: 28, validation: 14, test: 14}", "data.image_size=32", "trainer=cpu")
    train(compose("train", *tiny, "trainer.max_epochs=1", f"output_dir={folder / 'run'}"))
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_LIGHTNING_OUTPUTS", str(outputs))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "clear the outputs before committing"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    data = [out["data"] for cell in notebook.cells for out in cell.get("outputs", []) if "data" in out]
    for kind, (text, count) in EXPECTED[path.stem].items():
        assert sum(text in found.get(kind, "") for found in data if kind in found) == count
