"""Files are replaced as a whole, and nothing in the package writes in another way."""

from __future__ import annotations

import ast
import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import torch

import fer_lightning
from fer_lightning.core.atomic_write import atomic_folder, atomic_write, make_folder, remove_unfinished, write_text
from fer_lightning.core.errors import StorageError
from fer_lightning.training.checkpoint_files import AtomicCheckpointIO

AtMost = Callable[[int], AbstractContextManager[None]]
PACKAGE = Path(fer_lightning.__file__).parent
WRITERS = {"write_text", "write_bytes", "to_csv", "to_json", "savefig", "save", "savez", "tofile", "dump", "savetxt"}
# what writes where and when nobody else reads, or must grow in place
REASONS = {
    "cli/command.py": "puts back the settings of a run that Hydra overwrote",
    "data/synthetic/dataset.py": "draws a data set into a new folder",
    "data/cache/build.py": "images of a cache, in a folder that gets its name when they are whole",
    "data/cache/table_file.py": "its caller gives it the temporary file of atomic_write",
    "benchmarks/bench.py": "settings for contenders, in a temporary folder",
    "benchmarks/face_finding.py": "faces that contenders search for, in a temporary folder",
    "benchmarks/prepare.py": "what contenders start from, in a temporary folder",
    "benchmarks/paired_timing.py": "a log, which grows",
    "inference/export/onnx_file.py": "export.write gives it the temporary file of atomic_write",
    "inference/export/quantize.py": "export.write gives it the temporary file of atomic_write",
    "inference/export/release.py": "export.write gives it the temporary folder of atomic_folder",
    "inference/export/timm_folder.py": "export.write gives it the temporary folder of atomic_folder",
    "inference/export/torch_program.py": "export.write gives it the temporary file of atomic_write",
    "models/distillation/stored_logits.py": "slots with checksums, of which torn ones are asked again",
    "models/safetensors_file.py": "export.write gives it the temporary file of atomic_write",
    "sweeps/process.py": "the log of a job, which grows",
    "sweeps/sweep.py": "an empty file that only one of two sweeps can make",
}


def opens_to_write(call: ast.Call) -> bool:
    """Whether a call writes a file: `open` with a mode that does, or a method that takes a path."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("open", "fdopen"):
        arguments = (*call.args, *(word.value for word in call.keywords))
        texts = [str(given.value) for given in arguments if isinstance(given, ast.Constant)]
        return any(set(text) <= set("rwaxbt+") and bool(set(text) & set("wax+")) for text in texts)
    return name in WRITERS


def inside_atomic_write(tree: ast.AST) -> set[ast.AST]:
    """Return all nodes in the blocks of `with atomic_write(…)`."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
    ours = [block for block in blocks if "atomic_write(" in ast.unparse(block.items[0])]
    return {node for block in ours for node in ast.walk(block)}


def test_no_module_writes_a_file_in_another_way() -> None:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        safe = inside_atomic_write(tree)
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and opens_to_write(node)]
        # `write_text(path, …)` is the helper, `path.write_text(…)` is not; `save(figure, …)` and `index.save` are ours
        foreign = [call for call in calls if isinstance(call.func, ast.Attribute) or call.func.id == "open"]
        lines = [ast.unparse(call.func) for call in foreign if call not in safe]
        lines = [line for line in lines if line not in ("index.save", "logger.save")]
        if lines:
            found[path.relative_to(PACKAGE).as_posix()] = lines
    assert {name: lines for name, lines in found.items() if name not in REASONS} == {}
    assert {name for name in REASONS if name not in found} == set(), "these need no reason any more"


def test_the_finder_sees_writers() -> None:
    writing = (
        "open(p, 'w')",
        "p.open(mode='ab')",
        "p.write_text(x)",
        "torch.save(x, p)",
        "t.to_csv(p)",
        "fdopen(d, 'x')",
    )
    reading = ("open(p)", "p.open('rb')", "os.open(p, os.O_RDONLY)", "zip.open('w/a')")
    calls = {text: ast.parse(text).body[0].value for text in (*writing, *reading)}  # type: ignore[attr-defined]
    assert [text for text, call in calls.items() if opens_to_write(call)] == list(writing)


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("old")
    with atomic_write(file) as new:
        assert new.parent == file.parent
        assert new.name.startswith(".")
        new.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    with pytest.raises(ZeroDivisionError), atomic_write(file) as new:
        new.write_text(f"half{1 // 0}")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_full_disk_leaves_the_old_file_and_names_it(tmp_path: Path, at_most: AtMost) -> None:
    file = tmp_path / "a.txt"
    write_text(file, "old")
    with (
        at_most(10_000),
        pytest.raises(StorageError, match=r"cannot write to .*a\.txt \(File too large\): r") as caught,
    ):
        write_text(file, "x" * 20_000)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EFBIG
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_checkpoint_on_a_full_disk_stays_and_is_named(tmp_path: Path, at_most: AtMost) -> None:
    file = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(3)}, file)
    with at_most(100_000), pytest.raises(StorageError, match=r"cannot write to .*last\.ckpt \(File too large\)"):
        AtomicCheckpointIO().save_checkpoint({"a": torch.zeros(300_000)}, file)
    assert torch.load(file, weights_only=True)["a"].tolist() == [0, 0, 0]
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("file/a.txt", r"cannot write to .*file \(.*\): a file is in the place of a folder"),
        ("folder/a.txt", r"cannot write to .*a\.txt \(Is a directory\): a folder is in the place of the file"),
        (f"{'x' * 300}/a.txt", r"cannot write to .* \(File name too long\): choose a shorter name"),
    ],
)
def test_what_is_in_the_way_is_said(tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "a.txt").mkdir(parents=True)
    with pytest.raises(StorageError, match=said):
        write_text(make_folder((tmp_path / place).parent) / "a.txt", "x")


def test_left_overs_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".last.ckpt.0123abcd.new", ".hydra", "metrics.json", "mine.new"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    remove_unfinished(tmp_path / "nowhere")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hydra", "metrics.json", "mine.new"]


def test_names_that_are_not_utf8_pass_as_they_are(tmp_path: Path) -> None:
    write_text(tmp_path / "a", os.fsdecode(b"caf\xe9.png"))
    assert (tmp_path / "a").read_bytes() == b"caf\xe9.png"


def test_a_folder_gets_its_files_at_the_end_and_keeps_others(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    for content in ("first", "second"):
        with atomic_folder(folder) as new:
            new.mkdir()
            (new / "weights").write_text(content)
            assert new.parent == tmp_path
            assert not (folder / "weights").is_file() or (folder / "weights").read_text() != content
        (folder / "notes").write_text("mine")
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"weights": "second", "notes": "mine"}
    with pytest.raises(ZeroDivisionError), atomic_folder(folder) as new:
        _write_and_fail(new)
    assert (folder / "weights").read_text() == "second"
    assert [*tmp_path.iterdir()] == [folder]


def _write_and_fail(new: Path) -> None:
    new.mkdir()
    (new / "weights").write_text("third")
    raise ZeroDivisionError


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    place = tmp_path / "model"
    place.touch()
    with pytest.raises(StorageError, match="a file is in the place of a folder"), atomic_folder(place) as new:
        new.mkdir()
    assert [*tmp_path.iterdir()] == [place]
