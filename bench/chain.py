"""The whole governed chain against the server's own COPY of the same file, and dlt's bare load, by turns in one run.

Only the ratios count: machines differ, and one machine's speed drifts. Minima of each, since noise only adds.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench import peer
from bench.spending import Spent, Till, least, warehouse
from importers.api import get_importer

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
    """What each round cost, the chain's own account of its best one, and one of a tenth of the rows."""

    rows: int
    bytes: int
    copy: list[Spent]
    chain: list[Spent]
    dlt: list[Spent]
    steps: dict[str, float]
    tenth: Spent

    @property
    def ratio(self) -> float:
        return least(self.chain).seconds / least(self.copy).seconds


def measure(rows: int, rounds: int, *, with_dlt: bool) -> Measured:
    """Run all, `rounds` times in turn. The chain has 8 rules, two pseudonyms, one mask and encrypted staging."""
    python = peer.environment() if with_dlt else None
    with warehouse() as (home, url, till):
        file, tenth = home / "synthetic-listening.csv", home / "synthetic-listening-tenth.csv"
        write(file, rows)
        write(tenth, rows // 10)
        copy: list[Spent] = []
        chain: list[Spent] = []
        dlt: list[Spent] = []
        steps: dict[str, float] = {}
        with psycopg.connect(url, autocommit=True) as server:
            small = _round(server, till, tenth, rows // 10)[1]
            for _ in range(rounds):
                bare, governed, timings = _round(server, till, file, rows)
                copy.append(bare)
                chain.append(governed)
                steps = timings if governed is least(chain) else steps
                if python:
                    server.execute("drop schema if exists peer cascade")
                    server.execute("checkpoint")
                    with till.counting() as spent:
                        peer.load(python, file, url, home / "peer")
                    dlt.append(spent)
                    _check_peer(server, rows)
        size = file.stat().st_size
    return Measured(rows, size, copy, chain, dlt, steps, small)


def write(file: Path, rows: int) -> None:
    """In a process of its own, whose memory isn't taken for the chain's."""
    subprocess.run(
        [sys.executable, "-m", "bench.listening", file, "--rows", str(rows)], check=True, capture_output=True
    )


def _round(server: psycopg.Connection, till: Till, file: Path, rows: int) -> tuple[Spent, Spent, dict[str, float]]:
    server.execute("checkpoint")  # nobody pays for what was written before
    with till.counting() as bare:
        _copy(server, file)
    server.execute("checkpoint")
    with till.counting() as governed:
        result = import_file(file)
    check(server, rows)
    return bare, governed, result.timings


def _copy(server: psycopg.Connection, file: Path) -> None:
    server.execute("drop table if exists bare")
    server.execute(f"create table bare ({COLUMNS})")  # type: ignore[arg-type]
    server.execute(f"copy bare from '{file}' (format csv, header)")  # type: ignore[arg-type]


def import_file(file: Path, **config: Any) -> Any:
    """By a new tenant each time, so that each round is a first load."""
    tenant = f"bench_{time.monotonic_ns()}"
    load = {"mode": "append", "table": "plays"}
    config |= {"path": str(file), "expect": RULES, "privacy": PRIVACY, "load": load}
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


def _check_peer(server: psycopg.Connection, rows: int) -> None:
    got = server.execute("select count(*) from peer.plays").fetchone()
    if got != (rows,):
        raise SystemExit(f"dlt loaded something else than COPY: {got}")


def show(measured: Measured) -> str:
    """A table for people."""
    bare = least(measured.copy)
    lines = [
        f"{measured.rows:,} rows, {measured.bytes / 1e6:,.0f} MB of CSV",
        "                                   s   × COPY   CPU s: client  server   MB: one process   all",
    ]
    for name, rounds in (
        ("COPY, by the server itself", measured.copy),
        ("the governed chain", measured.chain),
        ("dlt, bare", measured.dlt),
    ):
        if rounds:
            best = least(rounds)
            memory = "" if rounds is measured.copy else f"{best.mb_one:17,.0f}{best.mb_all:8,.0f}"
            lines.append(
                f"{name:<28}{best.seconds:9.2f}{best.seconds / bare.seconds:8.2f}"
                f"{0 if rounds is measured.copy else best.cpu:16.2f}{best.server_cpu:8.2f}{memory}"
            )
    best = least(measured.chain)
    lines += [
        f"the chain's memory at a tenth of the rows: {measured.tenth.mb_one:,.0f} MB one process,"
        f" {measured.tenth.mb_all:,.0f} MB all; at all of them {best.mb_one:,.0f} and {best.mb_all:,.0f}",
        "its seconds by step, by the clock: "
        + ", ".join(f"{step} {seconds:.2f}" for step, seconds in measured.steps.items()),
    ]
    return "\n".join(lines)


def as_record(measured: Measured) -> dict[str, Any]:
    return asdict(measured) | {"ratio": round(measured.ratio, 3)}
