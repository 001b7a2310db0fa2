"""Starting a verb: one message, an exit code, nothing half-written, and runs that continue."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

import fer_lightning
from fer_lightning.cli import command
from fer_lightning.cli.command import run_verb
from fer_lightning.cli.resume import continue_run
from fer_lightning.cli.usage import usage, verbs
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.overrides import quoted
from fer_lightning.core.errors import ConfigError, DataError
from fer_lightning.runs.config_hash import identify
from fer_lightning.runs.status import read_status


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder; Hydra's log handlers do not outlive the test."""
    root, folder = logging.getLogger(), tmp_path / "work"
    handlers, level = root.handlers[:], root.level
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    yield folder
    root.handlers[:], root.level = handlers, level


def nothing(cfg: DictConfig) -> None:
    raise AssertionError("the task must not be reached")


def fail(capsys: pytest.CaptureFixture[str], *argv: str, task: Any = nothing) -> tuple[int, str]:
    """Run a verb that must fail; return its exit code and what it said."""
    with pytest.raises(SystemExit) as stop:
        run_verb("train", task, list(argv))
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("optimizer.lrr=1", "did you mean optimizer.lr=1?"),
        ("trainer.limit_tset_batches=5", "did you mean trainer.limit_test_batches=5"),
        ("trainer.limit_test_batches=5,6", "error: trainer.limit_test_batches has several values: add -m"),
        ("trainer.max_epoch=3", "did you mean trainer.max_epochs=3"),
        ("optimiser.lr=3", "did you mean optimizer.lr=3 (or tune.lr)?"),
        ("lr=3", "did you mean optimizer.lr=3 (or tune.lr)?"),
        ("epochs=3", "type trainer.max_epochs=3"),
        ("trainer.gpus=2", "type trainer=gpu trainer.devices=2"),
        ("trainer.tpu_cores=8", "nothing takes its place: leave it out"),
        ("data=/faces/fer", "type data.root=/faces/fer"),
        ("model=efficientnet_b0", "timm has this network: type model=timm model.backbone=efficientnet_b0 (there are"),
        ("model=resnet18", "type model=timm model.backbone=resnet18 (there are"),
        ("optimizer=AdamW", "did you mean optimizer=adamw?"),
        ("optimizer=rmsprop", "type optimizer=adam optimizer._target_=torch.optim.RMSprop '~optimizer.amsgrad'"),
        ("scheduler=reduce_on_plateau", "did you mean scheduler=plateau?"),
        ("optimizer.lr=0,01", "did you mean optimizer.lr=0.01?"),
        ("optimizer.lr=interval(1e-4,1e-2)", "add -m sweep=optuna"),
        ("~callbacks.histori", "did you mean '~callbacks.history'?"),
        ("modell=x", "did you mean model=x"),
        (
            "model=resnet51",
            "did you mean model=resnet50? There are cnn_gru, compact, compact_xs, distilled, keras_cnn, resnet50",
        ),
        ("experiment=keras", "did you mean experiment=keras_cnn?"),
        ("optimizer.differentiable=true", "If torch.optim.AdamW takes it, type +optimizer.differentiable=true"),
        ("loss=null", "train needs loss and cannot leave it out: type loss=cross_entropy, or loss=focal"),
        ("model.cuda_graph=true", "'model.cuda_graph' any more; leave it out, or type model.compile=reduce-overhead"),
        ("callbacks.validation_pictures.share=1", "or type callbacks.validation_pictures.fraction=1"),
        ("seed.x=1", "seed is a value: type seed=1"),
        ("qqq=1", "there are data, augmentation, model"),
        ("hydra.runn.dir=1", "did you mean hydra.run.dir=1"),
        ("+seed=1", "type it without +"),
        ("lr", "typed as key=value"),
        ("optimizer.betas=[0.9,1", "the brackets or quotes in optimizer.betas=[0.9,1 do not match"),
        ("model=vgg16,resnet50", "model has several values: add -m to run each of them\n"),
        ("logger=csv,tensorboard", "add -m to run each of them, or type 'logger=[csv,tensorboard]' for one list"),
        ("model=[vgg16,resnet50]", "type model=vgg16, or -m model=vgg16,resnet50 to run each of them"),
        (
            "model.mean=[0.5]",
            "it is that of the training images: type model.normalize=unit",
        ),
        ("data.val_split=0.2", "type data.holdout=0.2"),
        ("model.num_classes=7", "nothing takes its place: leave it out"),
        ("/data/fer2013", "type data.root=/data/fer2013"),
        ("last.ckpt", "type ckpt_path=last.ckpt"),
        ("optimizer.lr=range(1,3)", "add -m"),
        ("~callbacks.qqq", "'callbacks.qqq' does not exist"),
        ("hydra.run.dir=${qqq}", "'qqq' not found"),
        ("--config-name=qqq", "there is no qqq.yaml"),
    ],
)
def test_what_cannot_be_composed_is_one_message(
    typed: str, said: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, message = fail(capsys, typed)
    assert code == 2
    assert message.startswith("error: ")
    assert said in message
    assert len(message.splitlines()) == 1
    assert list(elsewhere.iterdir()) == []
    if "did you mean" in message:
        assert "+" not in message


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("trainer.limit_test_batches=5", "trainer.limit_test_batches", 5),
        ("trainer.reload_dataloaders_every_n_epochs=1", "trainer.reload_dataloaders_every_n_epochs", 1),
        ("model.backbone_kwargs={channels: [4, 8]}", "model.backbone_kwargs.channels", [4, 8]),
        ("model.backbone_kwargs.width=2", "model.backbone_kwargs", {"width": 2}),
        ("data.aliases.cheerful=happy", "data.aliases", {"cheerful": "happy"}),
        ("data.merge={bad: [angry, sad]}", "data.merge.bad", ["angry", "sad"]),
        ("augmentation.by_class.disgust.rotate=25", "augmentation.by_class", {"disgust": {"rotate": 25}}),
        ("augmentation.by_class={sad: {erase: 0.5}}", "augmentation.by_class", {"sad": {"erase": 0.5}}),
    ],
)
def test_what_no_yaml_lists_can_be_typed_where_it_is_valid(typed: str, key: str, value: object) -> None:
    assert run_verb("train", lambda cfg: OmegaConf.select(cfg, key), [typed]) == value


def test_a_group_of_another_verb_is_answered_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_verb("evaluate", nothing, ["ckpt_path=x.ckpt", "scheduler=none"])
    assert "this program has no group 'scheduler': leave it out" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["disabled", "none", "stdout"])
def test_logging_of_hydra_may_be_changed(option: str) -> None:
    assert run_verb("train", lambda cfg: 1, [f"hydra/job_logging={option}"]) == 1


def test_all_unknown_settings_are_reported_together(capsys: pytest.CaptureFixture[str]) -> None:
    _, message = fail(capsys, "optimizer.lrr=1", "data.batchsize=3", "experiment=keras_cnn", "model=vgg16")
    assert message.splitlines() == [
        "error: 2 settings do not exist:",
        "  there is no setting 'optimizer.lrr'; did you mean optimizer.lr=1?",
        "  there is no setting 'data.batchsize'; did you mean data.batch_size=3?",
    ]


def test_a_broken_yaml_file_is_named(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = elsewhere / "mine" / "model"
    mine.mkdir(parents=True)
    (mine / "odd.yaml").write_text("a: [1\nb: 2\n")
    code, message = fail(capsys, "--config-dir=mine", "model=odd")
    assert code == 2
    assert "odd.yaml" in message
    assert "Traceback" not in message


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_where_a_library_does_not_say_which(
    number: int, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    def fill(cfg: DictConfig) -> None:
        raise OSError(number, os.strerror(number))

    code, message = fail(capsys, "hydra.run.dir=run", task=fill)
    assert code == 1
    assert message == (
        f"error: cannot write to {elsewhere}/run ({os.strerror(number)}): free space there, or choose another folder"
        " with hydra.run.dir=FOLDER; what was there before is unchanged\n"
    )


def test_an_output_folder_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code, message = fail(capsys, "hydra.run.dir=/dev/null/x")
    assert code == 1
    assert message == (
        "error: cannot write to /dev/null/x (Not a directory): a file is in the place of a folder; choose another with"
        " hydra.run.dir=FOLDER\n"
    )


@pytest.mark.parametrize(("error", "code"), [(ConfigError("no such thing"), 2), (DataError("no such thing"), 3)])
def test_a_mistake_of_the_user_leaves_no_folder(
    error: Exception, code: int, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(cfg: DictConfig) -> None:
        logging.getLogger("anywhere").warning("about to fail")
        raise error

    assert fail(capsys, task=task) == (code, "error: no such thing\n")
    assert [path for path in elsewhere.rglob("*") if path.name != "outputs"] == []


def test_a_mistake_that_a_constructor_wrapped_is_still_reported(capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        raise RuntimeError("wrapped") from DataError("the real reason")

    assert fail(capsys, task=task) == (3, "error: the real reason\n")


@pytest.mark.parametrize("name", ["train.log", "notes.log", ".hydra/config.yaml"])
def test_what_lay_there_before_is_kept(name: str, elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        raise DataError("no such thing")

    mine = elsewhere / "mine" / name
    mine.parent.mkdir(parents=True)
    mine.write_text("precious\n")
    os.utime(mine, (1, 1))
    fail(capsys, "hydra.run.dir=mine", task=task)
    assert mine.read_text().startswith("precious\n")


def test_what_a_task_wrote_is_kept_with_the_message(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        Path(cfg.output_dir, "checkpoints").mkdir()
        raise DataError("too late")

    assert fail(capsys, "hydra.run.dir=run", task=task)[0] == 3
    assert (elsewhere / "run" / "checkpoints").is_dir()
    assert "error: too late" in (elsewhere / "run" / "train.log").read_text()


def test_a_fault_of_ours_is_one_line_with_its_traceback_in_the_log(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(cfg: DictConfig) -> None:
        raise KeyError("surprise")

    code, message = fail(capsys, "hydra.run.dir=run", task=task)
    log = elsewhere / "run" / "train.log"
    assert code == 1
    assert message.splitlines() == [
        "error: KeyError: 'surprise'",
        f"the full traceback is in {log}; set HYDRA_FULL_ERROR=1 to see it here",
    ]
    assert "Traceback" in log.read_text()
    assert "test_command.py" in log.read_text()


def test_the_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        assert os.environ["HYDRA_FULL_ERROR"] == "1"
        raise DataError("no such thing")

    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    code, message = fail(capsys, task=task)
    assert code == 3
    assert message.startswith("Traceback")
    assert message.endswith("error: no such thing\n")


def test_interrupting_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        raise KeyboardInterrupt

    assert fail(capsys, task=task) == (130, "interrupted\n")


def test_a_run_has_its_folder_log_and_command_line(elsewhere: Path) -> None:
    def task(cfg: DictConfig) -> float:
        logging.getLogger("anywhere").info("said once")
        assert sys.argv[1:] == ["optimizer.lr=0.5", "seed=0"]
        assert "HYDRA_FULL_ERROR" not in os.environ
        Path(cfg.output_dir, "seen").write_text(str(cfg.seed))
        return cfg.optimizer.lr

    before = sys.argv
    assert run_verb("train", task, ["optimizer.lr=0.5", "seed=0"]) == 0.5
    assert sys.argv is before
    (seen,) = elsewhere.glob("outputs/train/*-*-*/*-*-*_small_cnn/seen")
    assert seen.read_text() == "0"
    assert "said once" in seen.with_name("train.log").read_text()
    assert (seen.parent / ".hydra" / "overrides.yaml").is_file()


def test_evaluate_writes_to_its_own_place(elsewhere: Path) -> None:
    run_verb("evaluate", lambda cfg: Path(cfg.output_dir, "seen").touch(), ["ckpt_path=x", "split=test"])
    assert len(list(elsewhere.glob("outputs/evaluate/*/*_test/seen"))) == 1


@pytest.mark.parametrize("variable", ["LOCAL_RANK", "TORCHELASTIC_RUN_ID"])
def test_a_sweep_is_not_started_by_every_rank(
    variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, "0")
    code, message = fail(capsys, "-m", "seed=1,2")
    assert (code, len(message.splitlines())) == (2, 1)
    assert "without torchrun" in message


def test_what_runs_once_is_no_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_verb("benchmark", nothing, ["-m", "window=1,2"])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: fer_lightning.benchmark runs once: type it without -m\n"


def test_flags_may_stand_between_overrides(elsewhere: Path) -> None:
    (elsewhere / "mine" / "experiment").mkdir(parents=True)
    (elsewhere / "mine" / "experiment" / "odd.yaml").write_text("# @package _global_\nseed: 7\n")
    typed = ["trainer=cpu", "--config-dir", "mine", "experiment=odd"]
    assert run_verb("train", lambda cfg: cfg.seed, typed) == 7


@pytest.mark.parametrize(
    ("typed", "runs", "top"),
    [
        (["outputs/a", "outputs/b=1,x", "top=3"], ["outputs/a"], 3),
        (["top=4", "it's here", "--config-dir", "mine"], ["it's here"], 4),
        (["runs=[x]"], ["x"], 2),
    ],
)
def test_words_that_are_no_settings_are_a_list(
    typed: list[str], runs: list[str], top: int, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    (elsewhere / "mine").mkdir()
    monkeypatch.setattr(
        "fer_lightning.cli.command.hydra.main", lambda **_: lambda job: lambda: seen.extend(sys.argv[1:])
    )
    run_verb("train", nothing, [word for word in typed if word != "outputs/b=1,x"], positional="runs")
    parser = OverridesParser.create()
    values = {item.key_or_group: item.value() for item in parser.parse_overrides([x for x in seen if "=" in x])}
    assert [str(getattr(value, "text", value)) for value in values["runs"]] == runs
    assert values.get("top", 2) == top


# the status file of a run


def test_a_run_says_that_it_runs_and_how_it_ended(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def task(cfg: DictConfig) -> None:
        status = read_status(Path(cfg.output_dir))
        seen.append(status.status)
        Path(cfg.output_dir, "work").touch()
        if len(seen) == 2:
            raise DataError("no such thing")
        if len(seen) == 3:
            raise KeyboardInterrupt

    seen: list[str] = []
    run_verb("train", task, ["hydra.run.dir=run", "seed=3"])
    status = read_status(elsewhere / "run")
    assert (status.status, status.overrides, status.attempts) == ("finished", ["seed=3"], 1)
    assert status.identity == identify(compose_here("seed=3")) != identify(compose_here("seed=4"))
    assert fail(capsys, "hydra.run.dir=run", task=task)[0] == 3
    status = read_status(elsewhere / "run")
    assert (status.status, status.reason, status.message, status.attempts) == ("failed", "data", "no such thing", 2)
    assert fail(capsys, "hydra.run.dir=run", task=task)[0] == 130
    assert read_status(elsewhere / "run").status == "interrupted"
    assert seen == ["running"] * 3


def compose_here(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(conf_dir()), **hydra_options(hydra.initialize_config_dir)):
        return hydra.compose("train", list(overrides))


def test_other_ranks_remove_nothing(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def task(cfg: DictConfig) -> None:
        raise DataError("no such thing")

    monkeypatch.setenv("LOCAL_RANK", "1")
    fail(capsys, "hydra.run.dir=run", task=task)
    assert (elsewhere / "run").is_dir()


# --help and the list of verbs


def test_help_names_groups_options_and_keys_of_every_verb() -> None:
    assert {"train", "evaluate"} <= set(verbs())
    text = usage("train")
    options = dict(line.split(maxsplit=1) for line in text.splitlines() if line.count(",") and line.startswith("  "))
    assert options["model"].startswith("small_cnn, ")
    assert set(options["optimizer"].split(", ")) == {path.stem for path in (conf_dir() / "optimizer").glob("*.yaml")}
    for wanted in ("optimizer.lr=1e-3", "trainer.max_epochs=12", "data.root=null", "model.backbone=small_cnn", "vgg16"):
        assert wanted in text
    assert "ckpt_path=null" in usage("evaluate")
    assert ("\n  -m " in text, "\n  -m " in usage("benchmark")) == (True, False)


def test_help_names_what_is_often_changed_inside_callbacks_and_loggers() -> None:
    text = usage("train")
    wanted = ("callbacks.early_stopping.patience=10", "callbacks.validation_pictures.every_n_epochs=1")
    assert [key for key in (*wanted, "hydra.run.dir=FOLDER") if key not in text] == []
    for key, option in (("callbacks.ema.decay=", "callbacks=ema"), ("logger.wandb.project=", "logger=wandb")):
        (line,) = (line for line in text.splitlines() if key in line)
        assert line.endswith(f"({option})")


@pytest.mark.parametrize("option", ["", "callbacks=ema", "logger=wandb", "logger=mlflow"])
def test_every_setting_in_the_help_can_be_typed(option: str) -> None:
    lines = [line for line in usage("train").splitlines() if line.startswith("  ") and "FOLDER" not in line]
    only = [line.rpartition(" (")[2].rstrip(")") if line.endswith(")") else "" for line in lines]
    lines = [line for line, of in zip(lines, only, strict=True) if of == option or not (option or "=" in of)]
    typed = [word for line in lines for word in line.split() if "." in word.partition("=")[0] and "=" in word]
    typed = [word for word in typed if word[0].isalpha() and not set("[{$") & set(word)]
    assert len(typed) >= (1 if option else 41)
    run_verb("train", lambda cfg: None, ["hydra.run.dir=run", *([option] if option else []), *typed])


def test_hydra_is_started_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    hydra.main(config_path=str(conf_dir()), **hydra_options(hydra.main))
    with hydra.initialize_config_dir(str(conf_dir()), **hydra_options(hydra.initialize_config_dir)):
        pass
    assert [str(warning.message) for warning in recwarn] == []


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize(
    ("typed", "code"), [(["train", "--help"], 0), (["train", "--cfg", "job"], 0), (["train", "optimizer.lrr=1"], 2)]
)
def test_help_config_and_mistakes_do_not_wait_for_torch(typed: list[str], code: int) -> None:
    done = program("-X", "importtime", "-m", "fer_lightning", *typed)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.returncode == code
    assert "fer_lightning.cli.command" in imported
    assert imported & {"torch", "lightning", "numpy", "pandas"} == set()


def test_no_verb_imports_a_heavy_library_for_help_config_or_a_mistake() -> None:
    code = """
import contextlib, importlib, io, sys
from fer_lightning.cli.usage import verbs
heavy = {"torch", "lightning", "numpy", "pandas", "cv2", "onnxruntime", "gradio", "matplotlib"}
for verb in verbs():
    for typed, expected in ((["--help"], 0), (["--cfg", "job"], 0), (["output_dirr=x"], 2)):
        begun, error = None, io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
            try:
                importlib.import_module(f"fer_lightning.{verb}").main(typed)
            except SystemExit as end:
                begun = end.code
        assert (begun or 0) == expected, (verb, typed, begun, error.getvalue())
        assert not heavy & set(sys.modules), (verb, typed, heavy & set(sys.modules))
"""
    done = program("-c", code)
    assert done.returncode == 0, done.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_runs_a_function_that_there_is(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"fer_lightning.{verb}")
    for place in (command, module):  # a verb may import it late
        monkeypatch.setattr(place, "run_verb", lambda name, task, argv, **_: (name, task, argv), raising=False)
    name, task, argv = module.main(["seed=1"])
    place, _, function = task.partition(":")
    assert (name, argv) == (verb, ["seed=1"])
    assert callable(getattr(importlib.import_module(f"fer_lightning.{place}"), function))


def test_settings_are_checked_before_anything_is_imported(capsys: pytest.CaptureFixture[str]) -> None:
    code, message = fail(capsys, "seed=lucky", task="nowhere:nothing")
    assert (code, message) == (2, "error: seed=lucky is not a whole number; type seed=42, for example\n")


def test_an_unknown_verb_names_the_near_one() -> None:
    done = program("-m", "fer_lightning", "trian")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no verb 'trian'; did you mean train?\n")


# continuing a run


@pytest.fixture
def run(elsewhere: Path) -> Path:
    """A run folder as Hydra and Lightning leave it, with characters that Hydra's grammar cares about."""
    folder = elsewhere / "outputs" / "10-00_it's a=net"
    (folder / ".hydra").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").touch()
    saved = ["model=resnet50", "optimizer.lr=0.1", "+extra=1", "~callbacks.history", "ckpt_path=old.ckpt"]
    saved += ["callbacks.validation_pictures.share=0.1", "model.cuda_graph=false"]  # of version 0.1
    (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(saved))
    return folder


def test_a_checkpoint_brings_its_settings_and_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ckpt = f"ckpt_path={quoted(run / 'checkpoints' / 'last.ckpt')}"
    argv = continue_run(["optimizer.lr=0.2", ckpt, "--cfg", "job"])
    own = ["model=resnet50", "+extra=1", "~callbacks.history", "callbacks.validation_pictures.fraction=0.1"]
    assert argv == [*own, f"hydra.run.dir={quoted(run)}", "optimizer.lr=0.2", ckpt, "--cfg", "job"]
    assert capsys.readouterr().err == f"continuing {run} with its own settings: {' '.join(own)}\n"


def test_continuing_twice_is_continuing_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once = continue_run([f"ckpt_path={quoted(run / 'checkpoints' / 'last.ckpt')}", "seed=1"])
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump([item for item in once if "hydra." not in item]))
    capsys.readouterr()
    child = [*once, f'hydra.run.dir="{run}"', "hydra.job.name=train_ddp_process_1", "hydra.output_subdir=null"]
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert continue_run(child) == child
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "typed", ["ckpt_path=missing.ckpt", "ckpt_path=null", "ckpt_path=", "ckpt_path=file", "seed=1"]
)
def test_what_is_no_checkpoint_of_a_run_is_left_alone(typed: str, elsewhere: Path) -> None:
    (elsewhere / "file").touch()
    assert continue_run([typed]) == [typed]


def test_a_folder_of_the_users_choice_and_a_sweep_are_left_alone(run: Path) -> None:
    ckpt = f"ckpt_path={quoted(run / 'checkpoints' / 'last.ckpt')}"
    assert continue_run(["-m", ckpt, "seed=1,2"]) == ["-m", ckpt, "seed=1,2"]
    assert "hydra.run.dir" not in " ".join(continue_run([ckpt, "hydra.run.dir=new"])[:-1])


@pytest.mark.parametrize("text", ["plain", "a=b, c", "it's", "d\\'e", "[x]{y}", 'say "so"', "$x"])
def test_quoting_is_what_hydra_reads_back(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={quoted(text)}")
    assert str(override.value()) == text


def test_a_run_continues_in_its_folder_and_mistakes_do_not_change_its_record(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(["model=resnet50", "optimizer.lr=0.1"]))
    ckpt = f"ckpt_path={quoted(run / 'checkpoints' / 'last.ckpt')}"

    def task(cfg: DictConfig) -> tuple[str, float, str]:
        if cfg.optimizer.lr > 1:
            raise ConfigError("too fast")
        return cfg.model.backbone, cfg.optimizer.lr, cfg.output_dir

    before = (run / ".hydra" / "overrides.yaml").read_bytes()
    assert fail(capsys, ckpt, "optimizer.lr=2", task=task)[0] == 2
    assert (run / ".hydra" / "overrides.yaml").read_bytes() == before
    assert run_verb("train", task, [ckpt, "optimizer.lr=0.2"]) == ("resnet50", 0.2, str(run))
    assert run_verb("train", task, [ckpt]) == ("resnet50", 0.2, str(run))
    assert run_verb("evaluate", lambda cfg: cfg.output_dir, [ckpt]) != str(run)


TOY_VERB = """
import os, subprocess
from fer_lightning.cli.command import run_verb

def train(cfg):
    from hydra.core.hydra_config import HydraConfig
    from lightning.fabric.strategies.launchers.subprocess_script import _hydra_subprocess_cmd
    rank = os.environ.get("LOCAL_RANK", "0")
    print("rank", rank, HydraConfig.get().job.name, cfg.seed, cfg.output_dir, sep="|", flush=True)
    if rank == "0":
        command, cwd = _hydra_subprocess_cmd(local_rank=1)
        subprocess.run(command, cwd=cwd, env={**os.environ, "LOCAL_RANK": "1"}, check=True)

if __name__ == "__main__":
    run_verb("train", train)
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", [["-m", "fer_lightning", "train"], ["-m", "fer_lightning.train"], ["fer", "train"]])
def test_lightning_starts_other_ranks_in_the_same_verb_and_folder(start: list[str], elsewhere: Path) -> None:
    """A copy of the package, whose `train` runs the command that Lightning has for rank 1."""
    package = Path(fer_lightning.__file__).parent
    copy = elsewhere / "site" / "fer_lightning"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(conf_dir(), copy / "conf", dirs_exist_ok=True)
    (copy / "train.py").write_text(TOY_VERB)
    if start[0] == "fer":
        script = Path(sys.executable).with_name("fer")
        if not script.exists():
            pytest.skip("the console script is not installed")
        start = [str(script), "train"]
    environment = {**os.environ, "PYTHONPATH": str(copy.parent), "OMP_NUM_THREADS": "1"}
    done = program(*start, "seed=7", "model=vgg16", env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stdout.splitlines() if line.startswith("rank|")]
    assert [line[1:4] for line in lines] == [["0", "train", "7"], ["1", "train_ddp_process_1", "7"]]
    assert lines[0][4] == lines[1][4]
