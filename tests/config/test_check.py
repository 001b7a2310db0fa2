"""Every YAML file composes and passes the check; every kind of mistake is reported, all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Optional, Union

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from fer_lightning.config.check import AUTO, SCALARS, check_config
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.given import GIVEN
from fer_lightning.config.signatures import describe, fits, locate, read_signature
from fer_lightning.core.errors import ConfigError
from fer_lightning.core.suggestions import did_you_mean
from fer_lightning.inference.detection.detector import FaceMode

Compose = Callable[..., DictConfig]


class Colour(Enum):
    RED = 1


@dataclass
class Point:
    x: float
    y: float = 0.0


class Thing:
    """A constructor with one hint of every kind."""

    def __init__(
        self,
        size: int,
        rate: float = 0.1,
        name: str = "x",
        flag: bool = False,
        kind: Literal["shuffle", "balanced"] = "shuffle",
        mode: Literal["min", "max"] | None = None,
        modes: Sequence[Literal["min", "max"]] = (),
        level: Literal[1, 2] | bool = 1,
        where: Optional[Path] = None,  # noqa: UP045
        pair: tuple[float, float] = (0.0, 1.0),
        names: Sequence[str] | None = None,
        counts: Mapping[str, int] | None = None,
        point: Union[Point, None] = None,  # noqa: UP007
        act: Callable[[int], int] | None = None,
        odd: Unknown = None,  # type: ignore[name-defined]  # noqa: F821
        holdout: Union[float, Literal["auto"]] = "auto",  # noqa: UP007
        workers: int | Literal["auto"] = "auto",
        groups: Mapping[str, Sequence[str]] | None = None,
        plain=3,
    ) -> None: ...


def open_ended(size: int, **more: Any) -> None: ...


OWN = {"security": {"allow": [__name__, "math"]}}  # what a user types for modules of their own


def thing(**values: Any) -> DictConfig:
    return OmegaConf.create({"thing": {"_target_": f"{__name__}.Thing", **values}, **OWN})


def problems(cfg: DictConfig) -> str:
    with pytest.raises(ConfigError) as error:
        check_config(cfg)
    return str(error.value)


# every YAML file

CONF = conf_dir()
PRIMARIES = sorted(path.stem for path in CONF.glob("*.yaml"))
OPTIONS = [
    f"{path.parent.relative_to(CONF).as_posix()}={path.stem}"
    for path in sorted(CONF.glob("*/**/*.yaml"))
    if path.relative_to(CONF).parts[0] not in ("hydra", "sweep")
]
MUST_BE_GIVEN = {
    "data=csv": ["data.root=x"],
    "data=folders": ["data.root=x"],
    "experiment=vgg16_features": ["model.pretrained=true"],
    "model=distilled": ["model.teachers=[x.ckpt]"],
}


def composed(primary: str, *overrides: str) -> DictConfig:
    # Hydra is asked for its own part too, because ${hydra:…} is what the output folder is made of
    with initialize_config_dir(str(CONF), **hydra_options(initialize_config_dir)):
        return compose(primary, ["output_dir=out", *overrides])


@pytest.mark.parametrize("primary", PRIMARIES)
def test_every_primary_config_passes(primary: str) -> None:
    cfg = composed(primary)
    missing = [key for key in cfg if OmegaConf.is_missing(cfg, key)]
    cfg = composed(primary, *(f"{key}=x" for key in missing))
    check_config(cfg)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_passes(option: str) -> None:
    group = option.partition("=")[0]
    cfg = composed(
        "train", option, *MUST_BE_GIVEN.get(option, []), *(["trainer.accelerator=cpu"] if group == "trainer" else [])
    )
    check_config(cfg)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("seed=null", "seed=null is not a whole number; type seed=42, for example"),
        ("seed=-1", "seed=-1 must be at least 0: type seed=0"),
        ("data.num_workers=-1", "data.num_workers=-1 must be at least 0: type data.num_workers=0"),
        (
            "data.num_workers=many",
            "data.num_workers=many is not auto or a whole number; type data.num_workers=auto, for example",
        ),
        ("data.classes=happy", "data.classes=happy is not own or a list of text or null; type 'data.classes=[happy]'"),
        (
            "data.merge=[sad,fear]",
            "data.merge=['sad', 'fear'] is not a mapping or null; type data.merge=null, for example",
        ),
        (
            "data.split=[0.9,x]",
            "data.split=[0.9, 'x'] is not a list of numbers; type 'data.split=[0.8,0.1,0.1]', for example",
        ),
        ("model.backbone_lr=-1", "model.backbone_lr=-1.0 must be at least 0: type model.backbone_lr=0"),
        ("data.root=", "data.root is empty, as if a variable had no value: type data.root=PATH"),
        ("data.root='  '", "data.root is empty, as if a variable had no value: type data.root=PATH"),
        (
            "data.cache_dir=''",
            "data.cache_dir is empty, as if a variable had no value: type data.cache_dir=PATH, or leave "
            "FER_LIGHTNING_CACHE unset",
        ),
    ],
)
def test_a_value_that_cannot_be_is_reported_once(typed: str, said: str) -> None:
    assert problems(composed("train", typed)) == said


@pytest.mark.parametrize(
    "typed",
    [
        "data.aliases={1: surprise, 2: fear}",
        "data.merge={negative: angry}",  # reported when the classes are known, see tests/data/test_table.py
        "data.num_workers=0",
        "monitor=train/acc",
        "optimizer.amsgrad=true",
        "trainer.min_steps=10",
    ],
)
def test_a_value_that_can_be_passes(typed: str) -> None:
    check_config(composed("train", typed))


@pytest.mark.parametrize(
    ("options", "typed"),
    [
        ("optimizer=sgd", "optimizer.dampening=0.1 optimizer.nesterov=false optimizer.fused=true"),
        ("optimizer=adam", "optimizer.amsgrad=true optimizer.fused=true"),
        ("scheduler=onecycle", "scheduler.cycle_momentum=true"),
        ("callbacks=ema", "callbacks.ema.update_every_n_steps=2 callbacks.early_stopping.strict=true"),
        ("logger=wandb", "logger.wandb.name=x logger.wandb.group=x logger.wandb.tags=[x] logger.wandb.notes=x"),
    ],
)
def test_what_is_often_changed_needs_no_plus(options: str, typed: str) -> None:
    check_config(composed("train", options, *typed.split()))


def test_the_split_to_evaluate_is_one_that_there_is() -> None:
    cfg = OmegaConf.create({"split": "tst"})
    assert problems(cfg) == "split=tst is not one of train, validation, test, all, auto; did you mean split=test?"


def test_every_auto_key_is_auto_in_its_yaml() -> None:
    cfg = composed("train")
    assert {key: OmegaConf.select(cfg, key) for key in AUTO} == dict.fromkeys(AUTO, "auto")


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_yaml_opens_with_a_command_or_a_reason(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_a_run_that_ends_before_the_first_validation_has_nothing_to_stop(tmp_path: Path) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel

    node = composed("train").callbacks.early_stopping
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=2,
        callbacks=[instantiate(node)],
        default_root_dir=tmp_path,
        enable_model_summary=False,
        **quiet,  # type: ignore[arg-type]
    )
    trainer.fit(BoringModel())
    assert (trainer.global_step, trainer.num_training_batches) == (2, 64)


# mistakes in one configuration


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"siez": 1}, f"{__name__}.Thing takes no thing.siez; did you mean thing.size"),
        ({"size": "big"}, "thing.size=big is not a whole number"),
        ({"size": 1.5}, "thing.size=1.5 is not a whole number"),
        ({"size": True}, "thing.size=True is not a whole number"),
        ({"size": None}, "thing.size=null is not a whole number"),
        ({"rate": "fast"}, "thing.rate=fast is not a number"),
        ({"name": 2024}, "thing.name=2024 is not text; type \"thing.name='2024'\""),
        ({"flag": "yes"}, "thing.flag=yes is not true or false"),
        ({"kind": "balance"}, "thing.kind=balance is not one of shuffle, balanced; did you mean thing.kind=balanced?"),
        ({"kind": "Shuffle"}, "did you mean thing.kind=shuffle?"),
        ({"mode": "maximum"}, "thing.mode=maximum is not one of min, max or null"),
        ({"mode": True}, "thing.mode=True is not one of min, max or null"),
        ({"modes": ["min", "mix"]}, "is not a list of some of min, max; did you mean min or max?"),
        ({"modes": "min"}, "thing.modes=min is not a list of some of min, max; type 'thing.modes=[min]'"),
        ({"level": 3}, "thing.level=3 is not one of 1, 2 or true or false"),
        ({"where": 3}, "thing.where=3 is not a path or null"),
        ({"pair": [1]}, "thing.pair=[1] is not a list of 2 numbers"),
        ({"pair": [1, "x"]}, "is not a list of 2"),
        ({"names": "happy"}, "thing.names=happy is not a list of text or null; type 'thing.names=[happy]'"),
        ({"names": [1]}, "thing.names=[1] is not a list of text"),
        ({"counts": {"a": "b"}}, "is not a mapping of text to whole numbers or null"),
        ({"groups": {"a": "b"}}, "is not a mapping or null"),
        ({"workers": "many"}, "thing.workers=many is not auto or a whole number"),
        ({"workers": 1.5}, "thing.workers=1.5 is not auto or a whole number"),
        ({"counts": [1]}, "is not a mapping"),
        ({"act": "relu"}, "thing.act=relu is not"),
        ({"holdout": "most"}, "thing.holdout=most is not auto or a number"),
        ({"size": "???"}, "thing.size has no value: type thing.size=VALUE"),
        ({"size": "${nowhere}"}, "thing.size is ${nowhere}: Interpolation key 'nowhere' not found"),
    ],
)
def test_a_mistake_is_named_with_its_key(values: dict[str, Any], said: str) -> None:
    assert said in problems(thing(**values))


@pytest.mark.parametrize(
    "values",
    [
        {"size": 1, "rate": 1, "name": "", "flag": True, "kind": "balanced", "where": "a/b", "pair": [0, 1]},
        {"names": ["a"], "counts": {"a": 1}, "point": {"x": 1}, "odd": "anything", "plain": [1], "holdout": 0.1},
        {"act": {"_target_": "math.sqrt", "_partial_": True}, "where": None, "holdout": "auto", "_convert_": "all"},
        {"counts": {1: 2, 0.5: 3}, "workers": 4, "groups": {0: ["a"]}},
        {"size": 1, "mode": "min", "modes": ["max", "min"], "level": 2},
        {"size": 1, "mode": None, "modes": [], "level": True},
        {"workers": "auto", "_partial_": True, "rate": "${thing.pair.0}", "pair": [0.5, 1]},
    ],
)
def test_right_values_pass_and_absent_ones_may_come_later(values: dict[str, Any]) -> None:
    check_config(thing(**values))


def test_everything_is_reported_at_once() -> None:
    cfg = OmegaConf.create(
        {
            "seed": "lucky",
            "thing": {"_target_": f"{__name__}.Thing", "size": "big", "nmae": "x", "where": "???"},
            "others": {
                "one": {"_target_": f"{__name__}.Thingy"},
                "two": {"_target_": f"{__name__}.Thing", "rate": "x"},
            },
            **OWN,
        }
    )
    lines = problems(cfg).splitlines()
    assert lines[0] == "6 settings cannot work:"
    assert [line[:5] for line in lines[1:]] == [f"  {number}. " for number in range(1, 7)]
    assert "seed=lucky is not a whole number" in lines[1]
    assert any("others.one._target_: there is no 'Thingy'" in line and "did you mean Thing" in line for line in lines)
    assert any("others.two.rate=x is not a number" in line for line in lines)


def test_a_wrong_value_is_reported_once_where_it_stands() -> None:
    cfg = OmegaConf.create({"seed": "lucky", "thing": {"_target_": f"{__name__}.Thing", "size": "${seed}"}, **OWN})
    assert problems(cfg) == "seed=lucky is not a whole number; type seed=42, for example"
    cfg.seed = None
    assert problems(cfg) == "seed=null is not a whole number; type seed=42, for example"


def test_null_comes_from_the_checkpoint_where_there_is_no_model() -> None:
    data = {"_target_": "fer_lightning.data.datamodule.ExpressionDataModule", "seed": None, "on_error": "no"}
    named = OmegaConf.create({"data": data})
    assert (
        problems(named) == "data.on_error=no is not one of raise, skip or null; type data.on_error=raise, for example"
    )
    named.data.on_error = "skip"
    check_config(named)
    assert (
        problems(OmegaConf.merge(named, {"model": {}}))
        == "data.seed=null is not a whole number; type data.seed=42, for example"
    )
    said = "thing.size=null is not a whole number; type thing.size=1, for example"
    assert problems(thing(size=None, rate=1)) == said


def test_unknown_names_pass_where_the_target_takes_any() -> None:
    cfg = OmegaConf.create({"thing": {"_target_": f"{__name__}.open_ended", "size": "big", "other": 1}, **OWN})
    assert problems(cfg) == "thing.size=big is not a whole number; type thing.size=1, for example"


def test_auto_is_allowed_only_where_it_is_resolved() -> None:
    nodes = {"_target_": "lightning.pytorch.Trainer", "precision": "auto", "accelerator": "auto"}
    check_config(OmegaConf.create({"trainer": nodes}))
    assert "trainer.max_epochs=auto is not" in problems(OmegaConf.create({"trainer": {**nodes, "max_epochs": "auto"}}))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("torch.optim.AdmW", "there is no 'AdmW' in torch.optim; did you mean Adam"),
        ("fer_lightning.confg.check_config", "there is no 'confg' in fer_lightning; did you mean config"),
        ("nowhere.Thing", "no module is called 'nowhere'"),
        ("fer_lightning.config.check.AUTO", "cannot be called"),
        ("Thing", "no module is called 'Thing'"),
    ],
)
def test_a_target_that_is_not_there(target: str, said: str) -> None:
    with pytest.raises(ImportError) as error:
        locate(target)
    assert said in str(error.value)


def test_a_target_whose_library_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needy_module.py").write_text("import a_library_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match="needy_module needs a_library_nobody_has, which is not installed"):
        locate("needy_module.Thing")


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, int | None, True),
        (None, int | None, True),
        (None, int, False),
        (True, float, False),
        (1, Literal[True], False),
        ("a", Sequence[str], False),
        ([1, 2], list[int], True),
        ([1, 2, 3], tuple[int, ...], True),
        ([1], tuple[int, int], False),
        ({"a": {"_target_": "x"}}, dict[str, int], True),
        ("RED", Colour, True),
        ({"a": 1}, int, False),
        (0.5, torch.Tensor, False),
        (0.5, Union[float, torch.Tensor], True),  # noqa: UP007
        ("anything", "Unresolved", True),
        (None, Any, True),
    ],
)
def test_what_fits_a_hint(value: Any, hint: Any, expected: bool) -> None:
    assert fits(value, hint) is expected


def test_signatures_of_other_libraries_are_read() -> None:
    from lightning.pytorch import Trainer

    adamw, trainer = read_signature(torch.optim.AdamW), read_signature(Trainer)
    assert fits(0.1, adamw.hints["lr"])
    assert not fits("fast", adamw.hints["lr"])
    assert not fits("max", trainer.hints["max_epochs"])
    assert fits("bf16-mixed", trainer.hints["precision"])
    assert not fits("bf17", trainer.hints["precision"])
    assert "bf16-mixed" in describe(trainer.hints["precision"])
    assert describe(adamw.hints["lr"]) == "a number or a Tensor (a mapping with its `_target_`)"
    assert (adamw.takes_any, trainer.takes_any) == (False, False)


def test_suggestions_are_few_and_near() -> None:
    assert did_you_mean("lrr", ["lr", "eps"]) == "; did you mean lr?"
    assert did_you_mean("zzz", ["lr"]) == ""


def test_conf_is_found_beside_the_package() -> None:
    assert (conf_dir() / "train.yaml").is_file()


def test_another_seed_leaves_the_images_as_they_are() -> None:
    data = composed("train", "seed=7").data
    assert (data.seed, data.draw_seed) == (42, 7)


# values that arrive as the type that is asked for


@pytest.mark.parametrize(
    ("typed", "key", "value"),
    [
        ("model.mixup=1", "model.mixup", 1.0),
        ("optimizer.lr=1", "optimizer.lr", 1.0),
        ("optimizer.betas=[0,0.9]", "optimizer.betas", [0.0, 0.9]),
        ("optimizer.lr='1e-3'", "optimizer.lr", 1e-3),
        ("optimizer.lr=${oc.decode:'1'}", "optimizer.lr", 1.0),
        ("data.split=[1,0,0]", "data.split", [1.0, 0.0, 0.0]),
        ("data.holdout='0.2'", "data.holdout", 0.2),
        ("data.batch_size=1e2", "data.batch_size", 100),
        ("data.batch_size='32'", "data.batch_size", 32),
        ("trainer.max_epochs=10.0", "trainer.max_epochs", 10),
        ("trainer.detect_anomaly='true'", "trainer.detect_anomaly", True),
        ("trainer.limit_train_batches=1", "trainer.limit_train_batches", 1),  # a batch, where 1.0 is all
        ("trainer.limit_train_batches=1.0", "trainer.limit_train_batches", 1.0),
        ("trainer.precision=16", "trainer.precision", 16),
        ("data.aliases={1: happy}", "data.aliases", {1: "happy"}),
        ("seed=7.0", "seed", 7),
    ],
)
def test_a_value_arrives_as_the_type_that_is_asked_for(
    typed: str, key: str, value: Any, compose_quickly: Compose
) -> None:
    cfg = compose_quickly("train", typed)
    check_config(cfg)
    found = OmegaConf.select(cfg, key)
    found = OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    assert repr(found) == repr(value)


# what to type instead


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("trainer.detect_anomaly=yes", "type trainer.detect_anomaly=true"),
        ("trainer.detect_anomaly=0", "type trainer.detect_anomaly=false"),
        ("data.image_size=48px", "type data.image_size=48"),
        ("data.image_size=48x48", "type data.image_size=48"),
        ("data.holdout=10%", "type data.holdout=0.1"),
        ("optimizer.lr='0,01'", "type optimizer.lr=0.01"),
        ("trainer.max_time=2h", "type trainer.max_time=00:02:00:00"),
        ("trainer.max_time=90min", "type trainer.max_time=00:01:30:00"),
        ("trainer.precision=fp16", "type trainer.precision=16-mixed"),
        ("split=val", "type split=validation"),
        ("+model.mean=[0.5]", "type model.normalize=unit, for example"),
        ("trainer.precision=float32", "type trainer.precision=32-true"),
        ("trainer.accelerator=CPU", "did you mean trainer.accelerator=cpu"),
        ("trainer.strategy=ddpp", "did you mean trainer.strategy=ddp"),
        ("trainer.devices=gpu", "type trainer=gpu"),
        ("trainer.devices=0", "type trainer.devices=1"),
        ("trainer.devices=[]", "type trainer.devices=1"),
        ("trainer.num_nodes=0", "type trainer.num_nodes=1"),
        ("trainer.limit_train_batches=0", "type trainer.limit_train_batches=null"),
        ("trainer.limit_val_batches=1.5", "type trainer.limit_val_batches=null"),
        ("optimizer.lr=nan", "optimizer.lr=nan is not a finite number; type optimizer.lr=1e-3"),
        ("monitor=val_acc", "type monitor=val/acc mode=max"),
        ("data.classes=${trainer}", "data.classes is ${trainer}, which is an object and no value"),
        ("+callbacks.mine.x=1", "callbacks.mine names no _target_: type '~callbacks.mine' to leave it out"),
        ("data.root=${HOME}", "type 'data.root=${oc.env:HOME}'"),
        (
            "optimizer._target_=torch.optim.NAdam",
            "takes no optimizer.amsgrad: leave it out, or type '~optimizer.amsgrad'",
        ),
    ],
)
def test_what_to_type_instead_is_said(typed: str, advice: str, compose_quickly: Compose) -> None:
    assert advice in problems(compose_quickly("train", typed))


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="needs a machine without GPU"
)
@pytest.mark.parametrize(("devices", "count"), [("-1", 1), ("[0]", 1), ("'0,1'", 2), ("[0,3]", 2)])
def test_devices_of_gpus_on_a_cpu(devices: str, count: int, compose_quickly: Compose) -> None:
    said = problems(compose_quickly("train", f"trainer.devices={devices}"))
    assert said.endswith(f"names GPUs, and this run is on the CPU: type trainer.devices={count}")


# what would choose by the test split


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("monitor=test/acc", "monitor=val/acc mode=max"),
        ("monitor=test/loss", "monitor=val/loss mode=min"),
        ("monitor=Test_F1", "monitor=val/f1_macro mode=max"),
        ("monitor=final/test/acc", "monitor=val/acc mode=max"),
        ("monitor=PrivateTest/acc", "monitor=val/acc mode=max"),
        ("monitor=test", "monitor=val/acc mode=max"),
        *(
            (f"{key}.monitor=test/loss", f"{key}.monitor=val/loss {key}.mode=min")
            for key in ("callbacks.best_checkpoint", "callbacks.early_stopping", "scheduler")
        ),
    ],
)
def test_nothing_is_chosen_on_the_test_split(typed: str, instead: str, compose_quickly: Compose) -> None:
    plateau = ["scheduler=plateau"] if typed.startswith("scheduler") else []
    said = problems(compose_quickly("train", typed, *plateau))
    assert said == f"{typed} would choose by the test split, which is read once, after all choices: type {instead}"
    check_config(compose_quickly("train", *plateau, *instead.split()))


def test_the_public_test_of_fer2013_may_choose_by_its_name_here(compose_quickly: Compose) -> None:
    said = problems(compose_quickly("train", "monitor=PublicTest/acc"))
    assert "is never measured; there are val/acc" in said
    assert said.endswith("type monitor=val/acc mode=max")


# what the program would replace


@pytest.mark.parametrize("value", ["null", "[0.485]"])
def test_settings_that_the_program_replaces_are_refused_once_each(value: str, compose_quickly: Compose) -> None:
    keys = [f"{group}.{name}" for group, names in GIVEN.items() for name in names]
    lines = problems(compose_quickly("train", *(f"+{key}={value}" for key in keys))).splitlines()[1:]
    assert [line.partition(". ")[2].partition(" is set by the program; ")[0] for line in lines] == keys
    assert [line for line in lines if "leave it out" not in line and "type " not in line] == []


def test_the_ways_to_find_faces_are_those_of_the_detectors() -> None:
    assert SCALARS["faces"] == FaceMode
