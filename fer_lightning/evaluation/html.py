"""What every page has in common: a frame that loads nothing, tables, figures. Whatever comes from a run is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from fer_lightning import __version__

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, kind: str, name: str, sections: Iterable[str], footer: str, style: str = "") -> str:
    """Return a self-contained page, light or dark as its reader likes it, that forbids scripts and loads nothing.

    Args:
        title: of the window.
        kind: of page, in small letters above the heading.
        name: the heading.
        sections: HTML, already escaped.
        footer: a sentence below the page.
        style: CSS that this kind of page needs besides.
    """
    shared = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{shared}{style}</style>
</head><body><main>
<h1><small>{escape(kind)}</small>{escape(name)}</h1>
{"".join(sections)}
<footer>fer_lightning {escape(__version__)}. {escape(footer)}</footer>
</main></body></html>
"""


def table_of(columns: Iterable[object], lines: Iterable[str], kind: str = "") -> str:
    """Return a table on a card; `columns` are plain text, `lines` are rows of HTML, `kind` a class of `report.css`."""
    cells = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in columns)
    head = f"<thead><tr>{cells}</tr></thead>" if cells else ""
    return f'<div class="card wide"><table class="{kind}">{head}<tbody>{"".join(lines)}</tbody></table></div>'


def facts(title: str, values: Mapping[str, Any]) -> str:
    """Return a heading and a table of names and values; nothing where there is none."""
    rows = ((escape(str(key)), text_of(value)) for key, value in values.items())
    lines = [f'<tr><th scope="row">{name}</th><td>{shown}</td></tr>' for name, shown in rows]
    return f"<h2>{title}</h2>\n{table_of((), lines, 'facts')}" if lines else ""


def figure_of(data: bytes, title: str, caption: str) -> str:
    """Return a PNG on a white sheet, with its title and what to look for below."""
    source = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    image = f'<div class="sheet"><img alt="{escape(title)}" src="{source}"></div>'
    return f"<figure>{image}<figcaption><b>{escape(title)}.</b> {caption}</figcaption></figure>"


def is_number(value: object) -> bool:
    """Whether this is a number that can be drawn: finite, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def text_of(value: object) -> str:
    """Return one value as escaped HTML text; what is not known is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(text_of, value))
    return escape("yes" if value is True else "no" if value is False else str(value))
