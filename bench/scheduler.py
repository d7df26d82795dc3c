"""The chain's tasks under Airflow's scheduler, and in one process tree: what a run costs, and what a row of it does.

Two sizes give a line: what a run without rows takes, and what each further million adds. Both sizes have as many
partitions, and so as many tasks. Each run is a new tenant's first, and begins when Airflow has come to rest. Processes,
metadata and warehouse share the machine: the clock counts them all, and whatever else runs; processor time doesn't.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
import yaml
from psycopg.sql import SQL, Identifier
from tests.services.airflow import Airflow

from bench.chain import PRIVACY, RULES, import_file, write
from bench.spending import Spent, Till, warehouse

PARTITIONS, SMALLER = 4, 4
LEAST = SMALLER * 300_000
"""Rows of the larger file: from there on the smaller one is cut into all partitions too."""
CONDITIONS = {"purpose": "benchmarks", "lawful_basis": "consent", "retention": "P1Y"}


RESTS = 0.5
"""Cores that the deployment takes at most when it is at rest."""

WHAT = {"seconds": "by the clock", "cpu": "CPU of the import", "server_cpu": "CPU of the server"}


@dataclass
class Cost:
    """Each round at the smaller and at the larger size. Of each measure the least counts: noise only adds."""

    rounds: tuple[list[Spent], list[Spent]] = field(default_factory=lambda: ([], []))

    def least(self, what: str) -> list[float]:
        """By size, in the order of `Measured.rows`."""
        return [min(getattr(spent, what) for spent in size) for size in self.rounds]

    def line(self, rows: Sequence[int], what: str) -> tuple[float, float]:
        """Seconds of a run without rows, and of a million rows."""
        small, large = self.least(what)
        a_million = (large - small) / (rows[1] - rows[0]) * 1e6
        return small - a_million * rows[0] / 1e6, a_million


@dataclass
class Measured:
    """`tasks`: how many a run had. Airflow's own processes aren't in what the import's CPU is: its tasks are."""

    rows: list[int]
    tasks: int = 0
    scheduled: Cost = field(default_factory=Cost)
    alone: Cost = field(default_factory=Cost)


def measure(rows: int, rounds: int) -> Measured:
    """By turns, `rounds` times after one that doesn't count. Raises SystemExit if a run loaded something else."""
    if rows < LEAST:
        raise SystemExit(f"--rows {rows}: a run's partitions are {PARTITIONS} from {LEAST:,} rows on")
    measured = Measured([rows // SMALLER, rows])
    with warehouse() as (home, url, till):
        files = [home / f"plays-{number}.csv" for number in measured.rows]
        for file, number in zip(files, measured.rows, strict=True):
            write(file, number)
        with _deployment(url) as airflow:
            _turn(airflow, till, "bench_first", files[0], measured.rows[0])
            for turn in range(rounds):
                for size, file in enumerate(files):
                    alone, scheduled, tasks = _turn(airflow, till, f"bench_{turn}_{size}", file, measured.rows[size])
                    measured.alone.rounds[size].append(alone)
                    measured.scheduled.rounds[size].append(scheduled)
                    if measured.tasks not in (0, tasks):
                        raise SystemExit(f"a run had {tasks} tasks, another {measured.tasks}")
                    measured.tasks = tasks
    return measured


def _turn(airflow: Airflow, till: Till, tenant: str, file: Path, rows: int) -> tuple[Spent, Spent, int]:
    """What the file costs alone, and scheduled, and how many tasks that had."""
    _rest(airflow)
    with till.counting() as alone:
        import_file(file, max_partitions=PARTITIONS)
    dag = _describe(airflow, tenant, file)
    _rest(airflow)
    before = _tasks_cpu(airflow)
    with till.counting() as scheduled:
        seconds, tasks = _scheduled(airflow, dag)
    scheduled.seconds, scheduled.cpu = seconds, _tasks_cpu(airflow) - before
    _check(airflow, tenant, rows)
    return alone, scheduled, tasks


def _rest(airflow: Airflow) -> None:
    """Wait until nobody reads a DAG or ends a run, which both ways would pay for."""

    def taken() -> float:
        return sum(_cpu(psutil.Process(process.pid)) for process in airflow.running.values())

    def rests() -> bool:
        before = taken()
        time.sleep(1.0)
        return taken() - before < RESTS

    airflow.until("the deployment doesn't come to rest", rests, 300)


def _tasks_cpu(airflow: Airflow) -> float:
    """Seconds of the processes that the scheduler has started: its executor's, and the tasks that these fork."""
    return _cpu(psutil.Process(airflow.running["scheduler"].pid), itself=False)


def _cpu(process: psutil.Process, *, itself: bool = True) -> float:
    """Seconds of a process and of all that it has started, also of those that have ended."""
    try:
        times, children = process.cpu_times(), process.children()
    except psutil.NoSuchProcess:
        return 0.0
    ended = times.children_user + times.children_system
    return ended + (times.user + times.system if itself else 0.0) + sum(map(_cpu, children))


@contextmanager
def _deployment(url: str) -> Iterator[Airflow]:
    databases = []
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("alter system set autovacuum = off")  # it would come in the longer runs, for all that are over
        server.execute("select pg_reload_conf()")
        for name in ("scheduler_metadata", "scheduler_warehouse"):
            server.execute(SQL("create database {}").format(Identifier(name)))
            databases.append(urlunsplit(urlsplit(url)._replace(path=f"/{name}")))
    with Airflow(databases[0], databases[1]) as airflow:
        yield airflow


def _describe(airflow: Airflow, tenant: str, file: Path) -> str:
    """Make the tenant; returns its DAG's id."""
    pipeline = {
        "importer": "csv",
        "config": {"path": str(file), "max_partitions": PARTITIONS},
        "expect": RULES,
        "privacy": CONDITIONS | PRIVACY,
        "load": {"mode": "append", "table": "plays"},
    }
    dag = f"{tenant}.plays"
    airflow.describe(tenant, yaml.safe_dump({"tenant": tenant, "pipelines": {"plays": pipeline}}), dag)
    return dag


def _scheduled(airflow: Airflow, dag: str) -> tuple[float, int]:
    """Seconds from the run's start to its end, as Airflow has them, and how many tasks it had."""
    run = airflow.trigger(dag)
    ended = airflow.wait_for_run(dag, run, {"success"}, seconds=3_600)
    started, done = (datetime.fromisoformat(ended[name]) for name in ("start_date", "end_date"))
    return (done - started).total_seconds(), len(airflow.tasks(dag, run))


def _check(airflow: Airflow, tenant: str, rows: int) -> None:
    with psycopg.connect(airflow.warehouse) as server:
        loaded = server.execute(SQL("select count(*) from {}").format(Identifier(tenant, "plays"))).fetchone()
    if loaded != (rows,):
        raise SystemExit(f"the run loaded {loaded} rows of {rows}")


def show(measured: Measured) -> str:
    """A table for people."""
    small, large = measured.rows
    lines = [
        f"{PARTITIONS} partitions, {measured.tasks} tasks                     s: {small:,} rows   {large:,} rows"
        "   a run   each million rows"
    ]
    for name, cost in (("under Airflow's scheduler", measured.scheduled), ("in one process tree", measured.alone)):
        for what, said in WHAT.items():
            a_run, a_million = cost.line(measured.rows, what)
            least = cost.least(what)
            label = f"{name}, {said}"
            lines.append(f"{label:<45}{least[0]:8.2f}{least[1]:17.2f}{a_run:8.2f}{a_million:20.2f}")
    return "\n".join(lines)


def as_record(measured: Measured) -> dict[str, Any]:
    """Memory isn't in it: the bench starts Airflow, too, whose processes would be counted both ways."""
    told: dict[str, Any] = {"rows": measured.rows, "tasks": measured.tasks}
    for name, cost in (("scheduled", measured.scheduled), ("alone", measured.alone)):
        told[name] = {
            what: {
                "rounds": [[round(getattr(spent, what), 3) for spent in size] for size in cost.rounds],
                **dict(zip(("a_run", "a_million_rows"), cost.line(measured.rows, what), strict=True)),
            }
            for what in WHAT
        }
    return told
