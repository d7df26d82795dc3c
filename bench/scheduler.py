"""The chain's tasks under Airflow's scheduler, and in one process tree: what a run costs, and what a row of it does.

Two sizes give a line: the seconds of a run without rows, and those of each further million. Both sizes have as many
partitions, and so as many tasks. Each run is a new tenant's first. Processes, metadata and warehouse share the machine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import yaml
from psycopg.sql import SQL, Identifier
from tests.services.airflow import Airflow

from bench.chain import PRIVACY, RULES, import_file, write
from bench.spending import warehouse

PARTITIONS, SMALLER = 4, 4
LEAST = SMALLER * 300_000
"""Rows of the larger file: from there on the smaller one is cut into all partitions too."""
CONDITIONS = {"purpose": "benchmarks", "lawful_basis": "consent", "retention": "P1Y"}


@dataclass
class Cost:
    """Seconds of the best round at each size, in the order of `Measured.rows`."""

    seconds: list[float] = field(default_factory=lambda: [float("inf")] * 2)

    def note(self, size: int, seconds: float) -> None:
        self.seconds[size] = min(self.seconds[size], seconds)

    def line(self, rows: list[int]) -> tuple[float, float]:
        """Seconds of a run, and of a million rows."""
        a_million = (self.seconds[1] - self.seconds[0]) / (rows[1] - rows[0]) * 1e6
        return self.seconds[0] - a_million * rows[0] / 1e6, a_million


@dataclass
class Measured:
    """`tasks`: how many a run had."""

    rows: list[int]
    tasks: int = 0
    scheduled: Cost = field(default_factory=Cost)
    alone: Cost = field(default_factory=Cost)


def measure(rows: int, rounds: int) -> Measured:
    """By turns, `rounds` times. Raises SystemExit if a run loaded something else."""
    if rows < LEAST:
        raise SystemExit(f"--rows {rows}: a run's partitions are {PARTITIONS} from {LEAST:,} rows on")
    measured = Measured([rows // SMALLER, rows])
    with warehouse() as (home, url, _):
        files = [home / f"plays-{number}.csv" for number in measured.rows]
        for file, number in zip(files, measured.rows, strict=True):
            write(file, number)
        with _deployment(url) as airflow:
            for turn in range(rounds):
                for size, file in enumerate(files):
                    started = time.perf_counter()
                    import_file(file, max_partitions=PARTITIONS)
                    measured.alone.note(size, time.perf_counter() - started)
                    seconds, tasks = _scheduled(airflow, f"bench_{turn}_{size}", file, measured.rows[size])
                    measured.scheduled.note(size, seconds)
                    if measured.tasks not in (0, tasks):
                        raise SystemExit(f"a run had {tasks} tasks, another {measured.tasks}")
                    measured.tasks = tasks
    return measured


@contextmanager
def _deployment(url: str) -> Iterator[Airflow]:
    databases = []
    with psycopg.connect(url, autocommit=True) as server:
        for name in ("scheduler_metadata", "scheduler_warehouse"):
            server.execute(SQL("create database {}").format(Identifier(name)))
            databases.append(urlunsplit(urlsplit(url)._replace(path=f"/{name}")))
    with Airflow(databases[0], databases[1]) as airflow:
        yield airflow


def _scheduled(airflow: Airflow, tenant: str, file: Path, rows: int) -> tuple[float, int]:
    """Seconds from the run's start to its end, as Airflow has them, and how many tasks it had."""
    pipeline = {
        "importer": "csv",
        "config": {"path": str(file), "max_partitions": PARTITIONS},
        "expect": RULES,
        "privacy": CONDITIONS | PRIVACY,
        "load": {"mode": "append", "table": "plays"},
    }
    dag = f"{tenant}.plays"
    airflow.describe(tenant, yaml.safe_dump({"tenant": tenant, "pipelines": {"plays": pipeline}}), dag)
    run = airflow.trigger(dag)
    ended = airflow.wait_for_run(dag, run, {"success"}, seconds=3_600)
    with psycopg.connect(airflow.warehouse) as server:
        loaded = server.execute(SQL("select count(*) from {}").format(Identifier(tenant, "plays"))).fetchone()
    if loaded != (rows,):
        raise SystemExit(f"the run loaded {loaded} rows of {rows}")
    started, done = (datetime.fromisoformat(ended[name]) for name in ("start_date", "end_date"))
    return (done - started).total_seconds(), len(airflow.tasks(dag, run))


def show(measured: Measured) -> str:
    """A table for people."""
    small, large = measured.rows
    lines = [
        f"{PARTITIONS} partitions, {measured.tasks} tasks                s: {small:,} rows   {large:,} rows"
        "   a run   each million rows"
    ]
    for name, cost in (("under Airflow's scheduler", measured.scheduled), ("in one process tree", measured.alone)):
        a_run, a_million = cost.line(measured.rows)
        lines.append(f"{name:<34}{cost.seconds[0]:13.2f}{cost.seconds[1]:17.2f}{a_run:14.2f}{a_million:20.2f}")
    return "\n".join(lines)


def as_json(measured: Measured) -> str:
    lines = {
        name: dict(zip(("seconds_a_run", "seconds_a_million_rows"), cost.line(measured.rows), strict=True))
        for name, cost in (("scheduled", measured.scheduled), ("alone", measured.alone))
    }
    return json.dumps(asdict(measured) | {"lines": lines}, indent=2)
