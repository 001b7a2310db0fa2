"""Where a checkpoint looks for each class, on average: a figure and a record in its run, and in the run's report."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig
from tqdm import tqdm

from fer_lightning.config.allowed import allowed_modules
from fer_lightning.core.atomic_write import write_text
from fer_lightning.core.errors import ConfigError, DataError, StorageError
from fer_lightning.evaluation.canvas import save
from fer_lightning.inference.explain.average import ClassMap, as_rows, average_maps
from fer_lightning.inference.explain.figures import plot_averages
from fer_lightning.inference.explain.heat_maps import check_method
from fer_lightning.inference.explain.regions import areas
from fer_lightning.inference.recognizer import load_recognizer
from fer_lightning.models.checkpoint import Checkpoint
from fer_lightning.models.shipped.find import find_model
from fer_lightning.runs import files
from fer_lightning.runs.find import run_of
from fer_lightning.runs.results import write_report
from fer_lightning.training.evaluate_checkpoint import Evaluation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Explained:
    """The averages of all classes and what `heat_maps.json` says of them."""

    maps: list[ClassMap]
    method: str
    split: str
    data: str
    checkpoint: Checkpoint

    def write(self, folder: Path) -> Path:
        """Write figure and record, and the report of a run again; return the figure."""
        checkpoint = self.checkpoint
        record = {
            "method": self.method,
            "split": self.split,
            "data": self.data,
            "checkpoint": f"checkpoints/{checkpoint.path.name}",
            "epoch": checkpoint.epoch,
            "areas": {part: round(area, 4) for part, area in areas().items()},
            "classes": as_rows(self.maps),
        }
        count = sum(each.images for each in self.maps)
        subtitle = f"mean over {count:,} {self.split} images that were predicted right, by {self.method}"
        write_text(folder / files.HEAT_MAPS, json.dumps(record, indent=2) + "\n")
        figure = save(plot_averages(self.maps, "Where the network looks", subtitle), folder / files.HEAT_MAPS_FIGURE)
        if run_of(checkpoint.path) == folder:
            write_report(folder)
        return figure


def explain_classes(cfg: DictConfig) -> Path:
    """Average the maps of images that the checkpoint predicts right into its run's folder, and build the report again.

    A checkpoint that lies in no run, or in one that cannot be written to, gets its files in the output folder.
    """
    if cfg["class"] is not None:
        raise ConfigError(f"class={cfg['class']} is for a source: without one, every class is explained; leave it out")
    recognizer = load_recognizer(find_model(cfg.ckpt_path), allow=allowed_modules(cfg))
    if not hasattr(recognizer, "model"):
        raise ConfigError(
            f"{recognizer.path} does not say what images it was trained on: type source=photo.jpg, or ckpt_path=<run "
            "folder>/checkpoints/best.ckpt"
        )
    check_method(recognizer, cfg.method)
    cfg.ckpt_path = str(recognizer.path)
    evaluation = Evaluation.prepare(cfg)
    data = evaluation.open_data()
    split = data.report_split if cfg.split == "auto" else cfg.split
    rows = data.require(split)
    positions = [recognizer.classes.index(name) if name in recognizer.classes else -1 for name in data.classes]
    labels = np.array(positions)[data.table.labels[rows]]
    averages = average_maps(
        recognizer, lambda some: data.images(rows[some]), labels, method=cfg.method, per_class=cfg.per_class
    )
    maps = list(tqdm(averages, total=len(recognizer.classes), unit=" classes", disable=None, leave=False))
    if not any(each.images for each in maps):
        raise DataError(f"none of the {split} images is predicted right, so there is no map to average")
    explained = _Explained(maps, cfg.method, split, data.notes[0], evaluation.checkpoint)
    run, output = run_of(recognizer.path), Path(cfg.output_dir)
    try:
        written = explained.write(output if run is None else run)
    except StorageError as error:
        if run is None:
            raise
        log.warning("%s: the maps are written to the output folder, and the run's report stays as it was", error)
        written = explained.write(output)
    print(f"written to {written}" + (f", and into {run / files.REPORT}" if written.parent == run else ""))
    return written.parent
