"""Where the server listens, and what is said where it cannot start."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

import pytest

from fer_lightning import app
from fer_lightning.core.errors import ConfigError
from fer_lightning.inference.app import serve


def test_auto_takes_the_next_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, socket.create_server(("127.0.0.1", 0)) as other:
        free = other.getsockname()[1]
        other.close()
        monkeypatch.setattr(serve, "PORTS", [busy.getsockname()[1], free])
        with serve.listening_at("127.0.0.1", "auto") as listening:
            assert serve.address_of(listening) == f"http://127.0.0.1:{free}"
        monkeypatch.setattr(serve, "PORTS", [busy.getsockname()[1]])
        with pytest.raises(ConfigError, match="type port=0 for any other"), serve.listening_at("127.0.0.1", "auto"):
            pass


def test_a_port_in_use_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is in use: type another port=, or port=auto"):
            serve.listening_at("127.0.0.1", port).__enter__()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", ""])
def test_a_host_that_is_not_here_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"type host=127\.0\.0\.1 or host=0\.0\.0\.0"):
        serve.listening_at(host, "auto").__enter__()


def test_an_address_for_everybody_is_shown_as_one_that_a_browser_knows() -> None:
    with serve.listening_at("0.0.0.0", 0) as listening:
        assert serve.address_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_who_reaches_the_server_is_known(host: str, local: bool) -> None:
    with serve.listening_at(host, 0) as listening:
        assert serve.is_local(listening) == local


def test_what_is_temporary_lies_in_one_folder_that_is_removed() -> None:
    before = tempfile.gettempdir()
    with serve.temporary_folder() as folder, tempfile.NamedTemporaryFile(delete=False) as file:
        assert Path(file.name).parent == folder
    assert not folder.exists()
    assert tempfile.gettempdir() == before


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["ckpt_path=compct"], "did you mean model=compact?"),
        (["port=70000"], "port=70000 must be at most 65535: type port=65535"),
        (["port=http"], "port=http is not"),
        (["queue=0"], "queue=0 must be at least 1: type queue=1"),
        (["max_upload=0"], "max_upload=0.0 must be at least 0.001"),
        (["host=192.0.2.1"], "this machine has no address host=192.0.2.1"),
    ],
)
def test_a_mistake_is_one_message(
    typed: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        app.main(typed)
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith("error: ")
    assert said in message
    assert "Traceback" not in message
    assert not (tmp_path / "outputs" / "app").exists()


def test_without_gradio_the_extra_is_named(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit) as end:
        app.main([f"ckpt_path={checkpoint}", "port=0", f"hydra.run.dir={tmp_path}/run"])
    assert end.value.code == 2
    assert 'the web page needs Gradio: pip install "fer_lightning[app]"' in capsys.readouterr().err
