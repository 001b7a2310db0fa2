"""Self-contained HTML pages from the templates beside this file; everything that comes from data is escaped."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any, TypeGuard

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fer_lightning import __version__
from fer_lightning.core.file_names import shown


def render_page(template: str, name: str, **values: Any) -> str:
    """Return a page as one HTML file that loads nothing, by a template in `templates/`; `name` is its heading."""
    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"text": text_of, "percent": percent, "base64": lambda data: base64.b64encode(data).decode()}
    return shown(environment.get_template(template).render(name=name, version=__version__, **values))


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite number and no truth value; JSON can hold integers that no float can."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def percent(fraction: float, digits: int = 1, unit: str = " %") -> str:
    """Return a fraction in percent: `61.2 %`."""
    return f"{100 * fraction:.{digits}f}{unit}"


def text_of(value: object) -> str:
    """Return one value as plain text; what is not known is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value))
    return "yes" if value is True else "no" if value is False else str(value)
