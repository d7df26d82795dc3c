"""`make demo`: two tenants' DAGs from file to warehouse, and what a person can check afterwards.

Exits 1 if a DAG fails, or if what the import kept out isn't what the generator planted.
"""

from __future__ import annotations

import csv
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from pluggy import HookimplMarker
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from house import HISTORY, ROOT, ROWS, find_home, settle, told, write_plays

if TYPE_CHECKING:
    from importers.ledger.history import PastRun

DAGS = ("classic_rock_fm.songs", "synthetic_radio.listening")
REASONS = {
    "too_few_fields": "expected 11 columns, got 8",
    "too_many_fields": "expected 11 columns, got 12",
    "unreadable_time": "column 'played_at': not a time with a zone, such as 2026-12-31T23:59:59Z",
    "no_track": "expect_column_values_to_not_be_null(track_id)",
    "negative_play": "expect_column_values_to_be_between(ms_played)",
    "endless_play": "expect_column_values_to_be_between(ms_played)",
    "unknown_country": "expect_column_values_to_be_in_set(country)",
    "repeated_event": "expect_column_values_to_be_unique(event_id)",
}
"""What the import should say of each fault that bench/listening.py plants."""


def main() -> int:
    started = time.perf_counter()
    os.chdir(ROOT)
    home = find_home()
    settle(home / "airflow")
    (home / "airflow" / "airflow.db").unlink(missing_ok=True)  # an empty one each time
    log = home / "demo.log"
    with everything_else_into(log) as console:
        console.print("\n[bold]importers[/]: two tenants, each a YAML file in include/tenants, each an Airflow DAG.")
        console.print("One process runs them by dag.test(): no scheduler, no web server. Airflow's log: " + told(log))
        with progress(console) as bars:
            bars.add_task("starting PostgreSQL and Airflow", step=f"writing {ROWS:,} synthetic plays", total=None)
            planted, warehouse = prepare(home)
        ready = time.perf_counter() - started
        states = run_dags(console)
        failed = [dag for dag, state in states.items() if state != "success"]
        if failed:
            console.print(f"[red]failed: {', '.join(failed)}[/]. The reason is in {told(log)}")
            return 1
        with psycopg.connect(warehouse, autocommit=True) as connection:
            right = report(console, connection, planted)
        console.print(f"\nReady after {ready:.0f} s, all done after {time.perf_counter() - started:.0f} s.")
        say_what_next(console, home)
        return 0 if right else 1


@contextmanager
def everything_else_into(log: Path) -> Iterator[Console]:
    """A console on standard output; what anybody else prints there, or on standard error, goes into the file.

    That holds until the process ends: the embedded server says goodbye last. Only a failure is told on the terminal.
    """
    sys.stdout.flush()
    saved = os.dup(1), os.dup(2)
    with os.fdopen(os.dup(1), "w") as terminal, log.open("w") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
        try:
            yield Console(file=terminal, width=max(100, Console(file=terminal).width), highlight=False)
        except BaseException:
            for descriptor, former in zip((1, 2), saved, strict=True):
                os.dup2(former, descriptor)
            raise


def prepare(home: Path) -> tuple[dict[str, int], str]:
    """What the generator planted, and the warehouse's URL. Airflow makes its database meanwhile."""
    from importers.transport.embedded import start_postgres

    with ThreadPoolExecutor() as others:
        warehouse = others.submit(start_postgres, home)
        planted = others.submit(write_plays)
        from airflow.utils.db import initdb

        initdb()
        return planted.result(), warehouse.result()


def progress(console: Console) -> Progress:
    """Bars. They don't catch what others print: Airflow prints a lot."""
    columns = (TextColumn("{task.description}"), BarColumn(20), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)


class Steps:
    """Listens to Airflow: shows the step that a DAG is at."""

    def __init__(self, bars: Progress, dag: str) -> None:
        self._bars, self._bar = bars, bars.add_task(dag, step="", total=None)

    @HookimplMarker("airflow")
    def on_task_instance_running(self, task_instance: Any) -> None:
        partition = f" {task_instance.map_index}" if task_instance.map_index >= 0 else ""
        self._bars.update(self._bar, step=task_instance.task_id.split(".")[-1] + partition)


def run_dags(console: Console) -> dict[str, str]:
    """The state that each DAG's run ended in."""
    from airflow.sdk.listener import get_listener_manager

    from importers.dag_factory import tenant_dags

    dags, states = tenant_dags(), {}
    for name in DAGS:
        started = time.perf_counter()
        with progress(console) as bars:
            steps = Steps(bars, name)
            get_listener_manager().add_listener(steps)
            states[name] = str(dags[name].test().state) if name in dags else "not made from its tenant file"
            get_listener_manager().pm.unregister(steps)
        console.print(f"  {name}: {states[name]} after {time.perf_counter() - started:.0f} s")
    return states


def report(console: Console, connection: psycopg.Connection, planted: dict[str, int]) -> bool:
    """Print what was done; False if it isn't what should have been."""
    runs = last_runs(connection)
    show_counts(console, connection, runs)
    reasons = why(connection, runs["synthetic_radio.listening"].id)
    right = show_faults(console, planted, reasons)
    show_rows(console, connection)
    show_seconds(console, runs)
    return right


def last_runs(connection: psycopg.Connection) -> dict[str, PastRun]:
    """The newest committed run of each DAG."""
    from importers.ledger import history

    return {
        dag: next(run for run in history.runs(connection, *dag.split(".")) if run.state == "committed") for dag in DAGS
    }


def why(connection: psycopg.Connection, run: int) -> Counter[str]:
    """Rows in quarantine by rule, or by the reason why they are no rows."""
    query = "select key, value::bigint from _importers.quarantine, jsonb_each_text(reasons) where run = %s"
    counted: Counter[str] = Counter()
    for reason, rows in connection.execute(query, [run]):
        counted[reason] += rows
    return counted


def show_counts(console: Console, connection: psycopg.Connection, runs: dict[str, PastRun]) -> None:
    from importers.ledger import history

    table = plain("table", "read>", "loaded>", "quarantined>", "in the table now>", title="Rows")
    for run in runs.values():
        now = history.count(connection, run.table)
        loaded = run.loaded + run.suppressed
        table.add_row(run.table, *(f"{n:,}" for n in (run.read, loaded, run.quarantined, now.rows if now else 0)))
    console.print(table)
    for reason, rows in why(connection, runs["classic_rock_fm.songs"].id).items():
        console.print(f"  songs: {rows} quarantined by {escape(reason)}", soft_wrap=True)


def show_faults(console: Console, planted: dict[str, int], reasons: Counter[str]) -> bool:
    """The generator's own count beside the import's: two sources for one number."""
    expected: dict[str, list[str]] = {}
    for fault, reason in REASONS.items():
        expected.setdefault(reason, []).append(fault)
    table = plain("planted in the synthetic file", "lines>", "quarantined>", "by", title="Faults")
    right = set(reasons) == set(expected)
    for reason, faults in expected.items():
        lines = sum(planted[fault] for fault in faults)
        right &= lines == reasons[reason]
        table.add_row(", ".join(faults), str(lines), str(reasons[reason]), escape(reason))
    console.print(table)
    console.print("  [green]the same[/]" if right else "  [red]not the same: please report this[/]")
    return right


def show_rows(console: Console, connection: psycopg.Connection) -> None:
    """Three lines of the file beside what the warehouse holds of them: synthetic, so they may be shown."""
    with HISTORY.open(newline="") as file:
        lines = [line for line, _ in zip(csv.DictReader(file), range(3), strict=False)]
    query = "select source, treatment from _importers.lineage where stream = %s order by version"
    treatment = dict(connection.execute(query, ["synthetic_radio.listening.plays"]).fetchall())
    table = plain("column", "treatment", "in the file", "in the warehouse", title="Three rows, before and after")
    for number, line in enumerate(lines):
        shown = [name for name in line if number == 0 or treatment[name] != "keep"]
        query = f"select {', '.join(shown)} from synthetic_radio.plays where event_id = %s"
        loaded = connection.execute(query, [line["event_id"]]).fetchone()
        for name, value in zip(shown, loaded, strict=True):
            style = "" if treatment[name] == "keep" else "bold"
            table.add_row(name, treatment[name], escape(line[name]), escape(str(value)), style=style)
        table.add_section()
    console.print(table)


def show_seconds(console: Console, runs: dict[str, PastRun]) -> None:
    """From the ledger: the work itself, without Airflow's own time around it."""
    table = plain("DAG", "seconds of each step", title="Time")
    for dag, run in runs.items():
        table.add_row(dag, ", ".join(f"{step} {seconds:.2f}" for step, seconds in run.seconds.items()))
    console.print(table)


def say_what_next(console: Console, home: Path) -> None:
    run = ".venv/bin/importers"
    console.print("\n[bold]Look further[/] (the embedded PostgreSQL starts when it is asked):")
    for query in (
        "select country, count(*), sum(ms_played) / 3600000 as hours from synthetic_radio.plays group by 1",
        'select "ARTIST CLEAN", count(*) from classic_rock_fm.songs group by 1 order by 2 desc limit 5',
        "select run, rows, reasons from _importers.quarantine",
        "select source, treatment, column_name from _importers.lineage",
    ):
        console.print(f"  {run} sql '{query}'", soft_wrap=True, markup=False)
    console.print("[bold]Where to go next[/]: README.md, “Your own CSV in five minutes”; include/tenants.")
    console.print(f"PostgreSQL's data, the encryption key and the logs are in {told(home)}: delete it to begin anew.")


def plain(*headings: str, title: str) -> Table:
    """A table without lines; a heading that ends in `>` is of numbers."""
    table = Table(
        title=f"\n[bold]{title}[/]",
        title_justify="left",
        title_style="",
        box=None,
        pad_edge=False,
        padding=(0, 3, 0, 0),
    )
    for heading in headings:
        numbers = heading.endswith(">")
        table.add_column(
            heading.rstrip(">"), justify="right" if numbers else "left", header_style="dim", overflow="fold"
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
