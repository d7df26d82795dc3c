"""When a pipeline's DAG runs, as Airflow takes it."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import CronDataIntervalTimetable

from importers.core.schedule import WITHOUT_INTERVALS, moment
from importers.core.tenant import Pipeline

SINCE = datetime(2000, 1, 1, tzinfo=UTC)  # nothing before it can be backfilled


def schedule_of(spec: Pipeline) -> CronDataIntervalTimetable | str | None:
    """A cron string as Airflow takes it has intervals without width: nothing for a window to read."""
    if spec.schedule is None or spec.schedule in WITHOUT_INTERVALS:
        return spec.schedule
    return CronDataIntervalTimetable(spec.schedule, timezone=spec.timezone)


def start_of(spec: Pipeline) -> datetime:
    return moment(spec.start, spec.timezone) if spec.start else SINCE
