"""A value that is none of a signature's choices is refused, and the choices are named."""

from __future__ import annotations

from typing import Literal

import pytest

from fer_lightning.core.choices import check_choices


def function(
    layout: Literal["auto", "csv"],
    order: Literal["fer2013"] | None = None,
    channels: Literal[1, 3] = 1,
    workers: int | Literal["auto"] = "auto",
) -> None: ...


@pytest.mark.parametrize(
    "values", [{"layout": "csv"}, {"order": None}, {"order": "fer2013"}, {"channels": 3}, {"workers": 7, "other": 1}]
)
def test_choices_are_accepted(values: dict[str, object]) -> None:
    check_choices(function, values)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"layout": "zip"}, "data.layout=zip: choose one of auto, csv"),
        ({"layout": None}, "data.layout=None: choose one of auto, csv"),
        ({"order": "abc"}, "data.order=abc: choose one of fer2013, None"),
        ({"channels": 2}, "data.channels=2: choose one of 1, 3"),
    ],
)
def test_other_values_are_refused(values: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        check_choices(function, values, prefix="data.")
