"""What all suites share: the user's settings, the folders, and the way from two contenders to a row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from fer_lightning.benchmarks.paired_timing import Contender, ContenderError, Window, ask, duel
from fer_lightning.benchmarks.rows import Row, Spread, paired
from fer_lightning.config.check import check_config
from fer_lightning.config.compose import conf_dir, hydra_options
from fer_lightning.config.overrides import override_key
from fer_lightning.core.errors import UserError

WORK = "fer_lightning.benchmarks.contenders"
OWN_KEYS = ("suite", "window", "windows")
NOISY = 1.5  # windows of one contender that differ by this factor
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        cfg: composed from `conf/benchmark.yaml`.
        overrides: settings that were typed.
        flags: of Hydra that were typed and that other programs need too.
        folder: for everything that is thrown away at the end.
        facts: what `prepare` found; empty before.
    """

    cfg: DictConfig
    overrides: tuple[str, ...]
    flags: tuple[str, ...]
    folder: Path
    facts: dict[str, Any]

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def faces(self) -> str:
        """Folder of the class folders that the yardsticks read."""
        return self.facts["faces"]

    @property
    def pictures(self) -> int:
        """How many images a pass over the data set opens, those of deselected classes too."""
        return self.facts["pictures"]

    @property
    def on_gpu(self) -> bool:
        return self.facts["machine"]["accelerator"] in ("gpu", "cuda")

    def prepared(self) -> Bench:
        """Return this with `facts`: data and settings have been tried, and the cache is warm.

        Raises:
            UserError: they cannot be used.
        """
        arguments = {"settings": self.settings(), "folder": str(self.folder)}
        return replace(
            self, facts=ask(Contender("prepare", f"{WORK.rpartition('.')[0]}.prepare.prepare", arguments), self.logs)
        )

    def settings(self, *fixed: str) -> str:
        """Write the user's settings with some fixed by a row, and return the path of the file.

        Args:
            fixed: overrides; what the user typed for the groups that they name gives way, as do experiments.

        Raises:
            ConfigError: the settings cannot work.
        """
        groups = {override_key(item).partition(".")[0] for item in fixed if "." not in override_key(item)}
        groups |= {"experiment"} if groups else set()
        kept = [item for item in self.overrides if override_key(item).partition(".")[0] not in groups]
        cfg = compose_settings([*kept, *fixed])
        path = self.folder / f"{len(list(self.folder.glob('*.yaml')))}.yaml"
        cfg.output_dir = str(path.with_suffix(""))  # before it is resolved: callbacks and loggers have it in theirs
        OmegaConf.save(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)), path)
        return str(path)

    def measure(self, row: Row, ours: Contender, yardstick: Contender, unit: float = 1.0, inverse: bool = False) -> Row:
        """Fill in a row.

        Args:
            row: what is said without a measurement.
            ours: one contender.
            yardstick: the other.
            unit: how many counted things one of the row's unit is.
            inverse: whether the row says seconds a `unit`, not units a second.
        """
        log.info(f"{row.suite}: {row.what}, against {row.against}")
        try:
            mine, theirs = duel(ours, yardstick, window=self.cfg.window, windows=self.cfg.windows, logs=self.logs)
        except ContenderError as error:
            return replace(row, failed=str(error))
        figures = [[unit / w.rate if inverse else w.rate / unit for w in side] for side in (mine, theirs)]
        return replace(
            row,
            ours=Spread.of(figures[0]),
            yardstick=Spread.of(figures[1]),
            ratio=paired(*figures),
            memory=(mine[-1].memory, theirs[-1].memory),
            device_memory=_device_memory(mine[-1], theirs[-1]),
            notes=(
                *row.notes,
                *_describe_asides("ours", "validation, checkpoints, pictures", mine),
                *_describe_asides(f"the {row.against}", "new loader processes", theirs),
                *_describe_noise(figures),
            ),
        )


def compose_settings(overrides: Sequence[str]) -> DictConfig:
    """Compose what a contender needs, without end and without a place of its own yet.

    Raises:
        ConfigError: the settings cannot work.
    """
    typed = [item for item in overrides if override_key(item) not in OWN_KEYS]
    if GlobalHydra.instance().is_initialized():  # knows the user's --config-dir
        cfg = compose("benchmark", [*typed, "output_dir=out"])
    else:
        with initialize_config_dir(str(conf_dir()), **hydra_options(initialize_config_dir)):
            cfg = compose("benchmark", [*typed, "output_dir=out"])
    with open_dict(cfg):
        cfg.ckpt_path = None
        cfg.trainer.max_epochs, cfg.trainer.max_steps, cfg.trainer.max_time = 10**6, -1, None
        cfg.trainer.val_check_interval, cfg.trainer.fast_dev_run = None, False  # only ends of epochs are told apart
        if "early_stopping" in cfg.callbacks:
            del cfg.callbacks.early_stopping
        for key in OWN_KEYS:
            del cfg[key]
    check_config(cfg)
    return cfg


def contender(name: str, work: str, **arguments: Any) -> Contender:
    """Return a contender whose work is a function of `contenders`, or anywhere where it is a dotted path."""
    return Contender(name, work if "." in work else f"{WORK}.{work}", arguments)


def textbook(bench: Bench, work: str) -> Contender:
    """Return the contender of the textbook that does `work`: train or load."""
    arguments = {"parts": bench.facts["textbook"], "folder": bench.faces}
    return contender(f"textbook {work}", f"fer_lightning.benchmarks.textbook.{work}", **arguments)


def left_out(bench: Bench) -> tuple[str, ...]:
    """Say which of the settings the textbook does without."""
    extra = OmegaConf.select(bench.cfg, "augmentation.extra")
    return ("the textbook leaves augmentation.extra out",) if extra else ()


def attempt(row: Row, measure: Callable[[], Row]) -> Row:
    """Return what `measure` does, or the row with what the user would be told, where its own settings cannot work."""
    try:
        return measure()
    except UserError as error:
        return replace(row, failed=str(error))


def _device_memory(ours: Window, yardstick: Window) -> tuple[float, float] | None:
    if ours.device_memory is None or yardstick.device_memory is None:
        return None
    return ours.device_memory, yardstick.device_memory


def _describe_asides(whose: str, what: str, windows: list[Window]) -> tuple[str, ...]:
    count, seconds = sum(w.asides for w in windows), sum(w.aside for w in windows)
    if count == 0:
        return ()
    return (f"not counted of {whose}: {count} ends of epochs ({what}), {seconds / count:.2f} s each",)


def _describe_noise(sides: list[list[float]]) -> tuple[str, ...]:
    if all(max(figures) <= NOISY * min(figures) for figures in sides):
        return ()
    return (
        "the windows of one side differ widely, so something else kept the machine busy: repeat it when it is idle",
    )
