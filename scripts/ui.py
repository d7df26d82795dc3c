"""`make ui`: Airflow's web UI with the tenants' DAGs, on the embedded database. Ctrl-C ends all of it.

Whoever reaches the port is an administrator: it listens on this machine's loopback only. Airflow's logs and settings
are in IMPORTERS_HOME/ui, its own database is one beside the warehouse; they stay, and the second start finds them.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
from psycopg.sql import SQL, Identifier, Literal
from rich.console import Console

from house import HISTORY, METADATA, ROOT, find_home, keep_metadata_in, settle, told, write_plays
from processes import AirflowError, AirflowProcesses, free_port

PORT = 8080
READY = 180.0  # seconds; on two cores it takes 30
SETTINGS = {
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__EXECUTOR": "importers.executors.local.PreloadingLocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "4",  # tasks are processes of 150 to 400 MB
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",  # someone is watching
}


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    started = time.perf_counter()
    os.chdir(ROOT)
    console = Console(highlight=False)
    home = find_home()
    place = home / "ui"
    settle(place)
    os.environ |= SETTINGS
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    with alone(place) as lock:
        if lock is None:
            console.print(who_is_there(place))
            return 1
        try:
            return serve(console, home, place, lock, started)
        except AirflowError as error:
            console.print(f"[red]{error}[/]")
            return 1
        except KeyboardInterrupt:
            console.print("\nAll of it has ended. The next `make ui` goes on from here.")
            return 0


def serve(console: Console, home: Path, place: Path, lock: IO[str], started: float) -> int:
    """Until Ctrl-C, which raises KeyboardInterrupt, or a process ends, which raises AirflowError."""
    with ExitStack() as stack:
        with console.status("starting PostgreSQL and Airflow"):
            prepare(home, place)
            airflow = AirflowProcesses(os.environ, place / "processes", free_port(PORT), pass_fds=[lock.fileno()])
            stack.enter_context(airflow)
            for command in ("dag-processor", "triggerer"):
                airflow.start(command)
            airflow.wait_until(lambda: asked(f"{airflow.url}/api/v2/version") is not None, READY)
            airflow.start("scheduler")  # last: a task that can't reach the API server fails
            lock.write(f"{airflow.url} {os.getpid()} {' '.join(map(str, airflow.pids))}")
            lock.flush()
            airflow.wait_until(lambda: is_ready(airflow.url), READY)
        console.print(f"\nReady after {time.perf_counter() - started:.0f} s: [bold]{airflow.url}[/]")
        say_what_to_do(console, airflow.url, place)
        while True:
            airflow.check()
            time.sleep(0.5)


def prepare(home: Path, place: Path) -> None:
    """The server, which lives as long as this process, with Airflow's own database; the sample's plays."""
    from importers.transport.embedded import start_postgres

    with ThreadPoolExecutor() as others:
        plays = None if (ROOT / HISTORY).exists() else others.submit(write_plays)
        server = start_postgres(home)
        keep_metadata_in(server)
        migrate(server, place / "migrate.log")
        if plays is not None:
            plays.result()


def migrate(server: str, log: Path) -> None:
    """Once for each version of Airflow, which the database remembers: to find that nothing is to do takes seconds."""
    wanted = version("apache-airflow")
    with psycopg.connect(server, autocommit=True) as connection:
        asked = "select shobj_description(oid, 'pg_database') from pg_database where datname = %s"
        if connection.execute(asked, (METADATA,)).fetchone() == (wanted,):
            return
        with log.open("wb") as file:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        if code:
            raise AirflowError(f"airflow db migrate ended with {code}; its log: {log}")
        connection.execute(SQL("comment on database {} is {}").format(Identifier(METADATA), Literal(wanted)))


@contextmanager
def alone(place: Path) -> Iterator[IO[str] | None]:
    """A lock that every process of this Airflow holds: None while one of them lives, even if its parent was killed."""
    with (place / "address").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        file.truncate(0)
        yield file


def who_is_there(place: Path) -> str:
    said = (place / "address").read_text()
    if not said:
        return "It is being started already."
    url, *pids = said.split()
    return f"It runs already: {url}\nTo end it: kill {' '.join(pids)}"


def is_ready(url: str) -> bool:
    """All processes are healthy, every tenant's DAG is there, and our pages are ours."""
    health = asked(f"{url}/api/v2/monitor/health")
    if health is None or any(part.get("status") not in ("healthy", None) for part in json.loads(health).values()):
        return False
    dags = asked(f"{url}/api/v2/dags?limit=1")
    pages = asked(f"{url}/importers/")
    # if the plugin had failed, Airflow's own page would answer there
    return bool(dags and json.loads(dags)["total_entries"] and pages and b"<h1>Imports</h1>" in pages)


def asked(url: str) -> bytes | None:
    try:
        with urlopen(url, timeout=5) as answer:
            body: bytes = answer.read()
            return body
    except (URLError, TimeoutError, ConnectionError):
        return None


def say_what_to_do(console: Console, url: str, place: Path) -> None:
    console.print("No account: whoever reaches this address is an administrator, and it is this machine's loopback.\n")
    for step in (
        f"Open {url}/dags/synthetic_radio.listening and press [bold]Trigger[/], twice: the form's defaults are right.",
        "Its tasks take half a minute on a quiet machine. Then the tab [bold]Tables and quarantine[/] says what was",
        "  loaded, what was kept out and why, and what became of each column. [bold]Dag Docs[/] has the YAML.",
        "classic_rock_fm.songs has run by itself: it has a schedule, and nothing here is paused.",
        "A tenant file that you put into include/tenants is a DAG within a minute.",
        "Its command line, to backfill say: .venv/bin/python scripts/airflow_cli.py backfill create --help",
    ):
        console.print(f"  {step}", soft_wrap=True)
    console.print(f"\nCtrl-C ends all of it. Logs of the processes: {told(place / 'processes')}")


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
