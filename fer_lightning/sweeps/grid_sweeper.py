"""A grid: every combination of comma-separated values, each a job of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning.config.overrides import override_key
from fer_lightning.sweeps.job_folders import label_of
from fer_lightning.sweeps.sweep import Sweep

log = logging.getLogger(__name__)


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, except that failed jobs do not end the sweep and finished ones are skipped.

    Arguments as there: `params`, and `max_batch_size`, the most jobs given to the launcher together.
    """

    def sweep(self, arguments: Sequence[str]) -> None:
        """Run all combinations.

        Raises:
            SweepError: all jobs failed, or the folder cannot be written.
        """
        assert self.config is not None  # Hydra has called setup()
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        # Hydra writes ~key as ~key=null, which deletes no other value than null
        deletions = [one for one in overrides if one.is_delete()]
        deleted = {
            f"{one.get_key_element()}={one.get_value_element_as_str()}": str(one.input_line) for one in deletions
        }
        grid = self.split_arguments(overrides, None)[0]
        combinations = [[deleted.get(text) or text for text in one] for one in grid]
        sweep = Sweep(self.config, self.hydra_context, self.launcher)
        sweep.start("grid")
        differing = _differing(combinations)
        jobs = [sweep.place(one, label_of(_values(one, differing))) for one in combinations]
        if len(jobs) > len(set(jobs)):
            log.info(f"{len(jobs)} combinations are {len(set(jobs))} jobs: the others would compute the same")
        opened = [job for job in dict.fromkeys(jobs) if sweep.needs_run(job)]
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
    texts = {text for combination in combinations for text in combination}
    counts = Counter(override_key(text) for text in texts)
    return {key for key, count in counts.items() if count > 1}
