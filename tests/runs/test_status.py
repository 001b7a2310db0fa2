"""The status of a run, written from its start to its end."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch

from fer_lightning.core.errors import CheckpointError, ConfigError, DataError, DivergedError, StorageError, UserError
from fer_lightning.runs.status import (
    Pruned,
    Status,
    message_of,
    read_status,
    reason_of,
    recorded,
    update_status,
    write_status,
)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DivergedError("x"), "diverged"),
        (ConfigError("x"), "configuration"),
        (CheckpointError("x"), "configuration"),
        (DataError("x"), "data"),
        (UserError("x"), "error"),
        (RuntimeError("x"), "error"),
        (MemoryError(), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (StorageError("x"), "storage"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage"),
        (FileNotFoundError(errno.ENOENT, "no such file"), "error"),
        (caused(RuntimeError("wrapped"), DataError("x")), "data"),
        (caused(ConfigError("cannot be had"), MemoryError()), "out of memory"),
    ],
)
def test_the_kind_of_a_failure(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


def test_memory_that_the_cpu_lacks_is_recognised() -> None:
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50)
    assert reason_of(error.value) == "out of memory"


def test_a_message_for_the_user_is_kept_whole_and_others_are_named() -> None:
    assert message_of(caused(RuntimeError("wrapped"), DataError("one\ntwo"))) == "one\ntwo"
    assert message_of(RuntimeError("a\nb")) == "RuntimeError: a b"


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (None, ("finished", None, None)),
        (DivergedError("why"), ("failed", "diverged", "why")),
        (Pruned("hopeless"), ("pruned", None, "hopeless")),
        (KeyboardInterrupt(), ("interrupted", None, None)),
        (SystemExit(1), ("interrupted", None, None)),
    ],
)
def test_a_status_from_start_to_end(ending: BaseException | None, expected: tuple, tmp_path: Path) -> None:
    def run() -> None:
        with recorded(tmp_path / "run", "abc", ["seed=1"]):
            assert read_status(tmp_path / "run").status == "running"
            update_status(tmp_path / "run", values={"val/acc": 0.5}, fingerprint="f")
            if ending is not None:
                raise ending

    if ending is None:
        run()
    else:
        with pytest.raises(type(ending)):
            run()
    status = read_status(tmp_path / "run")
    assert (status.status, status.reason, status.message) == expected
    assert (status.identity, status.overrides, status.fingerprint) == ("abc", ["seed=1"], "f")
    assert status.values == {"val/acc": 0.5}
    assert status.started <= status.ended
    assert status.seconds >= 0
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["status.json"]


def test_attempts_are_counted(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        with recorded(tmp_path, "abc", []):
            assert read_status(tmp_path).attempts == attempt


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "finished"', "\udcff"])
def test_a_damaged_status_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(content.encode(errors="surrogateescape"))
    assert read_status(tmp_path) is None
    assert read_status(tmp_path / "nowhere") is None


def test_a_status_of_a_newer_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"status": "finished", "mood": "good"}')
    assert read_status(tmp_path) == Status(status="finished")


def test_a_run_without_a_status_gets_none(tmp_path: Path) -> None:
    update_status(tmp_path, values={})
    assert list(tmp_path.iterdir()) == []


def test_only_finished_and_pruned_runs_are_over(tmp_path: Path) -> None:
    over = {name: Status(status=name).over for name in ("running", "finished", "pruned", "failed", "interrupted")}
    assert [name for name, is_over in over.items() if is_over] == ["finished", "pruned"]
    write_status(tmp_path, Status(status="pruned"))
    assert read_status(tmp_path).over
