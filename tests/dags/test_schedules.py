"""When the scheduler would run a pipeline, by Airflow's own timetable; what is expected, by zoneinfo and by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from importers.core.tenant_file import parse_tenant
from importers.dag_factory.factory import pipeline_dag

BERLIN = ZoneInfo("Europe/Berlin")
TENANT = """
tenant: acme
pipelines:
  songs:
    importer: csv
    config: {{path: songs.csv}}
    {settings}
"""


def dag(tmp_path: Path, **settings: Any) -> DAG:
    said = "\n    ".join(f"{name}: {value}" for name, value in settings.items())
    path = tmp_path / "acme.yaml"
    path.write_text(TENANT.format(settings=said))
    return pipeline_dag(parse_tenant(path.read_text(), str(path)), "songs")


def intervals(made: DAG, start: datetime, end: datetime) -> list[tuple[datetime, datetime]]:
    """Those of the runs that become due from `start` to `end`, as they come back from Airflow's database."""
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(made)).timetable
    from airflow.timetables.base import TimeRestriction
    from pendulum import instance

    limits = TimeRestriction(earliest=instance(start), latest=instance(end), catchup=True)
    found, last = [], None
    while (info := timetable.next_dagrun_info(last_automated_data_interval=last, restriction=limits)) is not None:
        last = info.data_interval
        found.append((last.start.in_timezone("UTC"), last.end.in_timezone("UTC")))
    return [(datetime.fromisoformat(a.isoformat()), datetime.fromisoformat(b.isoformat())) for a, b in found]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_half_past_two_once_a_day_though_one_day_lacks_it_and_another_has_it_twice(tmp_path: Path) -> None:
    made = dag(tmp_path, schedule='"30 2 * * *"', timezone="Europe/Berlin")
    spring = intervals(made, utc("2026-03-26T12:00"), utc("2026-03-31T12:00"))
    # 02:30 CET is 01:30 UTC; on the 29th the clock goes from 02:00 to 03:00, and 02:30 is 03:30; then CEST, 00:30 UTC.
    starts = [utc(f"2026-03-{day}") for day in ("27T01:30", "28T01:30", "29T01:30", "30T00:30", "31T00:30")]
    assert [start for start, _ in spring] == starts
    assert [end for _, end in spring[:-1]] == starts[1:]  # nothing is left out or read twice
    autumn = [start for start, _ in intervals(made, utc("2026-10-23T12:00"), utc("2026-10-27T12:00"))]
    assert autumn[0] == utc("2026-10-24T00:30")
    assert autumn[-1] == utc("2026-10-27T01:30")
    assert len(autumn) == 4
    assert autumn[1] in (utc("2026-10-25T00:30"), utc("2026-10-25T01:30"))  # either is 02:30
    for start in autumn:
        assert start.astimezone(BERLIN).strftime("%H:%M") == "02:30"


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_every_hour_of_a_day_once(tmp_path: Path, day: str, hours: int) -> None:
    made = dag(tmp_path, schedule='"@hourly"', timezone="Europe/Berlin")
    begin = datetime.fromisoformat(day).replace(tzinfo=BERLIN).astimezone(UTC)
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=BERLIN).astimezone(UTC)
    found = intervals(made, begin, end - timedelta(hours=1))
    hour = timedelta(hours=1)
    assert found == [(begin + n * hour, begin + (n + 1) * hour) for n in range(hours)]


def test_a_day_is_as_long_as_the_wall_clock_has_it(tmp_path: Path) -> None:
    made = dag(tmp_path, schedule='"@daily"', timezone="Europe/Berlin", start="2026-03-28")
    found = intervals(made, made.start_date, utc("2026-03-30T12:00"))
    assert [(end - start) / timedelta(hours=1) for start, end in found] == [24, 23, 24]
    assert found[0][0] == utc("2026-03-27T23:00")


def test_what_the_file_says_is_what_the_dag_has(tmp_path: Path) -> None:
    settings = {"start": "2026-01-01T06:00", "timezone": "America/New_York", "catchup": "true", "max_active_runs": 3}
    made = dag(tmp_path, schedule='"@daily"', **settings)
    assert made.start_date == utc("2026-01-01T11:00")
    assert (made.catchup, made.max_active_runs) == (True, 3)
    silent = dag(tmp_path)
    assert (silent.catchup, silent.max_active_runs, silent.deadline) == (False, 1, None)


@pytest.mark.parametrize("preset", ["@once", "@continuous", "@hourly", "@daily", "@weekly", "@monthly", "@yearly"])
def test_presets_are_airflows(tmp_path: Path, preset: str) -> None:
    made = DagSerialization.from_dict(DagSerialization.to_dict(dag(tmp_path, schedule=f'"{preset}"')))
    assert made.timetable.can_be_scheduled


def test_a_continuous_dag_that_fails_and_fails_is_paused(tmp_path: Path) -> None:
    """By Airflow itself, which starts the next run as soon as one has failed."""
    assert dag(tmp_path, schedule='"@continuous"').max_consecutive_failed_dag_runs > 0
    assert (
        dag(tmp_path, schedule='"@daily"').max_consecutive_failed_dag_runs
        == dag(tmp_path).max_consecutive_failed_dag_runs
        == 0
    )


@pytest.mark.parametrize(("schedule", "looping"), [("@continuous", True), ("@daily", False)])
def test_each_task_of_a_continuous_dag_slows_down_but_the_one_that_says_how_it_ended(
    tmp_path: Path, schedule: str, looping: bool
) -> None:
    tasks = dag(tmp_path, schedule=f'"{schedule}"').tasks
    slow = {task.task_id: task.retry_policy.looping for task in tasks if task.retry_policy}
    assert slow.pop("clean") is False
    assert slow == dict.fromkeys(slow, looping)
    assert {"plan", "gate", "commit", "read.extract", "write.load"} <= set(slow)


def test_a_deadline_survives_serialisation(tmp_path: Path) -> None:
    made = dag(tmp_path, deadline="PT30M", alerts="[slack]")
    (alert,) = made.deadline
    assert alert.interval == timedelta(minutes=30)
    assert alert.callback.path == "importers.triggers.alert.AlertNotifier"
    assert alert.callback.kwargs == {"tenant": "acme", "alerts": ["slack"], "limit": "PT30M"}
    assert DagSerialization.from_dict(DagSerialization.to_dict(made)).deadline
