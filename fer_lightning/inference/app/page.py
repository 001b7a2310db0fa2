"""The page: Gradio's components and what happens when they are used.

An uploaded file is read and deleted at once, and a frame of the camera comes as an address that holds it. What is shown
is inside the HTML, so Gradio serves no file but its own.
"""

from __future__ import annotations

import base64
import binascii
import csv
import io
import logging
import time
from typing import Any

import gradio as gr
from anyio import to_thread

from fer_lightning.core.errors import UserError
from fer_lightning.inference.app.facts import model_facts
from fer_lightning.inference.app.result import render, render_faces
from fer_lightning.inference.app.samples import SAMPLES, sample
from fer_lightning.inference.app.service import Choice, Service
from fer_lightning.inference.app.sessions import Sessions, Shown
from fer_lightning.inference.app.uploads import Uploads
from fer_lightning.inference.face import Faces
from fer_lightning.inference.table import TableWriter
from fer_lightning.inference.video.smoothing import Smoother

TITLE = "Facial expressions"
STREAMS = 8  # cameras at once
FRAME_SECONDS = 0.2  # between two frames of a camera
FRAME = {"width": {"ideal": 640}, "height": {"ideal": 480}}
LABELS = {"auto": "Find faces", "whole": "The picture is one face"}
log = logging.getLogger(__name__)


def build_page(service: Service, uploads: Uploads, threshold: float, address: str) -> gr.Blocks:
    """Return the page; `address` is that of the HTTP interface, for its help."""
    handlers = _Handlers(service, uploads)
    page: gr.Blocks = gr.Blocks(title=TITLE, analytics_enabled=False)
    page.queue(max_size=service.queue)
    with page:
        _html(render("header.html", title=TITLE), elem_id="fer-header")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                with gr.Tab("Photograph"):
                    file = gr.File(label="Photograph", file_count="single", height=160, elem_id="fer-file")
                with gr.Tab("Camera"):
                    camera = gr.Image(
                        label="Camera",
                        sources=["webcam"],
                        streaming=True,
                        webcam_options=gr.WebcamOptions(constraints={"video": FRAME}),
                        height=280,
                        buttons=[],
                        elem_id="fer-camera",
                    )
                    _html(render("camera.html"))
                with gr.Tab("Drawn faces"):
                    drawn = gr.Radio(list(SAMPLES), label="A face drawn by the program", elem_id="fer-samples")
                limit = gr.Slider(
                    0,
                    1,
                    threshold,
                    step=0.05,
                    label="Threshold",
                    info="A face with less confidence is uncertain.",
                    elem_id="fer-threshold",
                )
                faces = gr.Radio(_ways(service), value=service.faces, label="Faces", elem_id="fer-faces")
            with gr.Column(scale=3, min_width=300):
                result = _html(render("empty.html"), elem_id="fer-result")
                look = gr.Button("Show where the network looked", size="md", elem_id="fer-look")
        with gr.Accordion("The model", open=False):
            _html(render("model.html", facts=model_facts(service.recognizer)))
        with gr.Accordion("What it can and cannot do", open=False):
            _html(render("limits.html"))
        with gr.Accordion("Use it from a program", open=False):
            _html(render("interface.html", address=address))
        choice: list[Any] = [limit, faces]
        # without preprocessing, by which Gradio would leave empty files or decode without our limits
        hidden: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "minimal"}
        file.upload(handlers.upload, [file, *choice], [file, result], preprocess=False, **hidden)
        drawn.input(handlers.take_sample, [drawn, *choice], result, **hidden)
        limit.input(handlers.again, choice, result, trigger_mode="always_last", **hidden)  # by mouse, keys and number
        faces.input(handlers.again, choice, result, **hidden)
        look.click(handlers.explain, choice, result, **hidden)
        camera.stream(
            handlers.frame,
            [camera, *choice],
            result,
            stream_every=FRAME_SECONDS,
            time_limit=None,
            preprocess=False,
            **hidden | {"concurrency_limit": STREAMS, "show_progress": "hidden"},
        )
        page.unload(handlers.leave)
    page.has_launched = True  # or Gradio, mounted into an app, would not check the paths in payloads
    return page


class _Handlers:
    """What happens on the page; each returns HTML, and a mistake is a line of it."""

    def __init__(self, service: Service, uploads: Uploads) -> None:
        self.service, self.uploads, self.sessions = service, uploads, Sessions()

    async def upload(self, payload: Any, threshold: Any, mode: str, request: gr.Request) -> tuple[None, str]:
        """Show an uploaded file, which is deleted; the empty component takes the next one."""
        try:
            shown = Shown(*await to_thread.run_sync(self.uploads.take, payload))
        except FileNotFoundError:
            return None, _problem("The file did not arrive: drop it again.")
        return None, await self._show(shown, threshold, mode, request)

    async def take_sample(self, name: str, threshold: Any, mode: str, request: gr.Request) -> str:
        """Show a drawn face."""
        return await self._show(Shown(sample(name), f"{name}, drawn"), threshold, mode, request)

    async def again(self, threshold: Any, mode: str, request: gr.Request) -> str:
        """Show the same picture with other settings."""
        shown = self.sessions.get(_session(request))
        return render("empty.html") if shown is None else await self._show(shown, threshold, mode, request)

    async def explain(self, threshold: Any, mode: str, request: gr.Request) -> str:
        """Show it with heat maps."""
        shown = self.sessions.get(_session(request))
        if shown is None:
            return _problem("The picture is no longer kept: take it again.")
        return await self._show(shown, threshold, mode, request, heat=True)

    async def frame(self, payload: Any, threshold: Any, mode: str, request: gr.Request) -> str:
        """Show a frame of the camera, which comes as `{"url": "data:image/…;base64,…"}`, smoothed over time."""
        url = payload.get("url") if isinstance(payload, dict) else None
        kind, _, content = (url if isinstance(url, str) else "").partition(",")
        try:
            data = base64.b64decode(content, validate=True) if kind.startswith("data:image/") else b""
        except (binascii.Error, ValueError):
            data = b""
        before = self.sessions.get(_session(request))
        smoother = (before and before.smoother) or Smoother()
        return await self._show(Shown(data, "", smoother), threshold, mode, request)

    async def leave(self, request: gr.Request) -> None:
        """Forget the picture of who has left the page."""
        self.sessions.forget(_session(request))

    async def _show(self, shown: Shown, threshold: Any, mode: str, request: gr.Request, *, heat: bool = False) -> str:
        self.sessions.keep(_session(request), shown)
        try:
            choice = Choice.parse(mode, threshold, self.service.predictors)
            return await self.service.run(self._render, shown, choice, heat)
        except UserError as error:
            return _problem(str(error))
        except Exception:
            log.exception("the page could not show a picture")
            return _problem("The program made a mistake with this picture; its log says more.")

    def _render(self, shown: Shown, choice: Choice, heat: bool) -> str:
        started = time.perf_counter()
        faces = self.service.recognize(shown.data, shown.source, choice)
        if shown.smoother is not None and not heat:  # a map is of one frame
            shown.smoother.threshold = choice.threshold
            faces[:] = shown.smoother(started, faces)
        seconds = time.perf_counter() - started
        crops = self.service.crops(faces)
        maps = self.service.heat_maps(crops) if heat and len(crops) else None
        table = self._table(faces) if shown.source else ""
        return render_faces(faces, crops=crops, maps=maps, table=table, seconds=seconds)

    def _table(self, faces: Faces) -> str:
        """Return the table that `fer_lightning.predict` writes."""
        file = io.StringIO(newline="")
        TableWriter(csv.writer(file, lineterminator="\n"), self.service.recognizer.classes).add(faces)
        return file.getvalue()


def _html(content: str, **arguments: Any) -> gr.HTML:
    return gr.HTML(content, apply_default_css=False, js_on_load=None, **arguments)


def _ways(service: Service) -> list[tuple[str, str]]:
    """Return what can be chosen to find faces: a name and a mode; what `auto` takes anyway is left out."""
    auto = service.predictors.get("auto")
    same = None if auto is None or auto.detector is None else auto.detector.name
    modes = [mode for mode in service.predictors if mode == service.faces or mode != same]
    return [(LABELS.get(mode, f"Find faces with {mode}"), mode) for mode in modes]


def _session(request: gr.Request) -> str:
    return str(request.session_hash)


def _problem(text: str) -> str:
    return render("problem.html", text=text)
