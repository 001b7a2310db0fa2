"""TensorBoard's HParams tab of a sweep: one row a job, failed ones too, with a column for its status.

TensorBoard makes a row of each run that wrote its settings, and takes the columns from the first description of an
experiment that it finds. So the sweep writes both for its jobs, as it knows which settings differ; single runs write
their own.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from fer_lightning.core.atomic_write import atomic_write
from fer_lightning.core.file_names import shown
from fer_lightning.evaluation.metrics import SCORES, final_scores
from fer_lightning.runs.files import METRICS, SETTINGS
from fer_lightning.runs.settings import TARGET, Settings, differing_keys, format_value, read_settings
from fer_lightning.runs.status import FAILED, FINISHED, RUNNING, Status
from fer_lightning.sweeps.job_folders import Job, Jobs

# sorts before the files of the job's own logger: a reader of TensorBoard never returns to a file after the next one
FILE = "events.out.tfevents.0.hparams"
STATUS = "_status"  # _ sorts first: the tab shows five of the columns that differ, by name
DESCRIBED = ("data.", "augmentation.", "model.", "loss.", "optimizer.", "scheduler.", "seed", "trainer.max_epochs")
MAX_CHOICES = 12  # numbers with a check box each in TensorBoard; more become a slider
Value = str | bool | float


class Row(NamedTuple):
    """A job: its settings by name, its state among them under `STATUS`, and its scores by tag."""

    folder: Path
    status: Status
    settings: dict[str, Value]
    scores: dict[str, float]


def write_hparams(sweep_folder: Path) -> None:
    """Write the rows of a sweep's jobs that do not run, replacing those written before; OSError where that fails."""
    jobs = [job for job in Jobs(sweep_folder).known if job.state != RUNNING]
    composed: dict[Job, Settings] = {}
    typed: dict[Job, dict[str, Any]] = {}
    for job in jobs:
        try:
            composed[job] = read_settings(job.folder / SETTINGS)
        except (OSError, ValueError):  # they could not be composed
            typed[job] = _typed(job)
    varied = differing_keys([*composed.values()])
    rows = [_row(job, composed[job].values if job in composed else typed[job], varied) for job in jobs]
    differing = {STATUS, *map(_name, varied), *(_name(key) for settings in typed.values() for key in settings)}
    names = dict.fromkeys(name for row in rows for name in row.settings)
    tags = dict.fromkeys(tag for row in rows for tag in row.scores)
    starts = [moment for row in rows if (moment := _seconds(row.status.started)) is not None]
    experiment = api_pb2.Experiment(
        description="the jobs of a sweep",
        time_created_secs=min(starts, default=time.time()),
        hparam_infos=[_column(name, rows, name in differing) for name in names],
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in sorted(tags, key=_rank)],
    )
    columns = [_about(metadata.EXPERIMENT_TAG, experiment=experiment)]
    for row in rows:
        _write(row, columns if row is rows[0] else [])  # TensorBoard takes the first description


def _typed(job: Job) -> dict[str, Any]:
    """Return the settings on a job's command line, without choices of groups."""
    pairs = (override.lstrip("+").partition("=") for override in job.overrides if "=" in override)
    return {key: _read(text) for key, _, text in pairs if "." in key or key == "seed"}


def _read(text: str) -> Value:
    try:
        return float(text)
    except ValueError:
        return {"true": True, "false": False}.get(text, text)


def _row(job: Job, settings: Mapping[str, Any], varied: Sequence[str]) -> Row:
    status, state = job.status or Status(), job.state
    try:
        scores = final_scores(json.loads((job.folder / METRICS).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        scores = {}
    scores = {f"objective/{name}": value for name, value in status.values.items()} | scores
    shown: dict[str, Value] = {}
    for key, value in settings.items():
        if key in varied or (key.startswith(DESCRIBED) and not key.endswith(TARGET)):
            plain = isinstance(value, (int, float)) and math.isfinite(value)  # or a truth value
            shown[_name(key)] = value if plain else format_value(key, value)
    shown[STATUS] = f"{state}: {status.reason}" if state == FAILED else state
    return Row(job.folder, status, shown, {tag: value for tag, value in scores.items() if math.isfinite(value)})


def _name(key: str) -> str:
    return key.removesuffix(f".{TARGET}")


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def _rank(tag: str) -> tuple[bool, int]:
    """Order of the scores: objectives first, then as in reports."""
    name = tag.rpartition("/")[2]
    return not tag.startswith("objective/"), [*SCORES, name].index(name)


def _column(name: str, rows: Sequence[Row], differs: bool) -> api_pb2.HParamInfo:
    """Describe a setting; convert it to text in all rows if it is text in some, as a column has one type."""
    having = [row.settings for row in rows if name in row.settings]
    types = {type(settings[name]) for settings in having}
    if types == {bool}:
        kind = api_pb2.DATA_TYPE_BOOL
    elif types <= {int, float}:
        kind = api_pb2.DATA_TYPE_FLOAT64
    else:
        kind = api_pb2.DATA_TYPE_STRING
        for settings in having:
            settings[name] = format_value(name, settings[name])
    choices = sorted({settings[name] for settings in having})
    info = api_pb2.HParamInfo(name=name, type=kind, differs=differs, display_name=name.lstrip("_"))
    if kind == api_pb2.DATA_TYPE_FLOAT64 and len(choices) > MAX_CHOICES:
        info.domain_interval.min_value, info.domain_interval.max_value = choices[0], choices[-1]
    else:
        info.domain_discrete.extend(choices)
    return info


def _about(tag: str, **content: Any) -> Summary.Value:
    data = metadata.create_summary_metadata(HParamsPluginData(**content))
    return Summary.Value(tag=tag, metadata=data, tensor=metadata.NULL_TENSOR)


def _write(row: Row, columns: Sequence[Summary.Value]) -> None:
    """Write the event file that makes a run a row, dated when the job ended."""
    ended = _seconds(row.status.ended)
    begin = SessionStartInfo(group_name=row.folder.name, start_time_secs=_seconds(row.status.started))
    for name, value in row.settings.items():
        field = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(begin.hparams[name], field, shown(value) if isinstance(value, str) else value)
    status = api_pb2.STATUS_SUCCESS if row.settings[STATUS] == FINISHED else api_pb2.STATUS_FAILURE
    values = [
        *columns,
        _about(metadata.SESSION_START_INFO_TAG, session_start_info=begin),
        _about(metadata.SESSION_END_INFO_TAG, session_end_info=SessionEndInfo(status=status, end_time_secs=ended)),
        *(Summary.Value(tag=tag, simple_value=value) for tag, value in row.scores.items()),
    ]
    moment = time.time() if ended is None else ended
    events = [Event(wall_time=moment, file_version="brain.Event:2")]
    events += [Event(wall_time=moment, summary=Summary(value=[value])) for value in values]
    (row.folder / "tensorboard").mkdir(exist_ok=True)
    with atomic_write(row.folder / "tensorboard" / FILE) as new, new.open("wb") as file:
        records = RecordWriter(file)
        for event in events:
            records.write(event.SerializeToString())
