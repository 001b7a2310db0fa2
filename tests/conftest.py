"""Small downloads on disk, written with Pillow alone so that they do not lean on what they test; and run folders."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import DictConfig
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two threads slow the tests' tiny networks

from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.core.quiet_libraries import stop_telemetry
from fer_lightning.evaluation.metrics import wilson_interval

stop_telemetry()

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
CODES = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}
TWO_CLASSES = ("happy", "sad")
WriteRun = Callable[..., Path]
WriteTree = Callable[[Path, Mapping[str, int]], Path]
Plant = Callable[[Path, Mapping[str, str]], Path]
BASE: dict[str, Any] = {
    "data": {"root": "/faces", "image_size": 48, "channels": 1, "seed": "${seed}"},
    "model": {"backbone": "small_cnn", "drop_rate": 0.3},
    "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.001, "amsgrad": False},
    "callbacks": {"best_checkpoint": {"monitor": "${monitor}", "dirpath": "${output_dir}/checkpoints"}},
    "seed": 1,
    "monitor": "val/acc",
    "mode": "max",
    "output_dir": "${hydra:runtime.output_dir}",
}


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Take back what a test's code writes to the environment: threads (Machine), addresses and seeds (Lightning)."""
    before = dict(os.environ)
    yield
    for name in {*before, *os.environ} - {"PYTEST_CURRENT_TEST"}:
        if name not in before:
            del os.environ[name]
        elif os.environ.get(name) != before[name]:
            os.environ[name] = before[name]


def picture(seed: int, side: int = 48) -> np.ndarray:
    """Return a grey picture of noise, (side, side) uint8; each seed has its own."""
    return np.random.default_rng(seed).integers(0, 256, (side, side), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an ONNX file as `fer_lightning.export` writes them: one random linear layer on grey faces of 16 px."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    side, weights = 16, np.random.default_rng(0).normal(0, 0.01, (16 * 16, len(CLASSES))).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 1, side, side])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(CLASSES)])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    facts = {"fer_lightning": "0", "classes": json.dumps(CLASSES), "image_size": str(side), "channels": "1"}
    helper.set_model_props(model, {**facts, "fingerprint": "tiny"})
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="session")
def plant() -> Plant:
    """Return a function that makes empty files below a root, blank-separated names by folder, and returns the root."""

    def make(root: Path, files: Mapping[str, str]) -> Path:
        for folder, names in files.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in names.split():
                (root / folder / name).touch()
        return root

    return make


@pytest.fixture(scope="session")
def write_tree_of() -> WriteTree:
    """Return a function that writes N pictures to each folder below a root, {"train/angry": 2} or {"a/Training_": 2}.

    What follows the last slash is a prefix of file names where it ends in an underscore.
    """

    def write(root: Path, counts: Mapping[str, int]) -> Path:
        seed = 0
        for place, count in counts.items():
            folder, prefix = (place.rsplit("/", 1)[0], place.rsplit("/", 1)[1]) if place.endswith("_") else (place, "")
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(picture(seed)).save(root / folder / f"{prefix}{number}.png")
                seed += 1
        return root

    return write


@pytest.fixture
def kaggle_tree(tmp_path: Path, write_tree_of: WriteTree) -> Path:
    """images/train and images/validation under the returned root: three and two pictures in each of seven classes."""
    counts = {f"images/train/{name}": 3 for name in CLASSES} | {f"images/validation/{name}": 2 for name in CLASSES}
    return write_tree_of(tmp_path / "kaggle", counts)


@pytest.fixture
def official_tree(tmp_path: Path, write_tree_of: WriteTree) -> Path:
    """train/ and test/ with the official prefixes: three Training, two PublicTest, one PrivateTest in each class."""
    places = (("train/{}/Training_", 3), ("test/{}/PublicTest_", 2), ("test/{}/PrivateTest_", 1))
    counts = {place.format(name): count for place, count in places for name in CLASSES}
    return write_tree_of(tmp_path / "official", counts)


@pytest.fixture
def flat_tree(tmp_path: Path, write_tree_of: WriteTree) -> Path:
    """Data/Angry, … Data/Suprise under the returned root, ten pictures each and no split."""
    names = [{"surprise": "Suprise"}.get(name, name.capitalize()) for name in CLASSES]
    return write_tree_of(tmp_path / "flat", {f"Data/{name}": 10 for name in names})


@pytest.fixture
def fer_csv(tmp_path: Path) -> Path:
    """fer2013.csv, four rows a class: two Training, one PublicTest, one PrivateTest. Row i holds picture(i)."""
    rows = ["emotion,pixels,Usage"]
    for usage in ("Training", "Training", "PublicTest", "PrivateTest"):
        for name in CLASSES:
            pixels = " ".join(map(str, picture(len(rows) - 1).ravel()))
            rows.append(f"{CODES[name]},{pixels},{usage}")
    path = tmp_path / "csv" / "fer2013.csv"
    path.parent.mkdir()
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="session")
def shared_fer2013() -> Path:
    """The folder beside the repository with real faces; tests that ask for it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "fer2013"
    if not (folder / "expand.py").is_file():
        pytest.skip("no ../shared/fer2013")
    return folder


@pytest.fixture(scope="session")
def at_most() -> Callable[[int], AbstractContextManager[None]]:
    """Return a context in which no file of this process may grow beyond so many bytes, as on a full disk."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)

    return limited


@pytest.fixture(scope="session")
def compose() -> Callable[..., DictConfig]:
    """Return a function that composes a primary configuration as the programs do: compose("train", "model=vgg16")."""

    def compose_verb(verb: str, *overrides: str) -> DictConfig:
        with hydra.initialize_config_dir(str(conf_dir()), **hydra_options(hydra.initialize_config_dir)):
            return hydra.compose(verb, list(overrides))

    return compose_verb


def predictions(right: Sequence[bool] | np.ndarray, split: str = "validation") -> pd.DataFrame:
    """Return a predictions table whose first, second, … image is right or not."""
    right = np.asarray(right, dtype=bool)
    label = np.array([TWO_CLASSES[at % 2] for at in range(len(right))], dtype=object)
    other = np.array([TWO_CLASSES[(at + 1) % 2] for at in range(len(right))], dtype=object)
    predicted = np.where(right, label, other)
    table = pd.DataFrame({"path": [f"{split}/{at}.jpg" for at in range(len(right))], "split": split})
    table["label"], table["predicted"] = label, predicted
    return table.assign(**{name: np.where(predicted == name, 0.75, 0.25) for name in TWO_CLASSES})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with dotted keys changed."""
    settings = json.loads(json.dumps(base))
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        node = settings
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return settings


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """Return a function that writes a run: write_run(folder, right=[True, …], value=0.6, settings={"seed": 2})."""

    def write(
        folder: Path,
        right: Sequence[bool] | np.ndarray | None = None,
        *,
        value: float | None = None,
        split: str = "validation",
        settings: Mapping[str, Any] | None = None,
        status: Mapping[str, Any] | None = None,
        fingerprint: str = "f00d",
        splits: str | None = "cafe",
        epochs: int = 3,
        test_images: int | None = None,
        **facts: Any,
    ) -> Path:
        told = merged(BASE, {} if settings is None else settings)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
        overrides = [f"{key}={item}" for key, item in ({} if settings is None else settings).items()]
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        command = " ".join(["python -m fer_lightning.train", *overrides, f"hydra.run.dir={folder}"])
        record = {"command": command, "data": {"fingerprint": fingerprint, "splits": splits}}
        record["data"] |= {} if test_images is None else {"test": test_images}
        (folder / "environment.json").write_text(json.dumps(record))
        rows = [{"epoch": at, "val/acc": 0.2 * at, "train/loss": 2 / at} for at in range(1, epochs + 1)]
        pd.DataFrame(rows).to_csv(folder / "history.csv", index=False)
        if status is not None:
            (folder / "status.json").write_text(json.dumps(status))
        if right is not None:
            table = predictions(right, split)
            table.to_csv(folder / "predictions.csv", index=False)
            correct = int(np.sum(right))
            metrics = {
                "split": split,
                "monitor": told["monitor"],
                "monitored": correct / len(table) if value is None else value,
                "epoch": 2,
                "parameters": 1_174_439,
                "partial": False,
                "count": len(table),
                "accuracy": correct / len(table),
                "accuracy_interval": wilson_interval(correct, len(table)),
                "f1_macro": 0.5,
                **facts,
            }
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    return write
