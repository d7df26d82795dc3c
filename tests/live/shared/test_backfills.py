"""Backfills by the command line, executed by a scheduler: each interval once, whatever runs beside them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.services.airflow import Airflow

FIRST, DAYS, FEW = date(2026, 1, 1), 30, 2
TENANT = """
tenant: history
privacy:
  purpose: to test
  lawful_basis: contract
  subject: {{none: true, reason: made up}}
  columns: {{id: keep, day: keep, total: keep}}
pipelines:
  plays:
    importer: csv
    schedule: "@daily"
    start: 2026-01-01
    config: {{path: "{data}/plays-*.csv", interval: "plays-%Y-%m-%d", types: {{day: string}}}}
  orders:
    importer: csv
    schedule: "@daily"
    start: 2026-01-01
    config: {{path: "{data}/orders-*.csv", types: {{day: string}}}}
    load: {{mode: merge, table: orders, primary_key: id}}
"""


SIZES = pytest.mark.parametrize(
    "days",
    [
        pytest.param(FEW, marks=pytest.mark.timeout(1800)),
        pytest.param(DAYS, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def rows(number: int) -> list[tuple[int, str, int]]:
    """What is in the file of a day: three rows that no other day has."""
    return [(10 * number + k, day(number), 1) for k in range(3)]


def write(path: Path, found: list[tuple[int, str, int]]) -> None:
    path.write_text("id,day,total\n" + "".join(f"{i},{d},{t}\n" for i, d, t in found))


@pytest.fixture(scope="module")
def data(airflow: Airflow) -> Path:
    directory = airflow.home / "history"
    directory.mkdir()
    for number in range(DAYS):
        write(directory / f"plays-{day(number)}.csv", rows(number))
    write(directory / "orders-1.csv", rows(0))
    airflow.describe("history", TENANT.format(data=directory), "history.plays", "history.orders")
    return directory


@pytest.fixture
def warehouse(airflow: Airflow) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(airflow.warehouse, autocommit=True) as connection:
        yield connection


def backfill(airflow: Airflow, dag_id: str, last: int, *options: str) -> None:
    """A DAG has one at a time, and the scheduler looks every half a minute whether one is over."""

    def none_active() -> bool:
        return all(each["completed_at"] for each in airflow.api("GET", "/backfills", dag_id=dag_id)["backfills"])

    airflow.until(f"a backfill of {dag_id} isn't over", none_active, 300)
    dates = ("--from-date", day(0), "--to-date", day(last))
    airflow.cli("backfill", "create", "--dag-id", dag_id, *dates, *options)


def all_over(airflow: Airflow, dag_id: str, kind: str, days: int) -> list[dict[str, Any]]:
    """The DAG's runs of a kind, in the order in which they began, once they are over."""

    def over() -> list[dict[str, Any]] | None:
        made = [run for run in airflow.runs(dag_id) if run["run_type"] == kind]
        busy = [run for run in made if run["state"] not in ("success", "failed")]
        return made if made and not busy else None

    found = airflow.until(f"the {kind} runs of {dag_id} aren't over", over, 300 + 100 * days)
    return sorted(found, key=lambda run: str(run["start_date"]))


def committed(warehouse: psycopg.Connection[Any], stream: str) -> list[tuple[Any, ...]]:
    return warehouse.execute(
        """select lower(span)::date::text, generation, lower(covers), upper(covers) from _importers.run
           where stream like %s and kind = 'window' and state = 'committed' and plan -> 'partitions' <> '[]'
           order by 1, 2""",
        (stream,),
    ).fetchall()


@SIZES
def test_each_interval_once_beside_a_scheduled_run(
    airflow: Airflow, data: Path, warehouse: psycopg.Connection[Any], days: int
) -> None:
    backfill(airflow, "history.plays", days - 1, "--max-active-runs", "4")
    runs = all_over(airflow, "history.plays", "backfill", days)
    assert {run["state"] for run in runs} == {"success"}
    assert sorted(run["data_interval_start"][:10] for run in runs) == [day(number) for number in range(days)]
    expected = sorted(row for number in range(days) for row in rows(number))
    assert warehouse.execute("select id, day, total from history.plays order by id").fetchall() == expected
    microseconds = [1_767_225_600_000_000 + number * 86_400_000_000 for number in range(days + 1)]  # of 2026-01-01 UTC
    assert committed(warehouse, "history.plays.%") == [
        (day(number), 1, microseconds[number], microseconds[number + 1]) for number in range(days)
    ]
    (scheduled, *_) = all_over(airflow, "history.plays", "scheduled", 1)  # of the last day, which has no file
    assert scheduled["state"] == "success"


@SIZES
def test_backwards_and_again_each_interval_takes_the_place_of_what_it_loaded(
    airflow: Airflow, data: Path, warehouse: psycopg.Connection[Any], days: int
) -> None:
    """Whether the test before ran or not."""
    for number in range(days):
        write(data / f"plays-{day(number)}.csv", [(i, d, 2) for i, d, _ in rows(number)])
    at_once = "1" if days == FEW else "4"
    again = ("--run-backwards", "--reprocess-behavior", "completed", "--max-active-runs", at_once)
    backfill(airflow, "history.plays", days - 1, *again)
    runs = all_over(airflow, "history.plays", "backfill", days)[-days:]
    assert {run["state"] for run in runs} == {"success"}
    assert [run["data_interval_start"][:10] for run in runs] == [day(number) for number in reversed(range(days))]
    found = warehouse.execute("select id, day, total from history.plays where day <= %s order by id", (day(days - 1),))
    assert found.fetchall() == [(i, d, 2) for number in range(days) for i, d, _ in rows(number)]


def test_a_window_that_a_person_enters_is_loaded_again_and_nothing_else(
    airflow: Airflow, data: Path, warehouse: psycopg.Connection[Any]
) -> None:
    number, others = FEW + 1, "select * from history.plays where day <> %s order by id"
    write(data / f"plays-{day(number)}.csv", [(i, d, 3) for i, d, _ in rows(number)])
    airflow.wait_for_run("history.plays", airflow.trigger("history.plays", conf=window(number)), {"success"}, 400)
    before = warehouse.execute(others, (day(number),)).fetchall()
    write(data / f"plays-{day(number)}.csv", [(i, d, 4) for i, d, _ in rows(number)])
    run = airflow.trigger("history.plays", conf=window(number))
    airflow.wait_for_run("history.plays", run, {"success"}, 400)
    reads = airflow.api("GET", f"/dags/history.plays/dagRuns/{run}/taskInstances/plan/xcomEntries/reads")["value"]
    assert f"{day(number)}T00:00:00" in reads
    assert f"{day(number + 1)}T00:00:00" in reads
    assert "the dates that were entered" in reads
    found = warehouse.execute("select id, day, total from history.plays where day = %s order by id", (day(number),))
    assert found.fetchall() == [(i, d, 4) for i, d, _ in rows(number)]
    assert warehouse.execute(others, (day(number),)).fetchall() == before


def window(number: int) -> dict[str, str]:
    return {"start": f"{day(number)}T00:00:00Z", "end": f"{day(number + 1)}T00:00:00Z"}


@pytest.mark.timeout(1200)
def test_the_position_stays_where_incremental_runs_have_moved_it(
    airflow: Airflow, data: Path, warehouse: psycopg.Connection[Any]
) -> None:
    first = airflow.trigger("history.orders")
    airflow.wait_for_run("history.orders", first, {"success"}, 400)
    before = position(warehouse)
    assert len(before) == 1
    write(data / "orders-2.csv", rows(1))
    backfill(airflow, "history.orders", 1, "--run-backwards")
    second = airflow.trigger("history.orders")
    seen = [before]

    def over() -> bool:
        seen.append(position(warehouse))
        return all(run["state"] in ("success", "failed") for run in airflow.runs("history.orders"))

    airflow.until("the backfill and the run beside it aren't over", over, 600)
    airflow.wait_for_run("history.orders", second, {"success"}, 1)
    assert {run["state"] for run in airflow.runs("history.orders")} == {"success"}
    assert len(airflow.runs("history.orders")) >= 4
    assert all(earlier.items() <= later.items() for earlier, later in pairwise(seen))
    assert position(warehouse).keys() > before.keys()
    found = warehouse.execute("select id, day, total from history.orders order by id").fetchall()
    assert found == [*rows(0), *rows(1)]


def position(warehouse: psycopg.Connection[Any]) -> dict[str, Any]:
    found = warehouse.execute("select lane, value from _importers.position where stream like 'history.orders.%'")
    return dict(found.fetchall())
