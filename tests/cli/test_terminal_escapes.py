"""Nothing that a file of somebody else holds steers the terminal."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import yaml

from fer_lightning.cli.command import run_verb
from fer_lightning.core.shown_records import ShownRecord
from fer_lightning.runs.console import escape

STEERING = "\x1b]0;owned\x07\x1b[2J\r\x9b1m\u202e\u2066"


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def harmless(text: str) -> bool:
    steers = any(ord(letter) < 32 and letter not in "\t\n" for letter in text)
    return "owned" in text and not steers and not {"\x9b", "\u202e", "\u2066"} & {*text}


@pytest.mark.parametrize("door", ["run", "sweep", "data"])
def test_messages_show_control_characters(door: str, capsys: pytest.CaptureFixture[str]) -> None:
    if door == "run":
        Path("run/.hydra").mkdir(parents=True)
        Path("run/last.ckpt").touch()
        Path("run/.hydra/overrides.yaml").write_text(yaml.safe_dump([f"seed={STEERING}", f"--flag={STEERING}"]))
        typed = ["ckpt_path=run/last.ckpt"]
    elif door == "sweep":
        Path("sweep").mkdir()
        Path("sweep/sweep.json").write_text(json.dumps({"verb": STEERING, "arguments": []}))
        typed = ["sweep.resume=sweep"]
    else:
        Path("faces", STEERING).mkdir(parents=True)
        typed = [f"ckpt_path='faces/{STEERING}/x'"]
    with pytest.raises(SystemExit):
        run_verb("train", "training.run:train", typed)
    assert harmless(capsys.readouterr().err)


def test_log_and_tables_show_them_too() -> None:
    record = ShownRecord("x", logging.INFO, __file__, 1, "%s\ttwo\nlines", (STEERING,), None)
    assert harmless(record.getMessage())
    assert record.getMessage().endswith("\ttwo\nlines")
    assert harmless(escape(STEERING))
    assert escape("[red]") == "\\[red]"
