"""A PostgreSQL table through the whole governed chain into PostgreSQL, by turns with a bare binary COPY pipe."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass

import psycopg

from bench.chain import COLUMNS, PRIVACY, RULES, check, history, seconds, watched
from importers.api import get_importer


@dataclass(frozen=True)
class Measured:
    """Seconds of each round."""

    rows: int
    pipe: list[float]
    chain: list[float]
    peak_mb_one_process: float
    peak_mb_all: float

    @property
    def ratio(self) -> float:
        return min(self.chain) / min(self.pipe)


def measure(rows: int, rounds: int) -> Measured:
    """Source and destination are one server, so both pay for reading and writing."""
    with history(rows) as (url, file):
        pipe, chain, peaks = [], [], (0.0, 0.0)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f"create table plays ({COLUMNS})")  # type: ignore[arg-type]
            server.execute(f"copy plays from '{file}' (format csv, header)")  # type: ignore[arg-type]
            server.execute("vacuum analyze plays")
            for _ in range(rounds):
                pipe.append(seconds(lambda: _pipe(url)))
                with watched() as watch:
                    chain.append(seconds(lambda: _chain(url)))
                check(server, rows)
                peaks = max(peaks, watch())
    return Measured(rows, pipe, chain, *peaks)


def _pipe(url: str) -> None:
    with psycopg.connect(url) as source, psycopg.connect(url, autocommit=True) as target:
        target.execute("drop table if exists bare")
        target.execute(f"create table bare ({COLUMNS})")  # type: ignore[arg-type]
        out, into = source.cursor(), target.cursor()
        with (
            out.copy("copy plays to stdout (format binary)") as rows,
            into.copy("copy bare from stdin (format binary)") as sink,
        ):
            for block in rows:
                sink.write(block)


def _chain(url: str) -> None:
    """A new tenant each time, so that each round is a first load."""
    config = {
        "tables": ["plays"],
        "read": "incremental",
        "expect": RULES,
        "privacy": PRIVACY,
        "load": {"mode": "append"},
        "connection": {"url": url},
    }
    importer = get_importer("postgresql", f"bench_{time.monotonic_ns()}", config)
    asyncio.run(importer.import_data(progress=lambda _: None))


def show(measured: Measured) -> str:
    """A table for people."""
    return "\n".join(
        [
            f"{measured.rows:,} rows",
            f"binary COPY pipe      {min(measured.pipe):7.2f} s   1.00",
            f"the governed chain    {min(measured.chain):7.2f} s   {measured.ratio:.2f}",
            f"peak memory: {measured.peak_mb_one_process:,.0f} MB one process, {measured.peak_mb_all:,.0f} MB all",
        ]
    )


def as_json(measured: Measured) -> str:
    return json.dumps(asdict(measured) | {"ratio": round(measured.ratio, 3)}, indent=2)
