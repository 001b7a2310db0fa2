"""How the page looks: fonts of the reader's machine, and pictures of the drawn faces on their buttons."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import gradio as gr

from fer_lightning.inference.app.samples import SAMPLES, sample


def theme() -> gr.Theme:
    """Return Gradio's theme without fonts that a browser would fetch from elsewhere."""
    fonts: dict[str, Any] = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    return gr.themes.Default(primary_hue="teal", **fonts).set(
        # Gradio's own grey is too faint to read on white
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_title_text_color="*body_text_color",
        block_label_text_color="*body_text_color",
    )


def css() -> str:
    """Return the style of the page."""
    pictures = (
        f"#fer-samples label:nth-of-type({number}) {{ background-image: "
        f"url(data:image/png;base64,{base64.b64encode(sample(name)).decode()}); }}"
        for number, name in enumerate(SAMPLES, 1)
    )
    return "\n".join([Path(__file__).with_name("style.css").read_text(encoding="utf-8"), *pictures])
