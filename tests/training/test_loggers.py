"""Each shipped logger gets the settings and the final scores, or says before work why it cannot log."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fer_lightning.config.compose import conf_dir
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.environment import installed_version
from fer_lightning.training.build import build_components
from fer_lightning.training.loggers import described_settings, log_scores, log_settings

Compose = Callable[..., DictConfig]
OPTIONS = [
    pytest.param(path.stem, marks=[pytest.mark.slow] if path.stem in ("mlflow", "wandb") else [])
    for path in sorted((conf_dir() / "logger").glob("*.yaml"))
]
SCORES = {"final/test/acc": 0.75, "final/test/f1_macro": 0.5}
TYPED = ("trainer=cpu", "trainer.precision=32-true")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # where W&B keeps its key


def configured(compose: Compose, folder: Path, option: str, *overrides: str) -> DictConfig:
    if option in ("wandb", "mlflow") and installed_version(option) is None:
        pytest.skip(f"needs the extra {option}")
    offline = ("logger.wandb.offline=true",) if option == "wandb" else ()
    cfg = compose("train", *TYPED, f"logger={option}", *offline, f"output_dir={folder / 'run'}", *overrides)
    cfg.data.aliases = {"gr@t": "happy"}  # MLflow takes few characters
    return cfg


def scalars_of_tensorboard(folder: Path) -> dict[str, float]:
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {tag: events.Scalars(tag)[-1].value for tag in events.Tags()["scalars"]}


def rows_of_mlflow(folder: Path) -> tuple[dict[str, Any], dict[str, float], str]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("fer_lightning")
    (run,) = client.search_runs([experiment.experiment_id])
    return run.data.params, run.data.metrics, run.info.status


def content_of_wandb(file: Path) -> bytes:
    """Return what lies in the blocks of W&B's file, whose headers may stand within a text."""
    written, at, block, header = file.read_bytes(), 7, 2**15, 7
    content = b""
    while at + header <= len(written):
        left = block - at % block
        length = 0 if left < header else int.from_bytes(written[at + 4 : at + 6], "little")
        content += written[at + header : at + header + length]
        at += left if left < header else header + length
    return content


@pytest.mark.parametrize("option", OPTIONS)
def test_settings_and_final_scores_arrive(compose: Compose, tmp_path: Path, option: str) -> None:
    cfg = configured(compose, tmp_path, option)
    loggers = build_components(cfg)[3].loggers
    assert len(loggers) == len(cfg.logger)
    log_settings(loggers, cfg)
    for logger in loggers:
        logger.log_metrics({"val/acc": 0.25}, step=3)
    log_scores(loggers, cfg, SCORES, in_sweep=False)
    folder = tmp_path / "run"
    assert {path.name for path in tmp_path.iterdir()} <= {"run"}  # nothing is written elsewhere
    if "tensorboard" in cfg.logger:
        assert SCORES.items() <= scalars_of_tensorboard(folder).items()
    if "csv" in cfg.logger:
        assert yaml.safe_load((folder / "csv" / "hparams.yaml").read_text())["optimizer.lr"] == cfg.optimizer.lr
    if option == "mlflow":
        params, metrics, status = rows_of_mlflow(folder)
        assert metrics == SCORES | {"val/acc": 0.25}
        assert (params["optimizer.lr"], params["data.aliases.gr_t"]) == (str(cfg.optimizer.lr), "happy")
        assert len(params) == len(described_settings(cfg))
        assert status == "FINISHED"
    if option == "wandb":
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")
        content = content_of_wandb(file)
        assert all(text.encode() in content for text in (*SCORES, "optimizer.lr", "val/acc"))


def test_a_job_leaves_the_hparams_tab_to_its_sweep(compose: Compose, tmp_path: Path) -> None:
    cfg = configured(compose, tmp_path, "tensorboard")
    loggers = build_components(cfg)[3].loggers
    log_scores(loggers, cfg, SCORES, in_sweep=True)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == set(SCORES)
    assert "_hparams_/session_start_info" not in events.summary_metadata


def test_mlflow_logs_where_its_own_variable_says(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'all.db'}")
    assert configured(compose, tmp_path, "mlflow").logger.mlflow.tracking_uri == f"sqlite:///{tmp_path / 'all.db'}"


REFUSED = [
    ("mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9", "no server answers there"),
    ("mlflow", "logger.mlflow.tracking_uri=file:runs", r"type logger\.mlflow\.tracking_uri=sqlite:///mlflow\.db"),
    ("mlflow", "logger.mlflow.tracking_uri=sqlit:///runs", r"type logger\.mlflow\.tracking_uri=sqlite:///mlflow\.db"),
    ("wandb", "logger.wandb.offline=false", r"nobody is logged in .*type wandb login, or logger\.wandb\.offline=true"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "typed", "message"), REFUSED)
def test_a_service_that_is_not_there_is_missed_before_work(
    compose: Compose, tmp_path: Path, option: str, typed: str, message: str
) -> None:
    cfg = configured(compose, tmp_path, option, typed)
    with pytest.raises(ConfigError, match=message):
        build_components(cfg)
    advised = {"mlflow": "logger.mlflow.tracking_uri=sqlite:///mlflow.db", "wandb": "logger.wandb.offline=true"}[option]
    build_components(configured(compose, tmp_path, option, advised))


@pytest.mark.parametrize("option", ["wandb", "mlflow"])
def test_an_extra_that_is_missing_is_named(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    cfg = compose("train", *TYPED, f"logger={option}", f"output_dir={tmp_path / 'run'}")
    monkeypatch.setitem(sys.modules, option, None)
    monkeypatch.setattr(f"lightning.pytorch.loggers.{option}._{option.upper()}_AVAILABLE", False)
    with pytest.raises(ConfigError, match=rf'type pip install "fer_lightning\[{option}\]"'):
        build_components(cfg)
