"""Prepares the benchmark: usable data, its cache, and the files that the baselines read."""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as pl
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torchvision.datasets import ImageFolder

from fer_lightning.benchmarks.textbook import Textbook
from fer_lightning.core.quiet_libraries import silence_libraries
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.datamodule import ExpressionDataModule
from fer_lightning.system.machine import Machine
from fer_lightning.training import build


def prepare(settings: str, folder: str) -> dict[str, Any]:
    """Decode the data of a file of settings, write to `folder` what the baselines need, and return facts for the rows.

    Written are class folders, unless the user's own can be used, and the parts of the textbook loop.

    Raises:
        UserError: settings or data cannot be used.
    """
    silence_libraries()
    cfg: Any = OmegaConf.load(settings)
    machine, data, _, _ = build.build_components(cfg)
    data.setup()
    for split in ("train", "validation"):
        data.require(split)
    faces = own_class_folders(data)
    if faces is None:
        faces = Path(folder, "faces")
        write_class_folders(data, faces)
    textbook = Path(folder, "textbook.pt")
    torch.save(textbook_of(cfg, data, machine), textbook)
    train, readable = len(data.rows("train")), len(data.source.images) - len(data.source.skipped)
    return {
        "machine": machine.as_dict(),
        "device": torch.cuda.get_device_name() if machine.device.type == "cuda" else machine.accelerator,
        "avx512": torch.backends.cpu.get_cpu_capability() == "AVX512",
        "fingerprint": data.source.fingerprint,
        "notes": list(data.notes),
        "source": data.table.source,
        "faces": str(faces),
        "textbook": str(textbook),
        "resident": data.is_resident_on(machine.device),
        "pictures": train if data.layout == "synthetic" else readable,  # of drawn faces, those that were written
        "train": train,
        "validation": len(data.rows("validation")),
    }


def own_class_folders(data: ExpressionDataModule) -> Path | None:
    """Return the user's folder of class folders that hold the training split and nothing else; None without one."""
    table, rows = data.table, data.rows("train")
    if table.source != "folders":
        return None
    files = _training_files(data)
    parents = {file.parent.parent for file in files}
    pairs = {(file.parent, label) for file, label in zip(files, table.labels[rows].tolist(), strict=True)}
    if len(parents) != 1 or not len(pairs) == len({place for place, _ in pairs}) == len(table.classes):
        return None
    (folder,) = parents
    try:
        listed = {path for path, _ in ImageFolder(str(folder)).samples}
    except OSError:  # torchvision wants a picture in each folder
        return None
    return folder if listed == {str(file) for file in files} else None


def write_class_folders(data: ExpressionDataModule, folder: Path) -> None:
    """Write the training split as `folder/<class>/<number>.<suffix>`, which torchvision and Keras can read.

    The user's own files are linked, drawn faces and rows of a CSV become PNG files.
    """
    table, rows = data.table, data.rows("train")
    for name in table.classes:
        (folder / name).mkdir(parents=True)
    names = [table.classes[label] for label in table.labels[rows].tolist()]
    if table.source == "folders":
        for number, (name, original) in enumerate(zip(names, _training_files(data), strict=True)):
            place = folder / name / f"{number}{original.suffix.lower()}"
            try:
                os.link(original, place)  # a symbolic link would cost a path look-up each time
            except OSError:  # another disk
                shutil.copyfile(original, place)
        return
    for number, name in enumerate(names):
        image = data.images(rows[number : number + 1])[0].transpose(1, 2, 0)
        cv2.imwrite(str(folder / name / f"{number}.png"), image[..., ::-1])  # OpenCV writes blue first


def textbook_of(cfg: DictConfig, data: ExpressionDataModule, machine: Machine) -> Textbook:
    """Return what the textbook loop takes from a run: network, optimizer and sizes."""
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    makers = build.build_optimizer(cfg)
    model = build.build_model(cfg, data, replace(machine, channels_last=False), makers, fresh=False)
    optimizer: Any = makers[0]
    engine: Any = data.loaders.engine
    mean, std = data.statistics()
    loading = {
        "spec": Augmentation() if engine is None else engine.spec,
        "size": data.image_size if cfg.model.input_size is None else cfg.model.input_size,
        "mean": mean,
        "std": std,
        "batch_size": cfg.data.batch_size,
    }
    plain = functools.partial(optimizer.func, *optimizer.args, **optimizer.keywords)  # Hydra 1.4's cannot be pickled
    return Textbook(model.backbone, plain, machine.device, loading)


def _training_files(data: ExpressionDataModule) -> list[Path]:
    root = data.table.root.resolve()
    return [root / str(data.table.paths[row]) for row in np.asarray(data.rows("train")).tolist()]
