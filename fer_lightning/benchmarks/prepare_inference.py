"""Prepares suite `inference`: the network as an ONNX file, untrained, and what it is shown."""

from __future__ import annotations

from pathlib import Path

import cv2

from fer_lightning.benchmarks.contenders import Parts
from fer_lightning.benchmarks.drawn_pictures import FRAME, PHOTOGRAPH, draw_picture, write_video
from fer_lightning.inference.export.export import export_checkpoint
from fer_lightning.training import build


def prepare_inference(settings: str, folder: str) -> None:
    """Write to `folder` the network of a file of settings, `model.onnx`, and drawn `photograph.jpg` and `video.avi`.

    Speed does not depend on the weights. Raises a UserError if the network cannot be exported.
    """
    place, parts = Path(folder), Parts.of(settings)
    trainer = build.build_trainer(parts.cfg, parts.machine, [], [])
    trainer.strategy.connect(parts.model())
    trainer.save_checkpoint(place / "model.ckpt")
    export_checkpoint(place / "model.ckpt", place / "model.onnx")
    cv2.imwrite(str(place / "photograph.jpg"), draw_picture(*PHOTOGRAPH)[..., ::-1])  # OpenCV: blue first
    write_video(place / "video.avi", *FRAME)
