"""Where jobs go, and which of them are known."""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning import __version__
from fer_lightning.runs.lock import is_locked, locked
from fer_lightning.runs.status import Status, write_status
from fer_lightning.sweeps.job_folders import Job, Jobs, file_name, label_of
from fer_lightning.sweeps.summary import describe_result, print_summary


def never() -> str | None:
    raise AssertionError("nobody needs to know")


def test_jobs_are_numbered_in_turn_and_found_again(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    first = jobs.place(["seed=1"], "a", "seed=1", never)
    second = jobs.place(["seed=2"], "b", "seed=2", never)
    assert [job.folder.name for job in (first, second)] == ["0_seed=1", "1_seed=2"]
    assert jobs.place(["seed=1"], "a", "other", never) == first
    for job in (first, second):
        write_status(job.folder, Status(identity=job.identity, overrides=[*job.overrides]))
    again = Jobs(tmp_path)
    assert again.known == [first, second]
    assert [job.identity for job in again.known] == ["a", "b"]
    assert again.place(["seed=3"], "c", "seed=3", never).number == 2


@pytest.mark.parametrize(("today", "same"), [("same images", True), ("other images", False), (None, True)])
def test_other_images_make_another_job(today: str | None, same: bool, tmp_path: Path) -> None:
    write_status(tmp_path / "4_x", Status(identity="a", fingerprint="same images", status="finished"))
    job = Jobs(tmp_path).place([], "a", "x", lambda: today)
    assert job.folder.name == ("4_x" if same else "5_x")


def test_a_job_of_another_version_is_known_by_its_overrides(tmp_path: Path) -> None:
    typed = ["model=vgg16", "seed=1"]
    added = ["sweep.at_once=2", "machine.jobs=2", "ckpt_path='/old/0_seed=1/checkpoints/last.ckpt'"]
    status = Status(identity="old", overrides=[*typed, *added], status="finished", fingerprint="images", version=None)
    write_status(tmp_path / "0_seed=1", status)

    def place(*overrides: str, images: str | None = "images") -> str:
        return Jobs(tmp_path).place(overrides, "new", "x", lambda: images).folder.name

    assert place(*typed) == "0_seed=1"
    assert place(*typed, images="others") == "1_x"
    assert place("model=vgg16", "seed=2") == "1_x"
    assert place(*typed, "trainer.max_epochs=3") == "1_x"
    assert Jobs(tmp_path).place(typed, "new", "x", lambda: "images").identity == "new"

    write_status(tmp_path / "0_seed=1", dataclasses.replace(status, version=__version__))
    assert place(*typed) == "1_x", "of this version, the identity of all settings counts"


def test_a_folder_whose_job_did_not_live_to_begin_is_taken_up_again(tmp_path: Path) -> None:
    (tmp_path / "0_seed=1" / ".hydra").mkdir(parents=True)
    jobs = Jobs(tmp_path)
    assert jobs.place([], "b", "seed=2", never).folder.name == "1_seed=2"
    assert jobs.place([], "a", "seed=1", never).folder.name == "0_seed=1"
    assert jobs.place([], "c", "seed=1", never).folder.name == "2_seed=1"


def test_folders_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes", "7", "9_half", ".hydra"):
        (tmp_path / name).mkdir()
    (tmp_path / "9_half" / "status.json").write_text("{")
    jobs = Jobs(tmp_path)
    assert jobs.known == []
    assert jobs.place([], "a", "x", never).number == 10


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lr=0.001,seed=2", "3_lr=0.001,seed=2"),
        ("classes=[happy,sad] root=/a/b", "3_classes=-happy,sad-root=-a-b"),
        ("", "3"),
        ("x" * 300, "3_" + "x" * 100),
        ("a=" + "x" * 90 + ",b=123456789", "3_a=" + "x" * 90),
    ],
)
def test_names_that_any_file_system_takes(text: str, name: str) -> None:
    assert file_name(3, text) == name


def test_labels_are_as_short_as_they_can_be_told_apart() -> None:
    assert label_of({"optimizer.lr": "1e-3", "model": "vgg16"}) == "lr=1e-3,model=vgg16"
    assert label_of({"seed": "1", "data.seed": "2"}) == "seed=1,data.seed=2"


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    job = Job(tmp_path, (), "a")
    write_status(tmp_path, Status(identity="a"))
    program = (
        "import sys, pathlib, fer_lightning.runs.lock as jobs\n"
        "with jobs.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    assert is_locked(tmp_path)
    assert job.state == "running"
    holder.kill()
    holder.communicate()
    assert not is_locked(tmp_path)
    assert job.state == "unfinished"
    with locked(tmp_path):
        pass


def test_one_line_on_what_came_of_a_job(tmp_path: Path) -> None:
    job = Job(tmp_path / "2_seed=1", (), "a")
    assert describe_result(job) == "#2 seed=1: not started"
    write_status(job.folder, Status(status="finished", identity="a", values={"val/acc": 0.61}, seconds=12.3))
    assert describe_result(job) == "#2 seed=1: finished, val/acc 0.61, 12 s"
    write_status(job.folder, Status(status="failed", reason="data", message="a\nb", identity="a", seconds=1.0))
    assert describe_result(job) == "#2 seed=1: failed (data): a b, 1 s"
    assert describe_result(Job(tmp_path / "0", (), "b")) == "#0: not started"


@pytest.mark.parametrize(
    ("reason", "folder", "options"),
    [
        ("diverged", "s", ["sweep.retry=true"]),
        ("configuration", "s", None),  # what is mistyped would fail again
        (None, "it's, mine", []),
    ],
)
def test_what_to_type_next_is_understood_by_shell_and_hydra(
    reason: str | None, folder: str, options: list[str] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path / folder / "0_seed=1", (), "a")
    if reason is not None:
        write_status(job.folder, Status(status="failed", reason=reason, message="no", identity="a"))
    print_summary(job.folder.parent, [job], "evaluate")
    words = shlex.split(capsys.readouterr().out.splitlines()[-1], comments=True)
    if options is None:
        assert words[:3] == ["python", "-m", "fer_lightning.compare"]
    else:
        assert words[:4] == ["python", "-m", "fer_lightning.evaluate", "-m"]
        read = OverridesParser.create().parse_override(words[4])
        assert (read.key_or_group, read.value()) == ("sweep.resume", str(job.folder.parent))
        assert words[5:] == options
