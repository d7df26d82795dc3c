"""Runs DAGs by `dag.test()`, as a program of its own, and writes down what came of it.

In one process, since Airflow's import and its database cost more than all the runs: usage `run_scenarios.py DIRECTORY`.
DIRECTORY becomes AIRFLOW_HOME and holds everything else. See test_runs.py for what is expected.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(sys.argv[1])
CANARY = "zeisig@kanarienvogel.example"
CSV = "id,mail,title\n" + "".join(f"{n},{n}.{CANARY},song {n}\n" for n in range(300))
FAULTY = "id,mail,title\n" + "".join(f"{n},{n}.{CANARY},{'' if n % 10 == 0 else 'song'}\n" for n in range(100))

TENANT = f"""
tenant: {{name}}
privacy:
  purpose: to test
  lawful_basis: contract
  subject: {{{{column: mail, domain: listener}}}}
  columns: {{{{id: keep, mail: pseudonymise, title: keep}}}}
pipelines:
  songs:
    importer: csv
    config: {{{{path: "{ROOT}/data/{{name}}-*.csv", stream: songs, max_partitions: {{partitions}}}}}}
    expect: [{{{{expect_column_values_to_not_be_null: {{{{column: title}}}}}}}}]
    quarantine: {{{{max_fraction: {{fraction}}}}}}
"""
READER = """
tenant: reader
pipelines:
  songs:
    importer: postgresql
    config: {tables: [songs], partition_by: primary key, partitions: 2}
    privacy:
      purpose: to test
      lawful_basis: contract
      subject: {column: mail, domain: listener}
      columns: {id: keep, mail: pseudonymise, title: keep}
    load: {mode: replace}
"""
PASSWORD = "zaunkoenig-7d"
"""Of the connection that Airflow has for that."""


def prepare() -> None:
    for name in ("dags", "tenants", "data"):
        (ROOT / name).mkdir()
    (ROOT / "dags" / "tenant_imports.py").write_text(
        "# an Airflow DAG file\nfrom importers.dag_factory import tenant_dags\nglobals().update(tenant_dags())\n"
    )
    for name in ("good", "halted", "unplanned", "looked", "several"):
        (ROOT / "data" / f"{name}-1.csv").write_text(CSV)
    (ROOT / "data" / "faulty-1.csv").write_text(FAULTY)
    describe("good", partitions=3)
    describe("faulty")
    describe("halted")
    describe("unplanned", title="")  # nobody classified it
    describe("looked", partitions=3)
    describe("several")
    several = ROOT / "tenants" / "several.yaml"
    several.write_text(f"{several.read_text()}    streams: {{songs: {{}}, twins: {{load: {{table: twins}}}}}}\n")
    (ROOT / "tenants" / "reader.yaml").write_text(READER)
    settings = {
        "AIRFLOW_HOME": ROOT,
        "AIRFLOW__CORE__DAGS_FOLDER": ROOT / "dags",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "IMPORTERS_HOME": ROOT / "importers",
        "AIRFLOW__IMPORTERS__EMBEDDED_WAREHOUSE": "True",
        "IMPORTERS_TENANTS": ROOT / "tenants",
    }
    os.environ.update({name: str(value) for name, value in settings.items()})
    os.environ.pop("POSTGRES_URL", None)


def describe(name: str, fraction: float = 0, title: str = ", title: keep", partitions: int = 1) -> None:
    """A task costs Airflow as much as a partition of a million rows costs us: only one tenant has several of each."""
    text = TENANT.format(name=name, fraction=fraction, partitions=partitions).replace(", title: keep", title)
    (ROOT / "tenants" / f"{name}.yaml").write_text(text)


def run(dag_id: str, at: Any = None, **options: Any) -> dict[str, Any]:
    """What became of a run and of its tasks, by task or `task[number]`. The same moment again: the run, cleared."""
    from importers.dag_factory import tenant_dags

    made = tenant_dags()[dag_id].test(logical_date=at, run_after=at, **options)
    instances = {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti for ti in made.get_task_instances()
    }
    return {
        "run": str(made.state),
        "key": f"{dag_id}/{made.run_id}",
        "tasks": {name: str(ti.state) for name, ti in instances.items()},
        "tries": {name: ti.try_number for name, ti in instances.items()},
        "xcoms": xcoms(made.run_id),
        "seen": {name: rendered(ti) for name, ti in instances.items()},
    }


def warehouse(tenant: str) -> dict[str, Any]:
    import psycopg

    from importers.transport.embedded import start_postgres

    with psycopg.connect(start_postgres(ROOT / "importers"), autocommit=True) as connection:
        there = connection.execute("select to_regclass(%s)", (f"{tenant}.songs",)).fetchone()
        rows: list[Any] = []
        if there and there[0]:
            rows = connection.execute(f"select id, mail, title from {tenant}.songs order by id").fetchall()
        runs = connection.execute(
            "select id, state, generation, kind, key, sealed_key is null from _importers.run"
            " where tenant = %s order by id",
            (tenant,),
        ).fetchall()
        bad = connection.execute(
            "select coalesce(sum(q.rows), 0) from _importers.quarantine q join _importers.run r on r.id = q.run"
            " where r.tenant = %s",
            (tenant,),
        ).fetchone()
        steps = connection.execute(
            "select distinct s.step from _importers.step s join _importers.run r on r.id = s.run where r.tenant = %s",
            (tenant,),
        ).fetchall()
    return {
        "ids": [row[0] for row in rows],
        "mails_are_tokens": all(len(str(row[1])) == 36 for row in rows),
        "runs": [dict(zip(("id", "state", "generation", "kind", "key", "forgotten"), r, strict=True)) for r in runs],
        "quarantined": int(bad[0]) if bad else 0,
        "steps": sorted(step for (step,) in steps),
        "staged": len([p for p in (ROOT / "importers" / "staging").rglob(f"{tenant}/**/*") if p.is_file()]),
    }


def scenarios() -> dict[str, Any]:
    from datetime import UTC, datetime

    from importers.sources.files.csv import Csv

    Csv.whole_below = 1000  # bytes: so that small files may have several partitions
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    with stumbling_once():
        found: dict[str, Any] = {"first": run("good.songs") | warehouse("good")}
    found["nothing new"] = run("good.songs") | warehouse("good")
    found["bad"] = run("faulty.songs", moment) | warehouse("faulty")
    describe("faulty", 0.2)
    found["repaired"] = run("faulty.songs", moment) | warehouse("faulty")
    found["cleared"] = run("faulty.songs", moment) | warehouse("faulty")
    found["not committed"] = run("halted.songs", mark_success_pattern="commit") | warehouse("halted")
    found["unplanned"] = run("unplanned.songs") | warehouse("unplanned")
    looks = {"dry_run": True, "sample_size": 7}
    found["looked at"] = run("looked.songs", run_conf=looks) | warehouse("looked")
    found["contradicted"] = run("looked.songs", run_conf={"full_refresh": True, "sample_size": 7}) | warehouse("looked")
    found["misspelt"] = run("looked.songs", run_conf={"dryrun": True}) | warehouse("looked")
    with two_streams():
        found["one of two"] = run("several.songs", run_conf={"streams": ["songs"]}) | warehouse("several")
    with a_database():
        found["a table"] = run("reader.songs") | warehouse("reader")
    return found


@contextmanager
def stumbling_once() -> Iterator[None]:
    """The warehouse goes away while partition 1 is loaded for the first time, and of 2 it says when to come back."""
    from importers.exceptions import TransientSourceError
    from importers.operators import retry
    from importers.pipeline import load as module

    whole = module.load
    waits: dict[int, float | None] = {1: None, 2: 0.01}  # seconds

    def load(job: Any, run: Any, partition: int) -> Any:
        if partition in waits:
            raise TransientSourceError("the warehouse went away", retry_after=waits.pop(partition))
        return whole(job, run, partition)

    with patch.object(module, "load", load), patch.object(retry, "FIRST", 0.01):
        yield


@contextmanager
def two_streams() -> Iterator[None]:
    """No source of files has several: so here each has its only one twice."""
    from dataclasses import replace

    from importers.sources.files.csv import Csv

    whole = Csv.streams
    with patch.object(Csv, "streams", lambda self: [*whole(self), replace(whole(self)[0], name="twins")]):
        yield


@contextmanager
def a_database() -> Iterator[None]:
    """One beside the warehouse, of which Airflow alone knows where it is and who may read it."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    from importers.sources.databases.postgresql import Postgresql
    from importers.transport.embedded import start_postgres

    server = start_postgres(ROOT / "importers")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create role reader login password '{PASSWORD}'")  # type: ignore[arg-type]
        connection.execute("create database shop owner reader")
    at = conninfo_to_dict(server)
    said: dict[str, Any] = {"conn_type": "postgres", "host": at["host"], "schema": "shop"}
    said |= {"login": "reader", "password": PASSWORD, "extra": {"sslmode": "prefer"}}
    with psycopg.connect(server, dbname="shop", user="reader", autocommit=True) as connection:
        connection.execute("create table songs (id int primary key, mail text, title text)")
        connection.execute(
            "insert into songs select g, g || '@shop.example', repeat('x', 90) from generate_series(0, 299) g"
        )
    with (
        patch.object(Postgresql, "split_above", 1),
        patch.dict(os.environ, {"AIRFLOW_CONN_IMPORTER_READER_POSTGRESQL": json.dumps(said)}),
    ):
        yield


def xcoms(run_id: str) -> list[Any]:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        rows = session.scalars(select(XComModel).where(XComModel.run_id == run_id)).all()
        return [[row.task_id, row.key, row.value] for row in rows]


def rendered(ti: Any) -> Any:
    """The task's arguments as Airflow's page shows them."""
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.utils.session import create_session

    with create_session() as session:
        return RenderedTaskInstanceFields.get_templated_fields(ti, session=session)


def _nap(sleep: Any, seconds: float) -> None:
    sleep(min(seconds, 0.02))


def main() -> None:
    prepare()
    warnings.simplefilter("error", DeprecationWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Airflow does to itself while it makes its database
        from airflow.utils.db import initdb

        initdb()
    with patch("time.sleep", partial(_nap, time.sleep)):  # dag.test() rests a second where nothing is ready
        found = scenarios()
    (ROOT / "report.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
