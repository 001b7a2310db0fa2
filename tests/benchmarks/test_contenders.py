"""Our side and the baselines on tiny drawn faces, in this process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from PIL import Image

from fer_lightning.benchmarks import contenders, textbook
from fer_lightning.benchmarks.bench import Bench
from fer_lightning.benchmarks.contenders import flops_per_image
from fer_lightning.benchmarks.prepare import prepare, textbook_of
from fer_lightning.benchmarks.training import listed_peak, utilisation
from fer_lightning.benchmarks.windows import Finished
from fer_lightning.core.errors import DataError
from fer_lightning.data.augmentation.spec import Augmentation
from fer_lightning.data.table.emotions import EMOTIONS
from fer_lightning.models.small_cnn import SmallCNN

Compose = Callable[..., DictConfig]
TINY = (
    "data.synthetic={train: 42, validation: 14, test: 7}",
    "data.image_size=32",
    "data.batch_size=16",
    "trainer=cpu",
    "trainer.precision=32-true",
    "window=0.1",
    "windows=2",
)
# what a run writes beside its checkpoints takes most of the time of a few steps
QUIET = ("logger=none", "~callbacks.batch_preview", "~callbacks.validation_pictures")


class Counter:
    """A clock that keeps what it is told, and ends the loop."""

    def __init__(self, steps: int) -> None:
        self.left = steps
        self.counts: list[float] = []
        self.calls: list[str] = []

    def __call__(self, count: float) -> None:
        self.counts.append(count)
        self.calls.append("clock")
        self.left -= 1
        if self.left == 0:
            raise Finished

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")


@pytest.fixture(autouse=True)
def _no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the textbook load in this process; test_baselines.py runs it with its workers."""
    monkeypatch.setattr(contenders.baselines, "TEXTBOOK_WORKERS", 0)


def make_bench(compose: Compose, folder: Path, *overrides: str) -> Bench:
    typed = (*TINY, f"data.cache_dir={folder / 'cache'}", *overrides)
    return Bench(compose("benchmark", *typed, "output_dir=out"), typed, (), folder, facts={})


@pytest.fixture
def bench(compose: Compose, tmp_path: Path) -> Callable[..., Bench]:
    """Return a function that makes a Bench of tiny faces with further overrides."""
    return partial(make_bench, compose, tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def settings(compose: Compose, shared: Path) -> str:
    return make_bench(compose, shared, *QUIET).settings()


@pytest.fixture(scope="module")
def facts(settings: str, shared: Path) -> dict[str, Any]:
    return prepare(settings, str(shared))


@pytest.fixture(scope="module")
def parts(facts: dict[str, Any]) -> dict[str, str]:
    """What the textbook's contenders are given."""
    return {"parts": facts["textbook"], "folder": facts["faces"]}


def run(work: Callable[..., Any], steps: int, **arguments: Any) -> Counter:
    clock = Counter(steps)
    with pytest.raises(Finished):
        work(clock, **arguments)
    return clock


def test_our_run_is_counted_step_by_step_and_its_epoch_ends_apart(settings: str) -> None:
    clock = run(contenders.train, 5, settings=settings)
    assert clock.counts == [16] * 5
    epoch = ["resume", "clock", "clock", "pause"]  # 42 images in two full batches
    assert clock.calls == [*epoch, *epoch, "resume", "clock"]


@pytest.mark.slow
def test_a_run_leaves_nothing_where_the_user_is(
    bench: Callable[..., Bench], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = bench().settings()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for _ in range(2):  # the second finds no trace of the first, which it would refuse to overwrite
        run(contenders.train, 3, settings=settings)  # an epoch, with checkpoints, pictures and loggers
    assert contenders.train_steps(settings, steps=3, validated=1)["memory"] > 0
    assert not list((tmp_path / "here").iterdir())
    assert not Path(contenders.OmegaConf.load(settings).output_dir).exists()


def test_our_run_can_count_arithmetic(settings: str) -> None:
    clock = run(contenders.train, 2, settings=settings, count_flops=True)
    assert clock.counts[0] == clock.counts[1] > 16 * 1e6


def test_baselines_train_on_the_same_images(settings: str, parts: dict[str, str]) -> None:
    assert run(contenders.train_expert, 3, settings=settings).counts == [16] * 3
    clock = run(textbook.train, 4, **parts)
    assert clock.counts == [16, 16, 10, 16]
    assert clock.calls == ["resume", "clock", "clock", "clock", "pause", "resume", "clock"]


def test_the_expert_gives_the_last_layer_a_learning_rate_of_its_own(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    monkeypatch.setattr(
        contenders.baselines, "expert", lambda *given, **_: rates.extend(g["lr"] for g in given[5].param_groups)
    )
    contenders.train_expert(Counter(1), bench("optimizer.lr=0.5", "model.backbone_lr=0.1").settings())  # type: ignore[arg-type]
    assert rates == [0.5, 0.1]


def test_the_textbook_leaves_extra_transforms_out(bench: Callable[..., Bench], tmp_path: Path) -> None:
    facts = prepare(bench("augmentation.extra=[{name: GaussNoise, p: 0.5}]").settings(), str(tmp_path))
    assert run(textbook.train, 1, parts=facts["textbook"], folder=facts["faces"]).counts == [16]


def test_baselines_do_without_augmentation(bench: Callable[..., Bench]) -> None:
    settings = bench("~augmentation").settings()
    made = contenders.Parts.of(settings)
    assert textbook_of(made.cfg, made.data, made.machine).loading["spec"] == Augmentation()
    assert run(contenders.train_expert, 1, settings=settings).counts == [16]


@pytest.mark.slow
def test_the_textbooks_process_holds_little_of_ours(parts: dict[str, str]) -> None:
    program = """
import sys
from fer_lightning import benchmark
from fer_lightning.benchmarks import paired_timing, textbook
from fer_lightning.benchmarks.windows import Finished
class Clock:
    pause = resume = lambda self: None
    def __call__(self, count): raise Finished
try:
    textbook.train(Clock(), *sys.argv[1:])
except Finished:
    print(*sorted({"lightning", "hydra", "cv2", "albumentations", "pandas", "sklearn"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, parts["parts"], parts["folder"]]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_predictions_are_counted_by_passes(settings: str) -> None:
    assert run(contenders.predict, 2, settings=settings, split="validation").counts == [14, 14]
    assert run(contenders.predict_bare, 2, settings=settings, split="validation").counts == [14, 14]


def test_loaders_go_through_epoch_after_epoch(settings: str, parts: dict[str, str]) -> None:
    assert run(contenders.load, 5, settings=settings).counts == [16] * 5
    assert run(textbook.load, 4, **parts).counts == [16, 16, 10, 16]


@pytest.mark.parametrize("engine", ["batched", "albumentations"])
def test_engines_augment_the_training_split(settings: str, engine: str) -> None:
    clock = run(contenders.augment, 4, settings=settings, engine=engine, batch_size=30)
    assert clock.counts == [30, 12, 30, 12]


def test_caches_are_built_and_opened(settings: str, facts: dict[str, Any]) -> None:
    faces = facts["faces"]
    assert run(contenders.build_cache, 2, settings=settings, faces=faces).counts == [42, 42]
    assert run(contenders.open_warm, 3, settings=settings, faces=faces).counts == [42, 42, 42]
    assert facts["pictures"] == 42


def test_a_pass_opens_deselected_pictures_too(bench: Callable[..., Bench], kaggle_tree: Path, tmp_path: Path) -> None:
    settings = bench(f"data.root={kaggle_tree}", "data.classes=[happy,sad]").settings()
    facts = prepare(settings, str(tmp_path))
    assert run(contenders.open_warm, 1, settings=settings, faces=facts["faces"]).counts == [facts["pictures"]] == [35]
    assert facts["train"] == 6


# preparing


def count_files(folder: Path) -> dict[str, int]:
    return {place.name: len(list(place.iterdir())) for place in sorted(folder.iterdir())}


def test_drawn_faces_become_class_folders(settings: str, tmp_path: Path) -> None:
    facts = prepare(settings, str(tmp_path))
    assert (facts["faces"], facts["train"], facts["validation"]) == (str(tmp_path / "faces"), 42, 14)
    assert facts["resident"]
    assert facts["machine"]["precision"] == "32-true"
    assert sum(count_files(tmp_path / "faces").values()) == 42
    assert len(count_files(tmp_path / "faces")) == 7
    with Image.open(next((tmp_path / "faces" / "happy").iterdir())) as picture:
        assert np.asarray(picture).shape[:2] == (32, 32)


def test_the_users_own_class_folders_are_read_where_they_are(
    bench: Callable[..., Bench], kaggle_tree: Path, tmp_path: Path
) -> None:
    facts = prepare(bench(f"data.root={kaggle_tree}").settings(), str(tmp_path))
    assert facts["train"] == 21
    assert facts["faces"] == str((kaggle_tree / "images" / "train").resolve())
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize(
    ("typed", "counts"),
    [
        ("data.classes=[happy,sad]", {"happy": 3, "sad": 3}),
        ("data.merge={bad: [angry,disgust,fear,sad]}", {"bad": 12, "happy": 3, "neutral": 3, "surprise": 3}),
        ("data.limit=2", dict.fromkeys(EMOTIONS, 2)),
    ],
)
def test_other_files_of_the_user_are_linked(
    bench: Callable[..., Bench], kaggle_tree: Path, tmp_path: Path, typed: str, counts: dict[str, int]
) -> None:
    facts = prepare(bench(f"data.root={kaggle_tree}", typed).settings(), str(tmp_path))
    assert facts["faces"] == str(tmp_path / "faces")
    assert count_files(tmp_path / "faces") == counts
    link = next((tmp_path / "faces" / "happy").iterdir())
    assert link.stat().st_nlink == 2
    assert not link.is_symlink()
    assert any(link.samefile(file) for file in (kaggle_tree / "images" / "train" / "happy").iterdir())


def test_a_folder_among_the_class_folders_is_no_plain_tree(
    bench: Callable[..., Bench], kaggle_tree: Path, tmp_path: Path
) -> None:
    (kaggle_tree / "images" / "train" / "notes").mkdir()
    facts = prepare(bench(f"data.root={kaggle_tree}").settings(), str(tmp_path))
    assert facts["faces"] == str(tmp_path / "faces")


def test_what_cannot_be_linked_is_copied(
    bench: Callable[..., Bench], flat_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    prepare(bench(f"data.root={flat_tree}").settings(), str(tmp_path))
    (first, *_) = (tmp_path / "faces" / "sad").iterdir()
    assert first.stat().st_nlink == 1
    assert first.read_bytes() in [file.read_bytes() for file in (flat_tree / "Data" / "Sad").iterdir()]


def test_rows_of_a_csv_become_pictures_of_their_class(
    bench: Callable[..., Bench], fer_csv: Path, tmp_path: Path
) -> None:
    prepare(bench(f"data.root={fer_csv}", "data.image_size=48").settings(), str(tmp_path))
    assert count_files(tmp_path / "faces") == dict.fromkeys(sorted(EMOTIONS), 2)
    sixth = fer_csv.read_text().splitlines()[6].split(",")  # below the header: the first that is sad
    first = min((tmp_path / "faces" / "sad").iterdir(), key=lambda place: int(place.stem))
    with Image.open(first) as written:
        assert np.asarray(written.convert("L")).ravel().tolist() == [int(pixel) for pixel in sixth[1].split()]


def test_a_folder_without_images_is_refused(bench: Callable[..., Bench], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        prepare(bench(f"data.root={tmp_path / 'empty'}").settings(), str(tmp_path))


# settings of single rows


def test_what_a_row_fixes_wins_over_what_was_typed(bench: Callable[..., Bench]) -> None:
    made = bench("model=resnet50", "model.drop_rate=0.4", "experiment=small_cnn_fer2013", "optimizer.lr=0.5")
    own = contenders.OmegaConf.load(made.settings())
    assert (own.model.backbone, own.data.batch_size, own.optimizer.lr) == ("resnet50", 16, 0.5)
    fixed = contenders.OmegaConf.load(made.settings("model=keras_cnn", "optimizer=adam", "data.batch_size=8"))
    assert (fixed.model.backbone, fixed.model.drop_rate, fixed.data.batch_size) == ("keras_cnn", 0.25, 8)
    assert (fixed.optimizer["_target_"], fixed.optimizer.lr) == ("torch.optim.Adam", 1e-3)
    assert fixed.trainer.max_epochs == 10**6
    assert "early_stopping" not in fixed.callbacks
    assert fixed.trainer.precision == "32-true"


# arithmetic


def test_arithmetic_of_a_network_is_that_of_its_layers() -> None:
    linear = torch.nn.Sequential(torch.nn.Flatten(), Scale(), torch.nn.Linear(64, 10, bias=False))
    # forward and the gradient of the weights; nothing asks for that of the pixels
    assert flops_per_image(linear, channels=1, image_size=8) == 2 * (2 * 64 * 10)


class Scale(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.float()


def test_counting_leaves_the_network_alone() -> None:
    network = torch.nn.Sequential(Scale(), SmallCNN())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert flops_per_image(network, channels=1, image_size=48) > 1e8
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_peaks_are_found_by_the_name_of_the_card() -> None:
    assert listed_peak("NVIDIA H200") == listed_peak("NVIDIA H100 80GB HBM3") == 989.5
    assert listed_peak("NVIDIA H100 PCIe") == 756
    assert listed_peak("cpu") is None


@pytest.mark.slow
def test_utilisation_is_measured_on_a_cpu_too(bench: Callable[..., Bench]) -> None:
    row = utilisation(bench().prepared(), ("model=small_cnn", "data.batch_size=8"), side=64)
    assert row.failed is None
    assert row.unit == "TFLOP/s"
    assert row.fraction == pytest.approx(row.ratio.median)
    assert row.met is not None
