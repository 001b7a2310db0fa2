"""The search spaces that are shipped, and what is said of those that cannot be searched."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.plugins import Plugins
from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.check import check_config
from fer_lightning.config.compose import conf_dir
from fer_lightning.config.hydra_errors import explain
from fer_lightning.core.errors import ConfigError
from fer_lightning.runs.objectives import directions, objectives

Compose = Callable[..., DictConfig]
SPACES = sorted(path.stem for path in (conf_dir() / "sweep").glob("*.yaml") if path.stem != "default")
PRUNERS = sorted(path.stem for path in (conf_dir() / "sweep" / "pruner").glob("*.yaml"))
HAS_PLUGIN = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper" in Plugins.instance().class_name_to_class
needs_extra = pytest.mark.skipif(not HAS_PLUGIN, reason="needs the extra sweep, and with it Hydra 1.4")


def refused(tmp_path: Path, *arguments: str) -> str:
    """Return the only line that a sweep ends with, which must be the user's to mend and leave no folder."""
    command = [sys.executable, "-m", "fer_lightning.train", "-m", "hydra.sweep.dir=sweep", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


@pytest.mark.skipif(HAS_PLUGIN, reason="the extra sweep is installed")
@pytest.mark.parametrize("option", SPACES)
def test_without_the_extra_one_message_says_what_to_install(compose: Compose, option: str) -> None:
    with pytest.raises(MissingConfigException) as error:
        compose("train", f"sweep={option}")
    said = explain(error.value, [f"sweep={option}"])
    assert said == 'sweep=optuna and the search spaces need Optuna: type pip install "fer_lightning[sweep]"'


@pytest.mark.skipif(HAS_PLUGIN, reason="the extra sweep is installed")
def test_without_the_extra_the_program_says_so(tmp_path: Path) -> None:
    assert 'type pip install "fer_lightning[sweep]"' in refused(tmp_path, "sweep=optuna")


@needs_extra
@pytest.mark.parametrize("option", SPACES)
def test_every_space_is_made_of_settings_that_exist(compose: Compose, option: str) -> None:
    from fer_lightning.sweeps.search_space import read_space

    cfg = compose("train", f"sweep={option}", "sweep.trial=0", "output_dir=out")
    check_config(cfg)
    with_hydra = compose_with_hydra(f"sweep={option}")
    sweeper = with_hydra.hydra.sweeper
    space = read_space(sweeper.otherwise if option == "optuna" else sweeper.params, [])
    assert (option == "optuna") == (sweeper.params == {})
    assert "optimizer.lr" in space.searched
    ends = {key: getattr(dist, "choices", None) or (dist.low, dist.high) for key, dist in space.searched.items()}
    for number in range(max(map(len, ends.values()), default=0)):
        values = [f"{key}={some[number % len(some)]}" for key, some in ends.items()]
        check_config(compose("train", f"sweep={option}", "sweep.trial=0", "output_dir=out", *values))


@needs_extra
@pytest.mark.parametrize("pruner", PRUNERS)
def test_every_pruner_can_be_made(compose: Compose, pruner: str) -> None:
    from hydra.utils import instantiate

    cfg = compose("train", "sweep=optuna", f"sweep/pruner={pruner}", "sweep.trial=0", "output_dir=out")
    check_config(cfg)
    assert hasattr(instantiate(cfg.sweep.pruner, _execution_whitelist_="optuna.pruners.*"), "prune")


@needs_extra
@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sweep=optuna", "hydra.sweeper.otherwise=null"], "there is nothing to search: type sweep=small_cnn"),
        (["sweep=small_cnn", "optimizer.lrr=interval(1,2)"], "did you mean optimizer.lr="),
        (["sweep=small_cnn", "hydra/sweeper/sampler=grid"], "GridSampler only supports discrete distributions"),
        (["sweep=small_cnn", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0 must be a whole number"),
        (["sweep=small_cnn", "sweep.objectives=[val/acc,speed]"], "sweep.objectives=speed is never measured"),
        (["sweep=small_cnn", "monitor=test/acc"], "would choose by the test split"),
        (["sweep=small_cnn", "sweep.storage=nonsense"], "type a URL such as"),
    ],
    ids=lambda value: "" if isinstance(value, str) else value[-1],
)
def test_what_cannot_be_searched_is_told_in_a_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused(tmp_path, *arguments)


@needs_extra
def test_a_space_is_not_taken_for_a_single_run(compose: Compose) -> None:
    with pytest.raises(ConfigError, match="are for many runs: add -m"):
        check_config(compose("train", "sweep=small_cnn", "output_dir=out"))


@needs_extra
def test_what_is_typed_comes_before_what_is_shipped() -> None:
    from fer_lightning.sweeps.search_space import read_space

    params = OmegaConf.create({"model": {"drop_rate": "interval(0.0, 0.5)"}, "optimizer.lr": "choice(1e-3, 1e-4)"})
    space = read_space(params, ["model.drop_rate=0.3", "optimizer.lr=tag(log,interval(1e-5,1e-2))", "seed=1"])
    assert {key: (dist.low, dist.high, dist.log) for key, dist in space.searched.items()} == {
        "optimizer.lr": (1e-5, 1e-2, True)
    }
    assert space.fixed == ["model.drop_rate=0.3", "seed=1"]


def test_directions_follow_from_the_names(compose: Compose) -> None:
    assert objectives(compose("train", "output_dir=x")) == ["val/acc"]
    assert objectives(compose("train", "output_dir=x", "monitor=val/loss", "mode=min")) == ["val/loss"]
    assert directions(["val/acc", "val/loss", "latency", "parameters"]) == ["maximize", *["minimize"] * 3]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "must name one or more"),
        (["val/acc", "val/acc"], "each once"),
        (["val/accuracy"], "is never measured"),
        (["latency", "test/acc"], "test/acc would choose by the test split.*: type sweep.objectives=val/acc$"),
    ],
)
def test_objectives_are_one_or_more_that_are_measured(compose: Compose, names: list[str], said: str) -> None:
    cfg = compose("train", "output_dir=x")
    OmegaConf.set_struct(cfg, False)
    cfg.sweep.objectives = names
    with pytest.raises(ConfigError, match=rf"sweep\.objectives=.*{said}"):
        objectives(cfg)


def test_a_sweep_that_would_compare_by_the_test_split_starts_no_job(tmp_path: Path) -> None:
    said = refused(tmp_path, "monitor=test/acc", "seed=1,2")
    assert "monitor=test/acc would choose by the test split" in said
    assert not (tmp_path / "sweep").exists()


def compose_with_hydra(*overrides: str) -> DictConfig:
    import hydra

    from fer_lightning.config.compose import hydra_options

    with hydra.initialize_config_dir(str(conf_dir()), **hydra_options(hydra.initialize_config_dir)):
        return hydra.compose("train", list(overrides), return_hydra_config=True)
