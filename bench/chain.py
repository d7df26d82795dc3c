"""The whole governed chain against the server's own COPY of the same file, interleaved in one run.

Only the ratio counts: machines differ, and one machine's speed drifts. Minima of each, since noise only adds.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench.listening import write_history
from importers.api import get_importer
from importers.transport.embedded import start_postgres

COLUMNS = (
    "event_id text, account_id text, email text, ip text, track_id text, artist text, ms_played bigint,"
    " played_at timestamptz, country text, device text, skipped boolean"
)
RULES = [
    {"expect_column_values_to_not_be_null": {"column": "event_id"}},
    {"expect_column_values_to_not_be_null": {"column": "track_id"}},
    {"expect_column_values_to_not_be_null": {"column": "played_at"}},
    {"expect_column_values_to_be_between": {"column": "ms_played", "min_value": 0, "max_value": 86_400_000}},
    {
        "expect_column_values_to_be_in_set": {
            "column": "device",
            "value_set": ["phone", "desktop", "speaker", "tv", "car", "watch"],
        }
    },
    {"expect_column_values_to_match_regex": {"column": "country", "regex": "^[A-Z]{2}$"}},
    {"expect_column_value_lengths_to_equal": {"column": "track_id", "value": 22}},
    {"expect_column_value_lengths_to_be_between": {"column": "artist", "min_value": 1, "max_value": 200}},
]
KEPT = ("event_id", "track_id", "artist", "ms_played", "played_at", "country", "device", "skipped")
PRIVACY = {
    "subject": {"column": "account_id", "domain": "listener"},
    "columns": {"account_id": "pseudonymise", "email": "pseudonymise", "ip": {"mask": "ip_prefix"}}
    | dict.fromkeys(KEPT, "keep"),
}


@dataclass(frozen=True)
class Measured:
    """Seconds of each round, and the chain's own account of the best one."""

    rows: int
    bytes: int
    copy: list[float]
    chain: list[float]
    steps: dict[str, float]
    peak_mb_one_process: float
    peak_mb_all: float
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""

    @property
    def ratio(self) -> float:
        return min(self.chain) / min(self.copy)


@contextmanager
def history(rows: int) -> Iterator[tuple[str, Path]]:
    """A warehouse of its own, and a file that its server can read."""
    with tempfile.TemporaryDirectory(prefix="importers-bench-") as name:
        home = Path(name)
        home.chmod(0o755)  # the server may be another user
        file = home / "synthetic-listening.csv"
        write_history(file, rows)
        os.environ |= {"IMPORTERS_HOME": str(home / "home")}
        os.environ.pop("POSTGRES_URL", None)
        yield start_postgres(home / "home"), file


def measure(rows: int, rounds: int) -> Measured:
    """Run both, `rounds` times in turn. The chain has 8 rules, two pseudonyms, one mask and encrypted staging."""
    with history(rows) as (url, file):
        copy, chain, steps, peaks = [], [], {}, (0.0, 0.0)
        with psycopg.connect(url, autocommit=True) as server:
            for _ in range(rounds):
                copy.append(seconds(lambda: _copy(server, file)))
                with watched() as watch:
                    started = time.perf_counter()
                    result = _chain(file)
                    chain.append(time.perf_counter() - started)
                check(server, rows)
                if chain[-1] == min(chain):
                    steps, peaks = result.timings, watch()
        size = file.stat().st_size
    named = {name: version(name) for name in ("pyarrow", "polars", "pgpq", "psycopg", "airflow-provider-importers")}
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return Measured(rows, size, copy, chain, steps, *peaks, versions=named, machine=machine)


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _copy(server: psycopg.Connection, file: Path) -> None:
    server.execute("drop table if exists bare")
    server.execute(f"create table bare ({COLUMNS})")  # type: ignore[arg-type]
    server.execute(f"copy bare from '{file}' (format csv, header)")  # type: ignore[arg-type]


def _chain(file: Path) -> Any:
    """A new tenant each time, so that each round is a first load."""
    tenant = f"bench_{time.monotonic_ns()}"
    config = {"path": str(file), "expect": RULES, "privacy": PRIVACY, "load": {"mode": "append", "table": "plays"}}
    return asyncio.run(get_importer("csv", tenant, config).import_data(progress=lambda _: None))


def check(server: psycopg.Connection, rows: int) -> None:
    """A fast load of something else would be worth nothing."""
    (schema,) = server.execute("select tenant from _importers.run order by id desc limit 1").fetchone() or ("",)
    kept = ", ".join(KEPT)
    same = f"""
        select (select count(*) from {schema}.plays),
               (select count(*) from (select {kept} from bare except all select {kept} from {schema}.plays) d),
               (select count(distinct account_id) from bare) - (select count(distinct account_id) from {schema}.plays)
    """
    got = server.execute(same).fetchone()  # type: ignore[arg-type]
    if got != (rows, 0, 0):
        raise SystemExit(f"the chain loaded something else than COPY: {got}")
    server.execute(f"drop schema {schema} cascade")  # type: ignore[arg-type]


@contextmanager
def watched() -> Any:
    """Samples the resident memory of this process and its children, without the server's."""
    me, stop, seen = psutil.Process(), threading.Event(), [0.0, 0.0]

    def sample() -> None:
        while not stop.wait(0.05):
            sizes = []
            for process in (me, *me.children(recursive=True)):
                try:
                    if "postgres" not in process.name():
                        sizes.append(process.memory_info().rss / 1e6)
                except psutil.NoSuchProcess:
                    continue
            seen[0], seen[1] = max(seen[0], *sizes), max(seen[1], sum(sizes))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield lambda: (seen[0], seen[1])
    finally:
        stop.set()
        thread.join()


def show(measured: Measured) -> str:
    """A table for people."""
    rate = measured.rows / min(measured.chain) / 1e6
    lines = [
        f"{measured.rows:,} rows, {measured.bytes / 1e6:,.0f} MB of CSV; {measured.machine}",
        f"COPY, by the server itself   {min(measured.copy):7.2f} s   1.00",
        f"the governed chain           {min(measured.chain):7.2f} s   {measured.ratio:.2f}   {rate:.2f} M rows/s",
        f"peak memory: {measured.peak_mb_one_process:,.0f} MB one process, {measured.peak_mb_all:,.0f} MB all",
        "seconds by step, summed over processes: "
        + ", ".join(f"{step} {seconds:.2f}" for step, seconds in measured.steps.items()),
    ]
    return "\n".join(lines)


def as_json(measured: Measured) -> str:
    return json.dumps(asdict(measured) | {"ratio": round(measured.ratio, 3)}, indent=2)
