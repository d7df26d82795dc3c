"""Runs that nobody starts: by a schedule with a time zone, for intervals that were missed, and one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from tests.services.airflow import Airflow

ZONES = ("Pacific/Auckland", "America/New_York", "Europe/Berlin")
TENANT = """
tenant: timely
privacy:
  purpose: to test
  lawful_basis: contract
  subject: {{none: true, reason: made up}}
  columns: {{day: keep}}
pipelines:
  all:
    importer: csv
    schedule: "@daily"
    timezone: {zone}
    start: {start}
    catchup: true
    config: &files
      path: "{data}/plays-*.csv"
      interval: {{pattern: plays-%Y-%m-%d, timezone: {zone}}}
      types: {{day: string}}
    load: {{table: missed}}
  last:
    importer: csv
    schedule: "@daily"
    timezone: {zone}
    start: {start}
    config: *files
    load: {{table: latest}}
  always:
    importer: csv
    schedule: "@continuous"
    config: {{path: "{data}/live-*.csv", types: {{day: string}}}}
    load: {{table: always}}
"""


@pytest.fixture(scope="module")
def zone() -> str:
    """One of those where it is day now, so that none begins while the tests run."""
    return next(name for name in ZONES if 3 <= datetime.now(ZoneInfo(name)).hour < 21)


@pytest.fixture(scope="module")
def today(zone: str) -> date:
    return datetime.now(ZoneInfo(zone)).date()


@pytest.fixture(scope="module")
def timely(airflow: Airflow, zone: str, today: date) -> Iterator[Path]:
    """Files of five days, today's included; the schedules begin the day before yesterday. None is switched on yet."""
    data = airflow.home / "timely"
    data.mkdir()
    for back in range(5):
        write(data / f"plays-{today - timedelta(days=back)}.csv", today - timedelta(days=back))
    write(data / "live-1.csv", today)
    airflow.describe("timely", TENANT.format(zone=zone, start=today - timedelta(days=2), data=data))
    yield data
    (airflow.tenants / "timely.yaml").unlink()


def write(path: Path, day: date) -> None:
    path.write_text(f"day\n{day}\n")


def ended(airflow: Airflow, dag_id: str, number: int) -> list[dict[str, Any]]:
    """The DAG's runs that are over, once there are so many, in order."""

    def there() -> list[dict[str, Any]] | None:
        runs = [run for run in airflow.runs(dag_id) if run["state"] in ("success", "failed")]
        return runs if len(runs) >= number else None

    found = airflow.until(f"{number} runs of {dag_id} haven't ended", there, 900)
    return sorted(found, key=lambda run: str(run["run_after"]))


def loaded(airflow: Airflow, table: str) -> list[str]:
    with psycopg.connect(airflow.warehouse) as connection:
        return [day for (day,) in connection.execute(f"select day from timely.{table} order by day").fetchall()]


@pytest.mark.parametrize(("pipeline", "table", "missed"), [("all", "missed", 2), ("last", "latest", 1)])
def test_intervals_are_a_zones_days_and_what_was_missed_is_caught_up_if_the_file_says_so(
    airflow: Airflow, timely: Path, zone: str, today: date, pipeline: str, table: str, missed: int
) -> None:
    """Of `start`, the day before yesterday: two days have passed since, and today hasn't."""
    dag_id = f"timely.{pipeline}"
    airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)
    runs = ended(airflow, dag_id, missed)
    midnights = [
        datetime.combine(today - timedelta(days=back), datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)
        for back in range(missed, -1, -1)
    ]
    intervals = [[datetime.fromisoformat(run[f"data_interval_{end}"]) for end in ("start", "end")] for run in runs]
    assert intervals == [list(pair) for pair in pairwise(midnights)]
    assert {(run["run_type"], run["triggered_by"], run["state"]) for run in runs} == {
        ("scheduled", "timetable", "success")
    }
    assert loaded(airflow, table) == [str(today - timedelta(days=back)) for back in range(missed, 0, -1)]


def test_a_continuous_pipeline_runs_on_and_reads_what_comes(airflow: Airflow, timely: Path, today: date) -> None:
    dag_id = "timely.always"
    airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)
    airflow.until("nothing is loaded", lambda: _there(airflow) and loaded(airflow, "always") == [str(today)], 900)
    tomorrow = today + timedelta(days=1)
    write(timely / "live-2.csv", tomorrow)
    airflow.until("what came later isn't loaded", lambda: len(loaded(airflow, "always")) == 2, 900)
    runs = ended(airflow, dag_id, 2)
    airflow.unpause(dag_id, paused=True)  # what is at work then stays where it is
    assert loaded(airflow, "always") == [str(today), str(tomorrow)]
    assert {(run["run_type"], run["state"]) for run in runs} == {("scheduled", "success")}
    moments = [(datetime.fromisoformat(run["start_date"]), datetime.fromisoformat(run["end_date"])) for run in runs]
    assert all(before[1] <= after[0] for before, after in pairwise(sorted(moments)))


def _there(airflow: Airflow) -> bool:
    with psycopg.connect(airflow.warehouse) as connection:
        return connection.execute("select to_regclass('timely.always')").fetchone() != (None,)
