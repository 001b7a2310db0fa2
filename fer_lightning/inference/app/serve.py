"""The verb `app`: serves the page until it is interrupted."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import tempfile
import threading
import warnings
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.load import load_predictor

PORTS = range(7860, 7960)  # of port=auto; Gradio's is the first
ENVIRONMENT = {"GRADIO_SSR_MODE": "False", "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
ENDING = (signal.SIGINT, signal.SIGTERM)
log = logging.getLogger(__name__)


def serve(cfg: DictConfig) -> None:
    """Serve the page of a model; returns after Ctrl-C or SIGTERM, which end a server as a matter of course.

    Raises:
        ConfigError: Gradio is not installed, the port is taken, or no such address is here.
        UserError: of the model and the detector, see `load_predictor`.
    """
    with ended_by_signals() as ended, listening_at(cfg.host, cfg.port) as listening, temporary_folder() as folder:
        address = address_of(listening)
        server = build_server(cfg, folder, address, local=is_local(listening))
        log.info(f"{address}  (Ctrl-C ends it)")
        if cfg.browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        if not ended:
            server.run(sockets=[listening])
    log.info("ended")


def build_server(cfg: DictConfig, folder: Path, address: str, *, local: bool) -> Any:
    """Return the server of the page at an address, not started; uploads pass through the folder.

    Args:
        local: see `Guard`.

    Raises:
        UserError: see `serve`.
    """
    # first, because its mistakes are the most common and Gradio's import takes seconds; for threads, see Service
    predictor = load_predictor(cfg, threads=1)
    uploads_folder = folder / "uploads"
    uploads_folder.mkdir()
    os.environ.update(ENVIRONMENT, GRADIO_TEMP_DIR=str(uploads_folder))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # Gradio leaves tasks of its queue behind when it ends
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import gradio
            import uvicorn
            from fastapi import FastAPI
        except ImportError as error:
            raise ConfigError('the web page needs Gradio: pip install "fer_lightning[app]"') from error
        from fer_lightning.inference.app.api import Interface
        from fer_lightning.inference.app.guard import Guard
        from fer_lightning.inference.app.page import build_page
        from fer_lightning.inference.app.service import Service
        from fer_lightning.inference.app.style import css, theme
        from fer_lightning.inference.app.uploads import Uploads

        service = Service(predictor, cfg.faces, cfg.detector_file, cfg.queue)
        max_bytes = round(cfg.max_upload * 1e6)
        uploads = Uploads(uploads_folder, max_bytes)
        app = FastAPI(openapi_url=None)
        app.add_route("/predict", Interface(service, cfg.threshold).answer, ["GET", "POST"])
        app.add_route("/gradio_api/upload", uploads.receive, ["POST"])
        app.add_route("/gradio_api/upload_progress", uploads.progress, ["GET"])
        gradio.mount_gradio_app(
            app,
            build_page(service, uploads, cfg.threshold, f"{address}/predict"),
            "/",
            footer_links=[],
            run_history=False,
            show_error=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            max_file_size=max_bytes,
            theme=theme(),
            css=css(),
        )
    guarded = Guard(app, str(uploads_folder), max_bytes, local)
    config = uvicorn.Config(guarded, log_level="critical", timeout_graceful_shutdown=1, server_header=False)
    return uvicorn.Server(config)


@contextmanager
def listening_at(host: str, port: int | str) -> Iterator[socket.socket]:
    """Yield a socket that listens at a port; `auto` takes the first of `PORTS` that is free.

    Raises:
        ConfigError: none is free, or the address is not of this machine.
    """
    for number in PORTS if port == "auto" else [int(port)]:
        try:
            family, *_, place = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(place[:2], family=family, backlog=128)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES) and port == "auto":
                continue
            raise ConfigError(_why(error, host, number)) from error
        with listening:
            yield listening
        return
    raise ConfigError(f"no port from {PORTS[0]} to {PORTS[-1]} is free: type port=0 for any other")


def _why(error: OSError, host: str, port: int) -> str:
    """Return what to type instead of a place where no server can listen."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: type another port=, or port=auto"
    if error.errno == errno.EACCES:
        return f"port {port} is for administrators: type port=auto"
    return f"this machine has no address host={host} ({error.strerror or error}): type host=127.0.0.1 or host=0.0.0.0"


def address_of(listening: socket.socket) -> str:
    """Return the address to type in a browser."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{host}:{port}"


def is_local(listening: socket.socket) -> bool:
    """Return whether only this machine reaches a socket."""
    return ip_address(listening.getsockname()[0].partition("%")[0]).is_loopback


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder in which everything of this process that is temporary lies, and remove it at the end."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="fer_app_", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


@contextmanager
def ended_by_signals() -> Iterator[list[int]]:
    """Let Ctrl-C and SIGTERM end the server and not the process, and yield a list that says which came.

    The server takes the signals while it runs, and sends itself what it got when it has ended.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # where no signal arrives
        yield came
        return
    before = {number: signal.signal(number, lambda got, _: came.append(got)) for number in ENDING}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
