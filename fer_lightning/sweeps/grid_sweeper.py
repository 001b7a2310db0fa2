"""A grid: every combination of comma-separated values, as jobs that fail, stop and continue by themselves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning.config.overrides import override_key
from fer_lightning.sweeps.job_folders import label_of
from fer_lightning.sweeps.sweep import Sweep

log = logging.getLogger(__name__)


class GridSweeper(BasicSweeper):
    """Hydra's sweeper, which expands the grid, but a job that fails or is done already stops no other.

    Its arguments are those of Hydra's: `params`, and `max_batch_size`, the most jobs that a launcher gets together.
    """

    def sweep(self, arguments: Sequence[str]) -> None:
        """Run all combinations.

        Raises:
            SweepError: all jobs failed, or the folder cannot be written.
        """
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        # Hydra writes ~key as ~key=null, which deletes no other value than null
        deletions = [one for one in overrides if one.is_delete()]
        deleted = {f"{one.get_key_element()}={one.get_value_element_as_str()}": one.input_line for one in deletions}
        combinations = [[deleted.get(text, text) for text in one] for one in self.split_arguments(overrides, None)[0]]
        sweep = Sweep(self.config, self.hydra_context, self.launcher)
        sweep.begin("grid")
        differing = _differing(combinations)
        jobs = [sweep.place(one, label_of(_values(one, differing))) for one in combinations]
        if len(jobs) > len(set(jobs)):
            log.info(f"{len(jobs)} combinations are {len(set(jobs))} jobs: the others would compute the same")
        opened = [job for job in dict.fromkeys(jobs) if sweep.is_open(job)]
        most = len(opened) if self.max_batch_size is None else self.max_batch_size
        try:
            for start in range(0, len(opened), max(1, most)):
                sweep.launch(opened[start : start + most])
        except BaseException:
            sweep.report()
            raise
        sweep.finish()


def _values(overrides: Sequence[str], keys: set[str]) -> dict[str, Any]:
    pairs = ((override_key(text), text.partition("=")[2]) for text in overrides)
    return {key: value for key, value in pairs if key in keys}


def _differing(combinations: Sequence[Sequence[str]]) -> set[str]:
    found: dict[str, set[str]] = {}
    for combination in combinations:
        for text in combination:
            found.setdefault(override_key(text), set()).add(text)
    return {key for key, texts in found.items() if len(texts) > 1}
