"""A specification as a pipeline of Albumentations: what one engine is built from, and what `augmentation.json` holds.

Nothing here imports Albumentations, which takes a quarter of a second, unless `augmentation.extra` names a transform.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from fer_lightning.data.augmentation.spec import Augmentation

VERSION = "2.0.8"  # of Albumentations, the last under the MIT licence
LINEAR, REFLECT_101 = 1, 4  # OpenCV's INTER_LINEAR and BORDER_REFLECT_101
CLASS = "__class_fullname__"  # as Albumentations calls it
Item = dict[str, Any]  # a transform: the class under `name`, and its constructor's arguments


class Pipeline(NamedTuple):
    """The transforms of a specification that have an effect, in the order in which they are applied."""

    before: list[Item]
    extra: list[Item]
    after: list[Item]


def pipeline(spec: Augmentation) -> Pipeline:
    """Return the transforms that draw what `spec` describes."""
    before: list[Item] = []
    if spec.flip > 0:
        before.append({"name": "HorizontalFlip", "p": spec.flip})
    if spec.moves:
        shift = (-float(spec.shift), float(spec.shift))
        before.append(
            {
                "name": "Affine",
                "rotate": (-float(spec.rotate), float(spec.rotate)),
                "translate_percent": {"x": shift, "y": shift},  # a dict draws the axes independently
                "scale": (1.0 - spec.zoom, 1.0 + spec.zoom),
                "keep_ratio": True,
                "interpolation": LINEAR,
                "border_mode": REFLECT_101,
                "p": spec.affine,
            }
        )
    if spec.lights:
        # RandomBrightnessContrast scales contrast about black, and at 0.4 clips most of one face in ten.
        brightness, contrast = ((1.0 - change, 1.0 + change) for change in (spec.brightness, spec.contrast))
        light = {"brightness": brightness, "contrast": contrast, "saturation": (1.0, 1.0), "hue": (0.0, 0.0)}
        before.append({"name": "ColorJitter", **light, "p": spec.light})
    erasing = {"name": "Erasing", "scale": spec.erase_area, "ratio": (0.5, 2.0), "fill": "random", "p": spec.erase}
    return Pipeline(before, list(spec.extra or []), [erasing] if spec.erase > 0 else [])


def as_json(spec: Augmentation) -> str:
    """Return the pipeline as `albumentations.load` reads it, and beside it what that does not know.

    `by_class` holds the pipelines of classes with numbers of their own, `ramp` is as in the specification.
    """
    other = {"by_class": {name: _compose(spec.of_class(name)) for name in spec.by_class}} if spec.by_class else {}
    ramp = {"ramp": spec.ramp} if spec.ramp > 0 else {}
    return json.dumps({"__version__": VERSION, "transform": _compose(spec), **other, **ramp}, indent=2)


def _compose(spec: Augmentation) -> dict[str, Any]:
    before, extra, after = pipeline(spec)
    own = (*before, *after)
    transforms = [{CLASS: item["name"]} | {key: item[key] for key in item if key != "name"} for item in own]
    if extra:
        from fer_lightning.data.augmentation.extra_transforms import build_extra

        named = [transform.to_dict()["transform"] for transform in build_extra(extra)]
        transforms[len(before) : len(before)] = named
    # as the engine, whose images need no check of their own
    return {CLASS: "Compose", "p": 1.0, "transforms": transforms, "is_check_shapes": False}
