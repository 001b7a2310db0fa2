"""No `_target_` outside of the list runs or is imported, whatever door it comes through; the user's own modules do."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from fer_lightning.cli.command import run_verb
from fer_lightning.config.allowed import MODULES, allowed_modules, check_targets, resolve_target
from fer_lightning.config.check import check_config
from fer_lightning.core.errors import ConfigError
from fer_lightning.training.make import make

TARGETS = (
    "os.system", "posix.system", "subprocess.Popen", "subprocess.run", "runpy.run_path", "shutil.rmtree",
    "builtins.eval", "builtins.__import__", "importlib.import_module", "functools.partial", "pickle.load",
    "pandas.read_pickle",
    "numpy.load", "joblib.load", "yaml.unsafe_load", "hydra.utils.get_method", "hydra.utils.instantiate",
    "hydra._internal.utils._locate", "omegaconf.OmegaConf.load", "torch.load", "torch.hub.load", "torch.jit.load",
    "torch.os.system", "torch.nn.Module.load_state_dict", "torch.optim.AdamW.__init__.__globals__.get",
    "torch.utils.cpp_extension.load_inline", "timm.create_model", "lightning.pytorch.seed_everything",
    "lightning.pytorch.LightningModule.load_from_checkpoint", "fer_lightning.cli.command.run_verb",
    "fer_lightning.models.checkpoint.Checkpoint.read", "evil_marker.Thing", "evil_marker.sub.Thing", "", ".",
    "os..system",
)  # fmt: skip
# what may stand around one; {} is its place
FORMS: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda target: {"_target_": target},
    lambda target: {"_target_": target, "_partial_": True},
    lambda target: {"_target_": target, "_args_": ["touch ran"]},
    lambda target: {"deep": [{"er": {"_target_": target, "_recursive_": False}}]},
    lambda target: {"_target_": "lightning.pytorch.callbacks.Timer", "duration": {"_target_": target}},
    lambda target: {"_target_": "functools.partial", "_args_": [{"_target_": target}]},
)
# groups that hold one object, and what else may be named below them
GROUPS = ("optimizer", "scheduler", "model", "loss", "augmentation", "data", "machine", "trainer")
BELOW = ("trainer.strategy", "trainer.plugins", "trainer.profiler", "trainer.accelerator", "model.net", "anything")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory, on Python's path, with a module that must not be imported."""
    (tmp_path / "evil_marker.py").write_text("from pathlib import Path\nPath('ran').touch()\nclass Thing: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    assert "evil_marker" not in sys.modules
    assert not (tmp_path / "ran").exists()


def written(node: Any) -> str:
    """Return a value as a command line has it."""
    if isinstance(node, dict):
        return "{" + ", ".join(f"{key}: {written(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(map(written, node)) + "]"
    return f"'{node}'" if isinstance(node, str) else json.dumps(node)


def attacks() -> dict[str, str]:
    """Return place → override, every target in some form at some place of its own."""
    forms = cycle(FORMS)
    found = {}
    for number, target in enumerate(TARGETS):
        group = ("callbacks", "logger")[number % 2]
        found[f"{group}.x{number}"] = f"+{group}.x{number}={written(next(forms)(target))}"
    for name in GROUPS:
        found[f"{name}._target_"] = f"++{name}._target_=evil_marker.Thing"
    for name in BELOW:
        found[name] = f"++{name}={written({'_target_': 'evil_marker.Thing', '_partial_': True})}"
    return found


def through(door: str, folder: Path, planted: dict[str, str]) -> list[str]:
    """Return a command line by which the planted overrides reach the program."""
    overrides = [*planted.values()]
    if door == "command line":
        return overrides
    if door == "run":
        (folder / "run" / ".hydra").mkdir(parents=True)
        (folder / "run" / "last.ckpt").touch()
        (folder / "run" / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides))
        return ["ckpt_path=run/last.ckpt"]
    if door == "sweep":
        plan = {"verb": "train", "arguments": ["-m", *overrides]}
        (folder / "sweep").mkdir()
        (folder / "sweep" / "sweep.json").write_text(json.dumps(plan))
        return ["sweep.resume=sweep"]
    place = folder / "conf" / "experiment" / "mine.yaml"
    place.parent.mkdir(parents=True)
    tree = OmegaConf.from_dotlist([])
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        OmegaConf.update(tree, key, yaml.safe_load(value), force_add=True)
    place.write_text(f"# @package _global_\n{OmegaConf.to_yaml(tree)}")
    return ["--config-dir=conf", "experiment=mine"]


@pytest.mark.parametrize("door", ["command line", "run", "config-dir"])
def test_no_target_outside_of_the_list_is_called_or_imported(
    door: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = attacks()
    assert len(planted) >= 45
    with pytest.raises(SystemExit) as stop:
        run_verb("train", "training.run:train", through(door, elsewhere, planted))
    said = capsys.readouterr().err
    assert stop.value.code == 2
    left_out = said.partition("not taken from")[2].partition("\n")[0]
    for place, override in planted.items():
        named = f"{place}._target_:" in said or f"{place}: " in said or f"{place}." in said
        assert named or override in left_out.replace("'\"'\"'", "'"), f"{place} passed:\n{said}"


def test_jobs_of_a_sweep_that_name_such_targets_fail_before_they_start(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_verb("train", "training.run:train", through("sweep", elsewhere, attacks()))
    (status,) = (json.loads(path.read_text()) for path in (elsewhere / "sweep").glob("0*/status.json"))
    assert (status["status"], status["reason"]) == ("failed", "configuration")
    assert "evil_marker" in status["message"]


# what Hydra would call
CALLED = (
    "+hydra.callbacks.x={_target_: evil_marker.Thing}",
    "+hydra.callbacks.x={_target_: os.system, command: 'touch ran'}",
    "+hydra.job_logging.handlers.x.class=evil_marker.Thing",
    "+hydra.job_logging.formatters.x={'()': evil_marker.Thing}",
    "hydra.job_logging.handlers.console.stream=ext://evil_marker.Thing",
    "+hydra.hydra_logging.handlers.x.class=evil_marker.Thing",
    "+hydra.job_logging.handlers.file={'.': {baseFilename: ran}}",
    "hydra.launcher._target_=evil_marker.Thing",
    "hydra.sweeper._target_=evil_marker.Thing",
    "+hydra.sweeper.sampler={_target_: evil_marker.Thing}",
    "+hydra.sweeper.custom_search_space=evil_marker.Thing",
    "+hydra.callbacks.x=${other} +other={_target_: evil_marker.Thing}",
)


@pytest.mark.parametrize(
    ("door", "override"),
    [*(("config-dir", one) for one in CALLED), *(("command line", one) for one in CALLED[::4])],
)
def test_hydra_calls_nothing_of_somebody_else_either(
    door: str, override: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = override.split(" +")
    typed = through(
        door, elsewhere, {str(number): part if number == 0 else f"+{part}" for number, part in enumerate(parts)}
    )
    with pytest.raises(SystemExit) as stop:
        run_verb("train", "training.run:train", typed)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "is nothing that Hydra may call here" in said
    assert not (elsewhere / "outputs").exists()


@pytest.mark.parametrize(
    "typed",
    [
        ["hydra.searchpath=[pkg://evil_marker]"],
        ["hydra.searchpath=[pkg://evil_marker.sub/conf]"],
        ["--config-path=pkg://evil_marker"],
        ["-cp", "pkg://evil_marker"],
        ["--config-dir=conf", "--config-name=mine"],
        ["-m", "seed=1,2", "hydra.searchpath=[pkg://evil_marker]"],
    ],
)
def test_no_package_is_imported_for_its_yaml_files(
    typed: list[str], elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (elsewhere / "conf").mkdir()
    (elsewhere / "conf" / "mine.yaml").write_text("hydra: {searchpath: ['pkg://evil_marker']}\n")
    with pytest.raises(SystemExit) as stop:
        run_verb("train", lambda cfg: None, typed)
    assert stop.value.code == 2
    assert "would import a module for its YAML files" in capsys.readouterr().err
    assert run_verb("train", lambda cfg: 1, ["hydra.searchpath=[file://conf]"]) == 1


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"job": {"env_set": {"LD_PRELOAD": "x.so"}}}, "type ++hydra.job.env_set.LD_PRELOAD=x.so"),
        ({"job_logging": {"handlers": {"file": {"filename": "ran"}}}}, "is no file for a log"),
    ],
)
def test_a_file_sets_no_environment_and_writes_its_log_to_a_log(
    written: dict[str, Any], said: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = elsewhere / "conf" / "experiment" / "mine.yaml"
    place.parent.mkdir(parents=True)
    place.write_text("# @package _global_\n" + yaml.safe_dump({"hydra": written}))
    typed = ["--config-dir=conf", "experiment=mine"]
    with pytest.raises(SystemExit):
        run_verb("train", lambda cfg: None, typed)
    message = capsys.readouterr().err
    assert said in message
    if "env_set" in message:
        assert run_verb("train", lambda cfg: 1, [*typed, message.split("type ")[1].strip()]) == 1


def test_functions_that_build_from_a_configuration_are_no_factories() -> None:
    for name in ("build_data", "build_trainer", "resolve_machine", "build_model"):
        key = {"build_data": "data", "build_trainer": "trainer", "build_model": "model"}.get(name, "machine")
        with pytest.raises(ImportError, match=f"{name} is not a"):
            resolve_target(f"fer_lightning.training.build.{name}", key, ())


@pytest.mark.parametrize(
    "target",
    ["subprocess.Popen", "hydra.utils.instantiate", "os.system", "builtins.eval", "logging.config.dictConfig"],
)
def test_nobody_is_told_to_allow_the_standard_library(
    target: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("hydra.callbacks.x", "callbacks.x"):
        with pytest.raises(SystemExit):
            run_verb("train", lambda cfg: None, [f"+{key}={{_target_: {target}}}"])
        said = capsys.readouterr().err
        assert target in said
        assert "security.allow" not in said


@pytest.mark.usefixtures("elsewhere")
def test_the_list_holds_where_objects_are_made_too(compose: Callable[..., DictConfig]) -> None:
    """Also for a target that appears only when the settings are resolved."""
    cfg = compose("train")
    OmegaConf.set_struct(cfg, False)
    cfg.y = {"_target_": "evil_marker.Thing"}
    for value in ({**cfg.y}, "${y}", "${oc.create:{_target_:evil_marker.Thing}}"):
        cfg.logger.x = value
        with pytest.raises(ConfigError, match=r"_target_: 'evil_marker\.Thing' lies outside"):
            make(cfg.logger.x)
    cfg.logger.x = '${oc.decode:"{_target_: os.system}"}'
    with pytest.raises(ConfigError, match="is no mapping with a _target_"):
        make(cfg.logger.x)
    with pytest.raises(ConfigError, match="escaped"):
        check_targets({"_target_": "torch.nn.Linear", "x": "${oc.decode:y}"}, "loss", ())


def test_modules_of_ones_own_are_named_by_oneself(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere / "mine_own.py").write_text(
        "from lightning.pytorch import Callback\nclass Good(Callback): ...\nclass Bad: ...\n"
    )
    typed = ["+callbacks.a={_target_: mine_own.Good}", "security.allow=[mine_own]", "trainer=cpu"]
    assert run_verb("train", lambda cfg: allowed_modules(cfg), typed) == ("mine_own",)
    with pytest.raises(SystemExit):
        run_verb("train", lambda cfg: None, typed[:1])
    assert "if it is yours, type security.allow=[mine_own]" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run_verb("train", lambda cfg: None, ["+callbacks.a={_target_: mine_own.Bad}", *typed[1:]])
    assert "callbacks.a._target_: mine_own.Bad is not a Callback of Lightning" in capsys.readouterr().err
    conf = elsewhere / "conf" / "experiment"
    conf.mkdir(parents=True)
    (conf / "mine.yaml").write_text("# @package _global_\nsecurity: {allow: [mine_own]}\n")
    assert run_verb("train", lambda cfg: None, [typed[0], "--config-dir=conf", "experiment=mine"]) is None


def test_a_run_folder_does_not_say_what_may_be_imported(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = {
        "a": "security.allow=[evil_marker]", "b": "++security={allow: [evil_marker]}",
        "c": "+callbacks.a={_target_: evil_marker.Thing}", "d": "+experiment@security=../../mine",
        "e": "--config-dir=mine",
    }  # fmt: skip
    typed = through("run", elsewhere, recorded)
    with pytest.raises(SystemExit) as stop:
        run_verb("train", "training.run:train", typed)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "type again what you trust: 'security.allow=[evil_marker]'" in said
    assert "error: callbacks.a._target_: 'evil_marker.Thing' lies outside" in said
    assert "type security.allow=[evil_marker]" in said


@pytest.mark.parametrize(
    "typed",
    [
        "--config-dir=run/.hydra experiment=mine",
        "-cd run/.hydra experiment=mine",
        "--config-d run/.hydra --config-na mine",
        "hydra.searchpath=[file://run/.hydra] experiment=mine",
        "-cp CWD/run/.hydra -cn mine",
    ],
)
def test_nor_do_its_yaml_files_where_they_are_composed_again(
    typed: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = elsewhere / "run" / ".hydra"
    (recorded / "experiment").mkdir(parents=True)
    (recorded / "overrides.yaml").write_text("[]\n")
    foreign = {"security": {"allow": ["evil_marker"]}, "callbacks": {"a": {"_target_": "evil_marker.Thing"}}}
    (recorded / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{yaml.safe_dump(foreign)}")
    (recorded / "mine.yaml").write_text(yaml.safe_dump({"output_dir": "out", **foreign}))
    with pytest.raises(SystemExit) as stop:
        run_verb("train", "training.run:train", typed.replace("CWD", str(elsewhere)).split())
    assert stop.value.code == 2
    assert "'evil_marker.Thing' lies outside" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "key", "said"),
    [
        ("AdmW", "optimizer", "did you mean torch.optim.AdamW"),
        ("torch.optim.AdmW", "optimizer", "there is no 'AdmW' in torch.optim; did you mean Ada"),
        ("torch.optim.lr_scheduler.StepLR", "optimizer", "is not an optimizer"),
        ("torch.optim.SGD", "scheduler", "is not a learning-rate schedule"),
        ("EarlyStoping", "callbacks.stop", "did you mean lightning.pytorch.callbacks.EarlyStopping"),
        ("torch.nn.Linear", "model", "torch.nn.Linear is not a LightningModule"),
        ("lightning.pytorch.callbacks.Timer", "logger.x", "is not a Logger of Lightning"),
        ("nn.CrossEntropyLoss", "loss", "did you mean torch.nn.CrossEntropyLoss"),
    ],
)
def test_a_wrong_target_is_answered_with_what_suits_its_key(target: str, key: str, said: str) -> None:
    with pytest.raises(ImportError) as error:
        resolve_target(target, key, ())
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("torch.optim.RMSprop", "optimizer"),
        ("torch.optim.lr_scheduler.StepLR", "scheduler"),
        ("torch.optim.lr_scheduler.ReduceLROnPlateau", "scheduler"),
        ("fer_lightning.models.schedules.plateau", "scheduler"),
        ("fer_lightning.system.machine.resolve_machine", "machine"),
        ("fer_lightning.training.fsdp.ShardedStrategy", "trainer.strategy"),
        ("lightning.pytorch.strategies.DDPStrategy", "trainer.strategy"),
        ("datetime.timedelta", "trainer.strategy.timeout"),
        ("lightning.pytorch.plugins.MixedPrecision", "trainer.plugins.0"),
        ("lightning.pytorch.plugins.environments.LightningEnvironment", "trainer.plugins"),
        ("lightning.pytorch.profilers.SimpleProfiler", "trainer.profiler"),
        ("lightning.pytorch.callbacks.StochasticWeightAveraging", "callbacks.swa"),
        ("torch.nn.Linear", "model.net"),
        ("torchvision.models.resnet18", "model.net"),
        ("torchmetrics.classification.MulticlassAccuracy", "callbacks.x.metric"),
        ("albumentations.HorizontalFlip", "callbacks.x.transform"),
    ],
)
def test_what_people_name_may_be_named(target: str, key: str) -> None:
    assert callable(resolve_target(target, key, ()))


def test_every_shipped_target_is_on_the_list(compose: Callable[..., DictConfig]) -> None:
    check_config(compose("train", "output_dir=out"))
    assert "fer_lightning" in MODULES


@pytest.mark.parametrize("value", ["os.system()", "[my-package]", "{a: b}", "[1]", "['a b']", "[__main__]"])
def test_what_is_no_name_of_a_module_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"security\.allow"):
        allowed_modules(OmegaConf.create({"security": {"allow": yaml.safe_load(value)}}))
