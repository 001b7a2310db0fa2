"""A grid: every combination of comma-separated values, each a job of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from fer_lightning.config.overrides import override_key
from fer_lightning.sweeps.job_folders import label_of
from fer_lightning.sweeps.sweep import Sweep

log = logging.getLogger(__name__)


class GridSweeper(BasicSweeper):
    """Hydra's basic sweeper, except that failed jobs do not end the sweep and finished ones are skipped."""

    def sweep(self, arguments: Sequence[str]) -> None:
        """Run all combinations; raise SweepError if all jobs failed, or the folder cannot be written."""
        assert self.config is not None  # Hydra has called setup()
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        # Hydra writes ~key as ~key=null, which deletes no other value than null
        deleted = {
            f"{one.get_key_element()}={one.get_value_element_as_str()}": str(one.input_line)
            for one in overrides
            if one.is_delete()
        }
        grid = self.split_arguments(overrides, None)[0]
        combinations = [[deleted.get(text) or text for text in one] for one in grid]
        counts = Counter(map(override_key, {text for one in combinations for text in one}))
        sweep = Sweep(self.config, self.hydra_context, self.launcher)
        sweep.start("grid")
        jobs = []
        for one in combinations:
            pairs = ((override_key(text), text.partition("=")[2]) for text in one)
            jobs.append(sweep.place(one, label_of({key: value for key, value in pairs if counts[key] > 1})))
        different = dict.fromkeys(jobs)
        if len(jobs) > len(different):
            log.info(f"{len(jobs)} combinations are {len(different)} jobs: the others would compute the same")
        to_run = [job for job in different if sweep.needs_run(job)]
        most = len(to_run) if self.max_batch_size is None else self.max_batch_size
        try:
            for start in range(0, len(to_run), max(1, most)):
                sweep.launch(dict.fromkeys(to_run[start : start + most], ()))
        except BaseException:
            sweep.report()
            raise
        sweep.finish()
