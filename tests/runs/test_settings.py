"""Which settings differ, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_lightning.runs.settings import (
    Settings,
    differing_keys,
    format_value,
    identity,
    read_settings,
    short_names,
    values_as_text,
    with_choices,
)


def read(folder: Path, text: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(text)
    return read_settings(path)


def run(**values: object) -> Settings:
    return Settings({key.replace("__", "."): value for key, value in values.items()})


def test_settings_are_flat_links_are_followed_and_places_left_out(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        "data: {seed: '${seed}', split: [0.8, 0.2], root: '${oc.env:FACES,null}', cache_dir: elsewhere}\n"
        "seed: 7\noutput_dir: '${hydra:runtime.output_dir}'\nckpt_path: x\nsplit: test\n"
        "machine: {jobs: 2}\ncallbacks: {history: {folder: '${output_dir}'}, early_stopping: {patience: 3}}\n",
    )
    assert settings.values == {
        "data.seed": 7,
        "data.split": "[0.8, 0.2]",
        "data.root": "${oc.env:FACES,null}",
        "seed": 7,
        "callbacks.early_stopping.patience": 3,
    }
    assert settings.links == {"data.seed"}


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", ""])
def test_what_is_no_configuration_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        read(tmp_path, text)


def test_only_what_differs_is_listed_and_equal_numbers_are_equal() -> None:
    runs = [run(optimizer__lr=1, model__stem="a", seed=1), run(optimizer__lr=1.0, model__stem="b", seed=2)]
    assert differing_keys(runs) == ["model.stem", "seed"]
    assert differing_keys([run(x=1), run(x=True)]) == ["x"]
    assert differing_keys(runs[:1]) == []


def test_a_key_that_repeats_another_is_left_out_until_somebody_changes_it() -> None:
    linked = [Settings({"seed": seed, "data.seed": seed}, frozenset({"data.seed"})) for seed in (1, 2)]
    assert differing_keys(linked) == ["seed"]
    assert differing_keys([*linked, Settings({"seed": 3, "data.seed": 9})]) == ["seed", "data.seed"]


def test_what_a_choice_of_class_brings_along_is_left_out_until_somebody_changes_it() -> None:
    adam = run(optimizer___target_="torch.optim.AdamW", optimizer__lr=0.001, optimizer__amsgrad=False)
    sgd = run(optimizer___target_="torch.optim.SGD", optimizer__lr=0.1, optimizer__momentum=0.9)
    keys = ["optimizer._target_", "optimizer.lr"]
    assert differing_keys([adam, sgd]) == keys
    other = Settings({**sgd.values, "optimizer.momentum": 0.5})
    assert differing_keys([adam, sgd, other]) == [*keys, "optimizer.momentum"]
    assert short_names(keys) == {"optimizer._target_": "optimizer", "optimizer.lr": "lr"}
    assert values_as_text(sgd, keys) == ["SGD", "0.1"]


def test_a_key_that_an_older_version_lacked_counts_as_null() -> None:
    assert differing_keys([run(a=1, b=None), run(a=1)]) == []
    assert differing_keys([run(a=1, b=3), run(a=1)]) == ["b"]


def test_what_was_typed_stands_first_and_seeds_last() -> None:
    one = run(seed=1, data__limit=1, model__backbone="x", model__stem="p", optimizer__lr=1, loss__gamma=1)
    two = run(seed=2, data__limit=2, model__backbone="y", model__stem="q", optimizer__lr=2, loss__gamma=2)
    keys = differing_keys([one, two], typed={"optimizer.lr", "model", "seed"})
    assert keys == ["optimizer.lr", "model.backbone", "model.stem", "data.limit", "loss.gamma", "seed"]


def test_names_are_as_short_as_they_can_be() -> None:
    keys = [
        "optimizer.lr",
        "model.backbone",
        "scheduler.monitor",
        "callbacks.early_stopping.monitor",
        "seed",
        "data.seed",
    ]
    assert list(short_names(keys).values()) == [
        "lr",
        "model",
        "scheduler.monitor",
        "early_stopping.monitor",
        "seed",
        "data.seed",
    ]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("optimizer.lr", 1e-05, "1e-05"),
        ("optimizer.lr", 0.00012345678, "0.0001235"),
        ("data.root", "/data/faces/", "faces"),
        ("monitor", "val/acc", "val/acc"),
        ("model.weights", None, "null"),
        ("model.pretrained", True, "true"),
        ("loss._target_", "fer_lightning.models.losses.Focal", "Focal"),
    ],
)
def test_values_are_written_as_people_do(key: str, value: object, text: str) -> None:
    assert format_value(key, value) == text


def test_settings_that_look_alike_are_not_the_same() -> None:
    near = [run(lr=0.00010001), run(lr=0.00010002)]
    assert format_value("lr", 0.00010001) == format_value("lr", 0.00010002)
    assert identity(near[0], ["lr"]) != identity(near[1], ["lr"])


def test_a_chosen_augmentation_is_shown_by_its_name() -> None:
    values = {"light": (5, 0.5), "strong": (20, 0.8)}
    typed = {(name, lr): Settings({"augmentation.rotate": angle, "augmentation.flip": flip, "optimizer.lr": lr})
             for name, (angle, flip) in values.items() for lr in (0.1, 0.2)}  # fmt: skip
    runs = [with_choices(run, [f"augmentation={name}", f"optimizer.lr={lr}"]) for (name, lr), run in typed.items()]
    assert differing_keys(runs, ["augmentation", "optimizer.lr"]) == ["augmentation", "optimizer.lr"]
    changed = Settings({**runs[0].values, "augmentation.rotate": 7})  # of the same option, by hand
    assert "augmentation.rotate" in differing_keys([*runs, changed], ["augmentation"])
    assert "augmentation.rotate" in differing_keys([*typed.values()], [])


def test_an_option_that_was_not_typed_is_not_named() -> None:
    assert with_choices(Settings({"seed": 1}), ["seed=1", "augmentation.rotate=3"]).values == {"seed": 1}
