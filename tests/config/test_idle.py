"""A setting that is typed and has no effect is named; what has one is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from omegaconf import DictConfig

from fer_lightning.cli.command import run_verb
from fer_lightning.config.idle import IDLE, idle_settings
from fer_lightning.config.listed import listed_settings, options_of

TYPED = {
    "loss.beta=0.9": "loss.class_weights=effective",
    "data.synthetic.train=7 data.root=x": "data.root=null",
    "data.max_pixels=500": "data.root=x",
    "data.aliases={joy: happy}": "data.root=x",
    "augmentation.affine=0 augmentation.rotate=33": "augmentation.affine=1",
    "augmentation.light=0 augmentation.contrast=0.7": "augmentation.light=1",
    "augmentation=none augmentation.erase_area=[0.1,0.3]": "augmentation.erase=0.25",
    "model.mix_until=0.8": "model.mixup=0.2",
    "callbacks.progressive_resizing.until=0.5": "callbacks.progressive_resizing.start_size=32",
    "callbacks=ema callbacks.ema.decay=0.9 callbacks.ema.horizon=0.1": "callbacks.ema.horizon=null",
    "trainer.gradient_clip_algorithm=norm": "trainer.gradient_clip_val=1",
    "data.batch_size=48 tune.batch_size=true": "tune.batch_size=false",
    "sweep.retry=true": "sweep.resume=x",
}


@pytest.mark.parametrize("typed", TYPED)
def test_what_has_no_effect_is_named_and_has_one_with_what_is_advised(
    typed: str, compose_quickly: Callable[..., DictConfig]
) -> None:
    (line,) = idle_settings(compose_quickly("train", *typed.split() if "{" not in typed else [typed]))
    cure = TYPED[typed]
    assert f"type {cure.replace('=x', '=')}" in line
    words = [word for word in ([typed] if "{" in typed else typed.split()) if word.split("=")[0] != cure.split("=")[0]]
    assert not [*idle_settings(compose_quickly("train", *words, cure))]


def test_nothing_that_is_shipped_is_without_effect(compose_quickly: Callable[..., DictConfig]) -> None:
    for option in options_of("experiment"):
        assert not [*idle_settings(compose_quickly("train", f"experiment={option}"))]
    assert not [*idle_settings(compose_quickly("train", "data.root=x"))]
    assert not [*idle_settings(compose_quickly("evaluate", "ckpt_path=x", "data.aliases={joy: happy}"))]
    assert {key for idle in IDLE for key in (*idle.beside.split(), *idle.keys.split())} <= {*listed_settings()}


def test_a_run_says_it(tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert run_verb("train", lambda cfg: 1, ["loss.beta=0.9"]) == 1
    assert "loss.beta=0.9 has no effect beside loss.class_weights=none" in capsys.readouterr().out
