"""A PostgreSQL table through the whole governed chain into PostgreSQL, by turns with a bare binary COPY pipe."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from bench.chain import COLUMNS, PRIVACY, RULES, check, write
from bench.spending import Spent, least, warehouse
from importers.api import get_importer


@dataclass(frozen=True)
class Measured:
    """What each round cost."""

    rows: int
    pipe: list[Spent]
    chain: list[Spent]

    @property
    def ratio(self) -> float:
        return least(self.chain).seconds / least(self.pipe).seconds

    @property
    def cpu_ratio(self) -> float:
        """Of all that ran, ours and the server: what other programs on the machine take shows in the clock's only."""
        return _worked(self.chain) / _worked(self.pipe)


def measure(rows: int, rounds: int) -> Measured:
    """Source and destination are one server, so both pay for reading and writing."""
    pipe: list[Spent] = []
    chain: list[Spent] = []
    with warehouse() as (home, url, till):
        file = home / "synthetic-listening.csv"
        write(file, rows)
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(f"create table plays ({COLUMNS})")  # type: ignore[arg-type]
            server.execute(f"copy plays from '{file}' (format csv, header)")  # type: ignore[arg-type]
            server.execute("vacuum analyze plays")
            for _ in range(rounds):
                with till.counting() as spent:
                    _pipe(url)
                pipe.append(spent)
                with till.counting() as spent:
                    _chain(url)
                chain.append(spent)
                check(server, rows)
    return Measured(rows, pipe, chain)


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


def _worked(rounds: list[Spent]) -> float:
    return min(spent.cpu + spent.server_cpu for spent in rounds)


def show(measured: Measured) -> str:
    """A table for people."""
    pipe, chain = least(measured.pipe), least(measured.chain)
    worked = f"{_worked(measured.pipe):.2f} and {_worked(measured.chain):.2f}"
    return "\n".join(
        [
            f"{measured.rows:,} rows",
            f"binary COPY pipe      {pipe.seconds:7.2f} s   1.00",
            f"the governed chain    {chain.seconds:7.2f} s   {measured.ratio:.2f}",
            f"seconds of processors: {worked}, {measured.cpu_ratio:.2f}",
            f"peak memory: {chain.mb_one:,.0f} MB one process, {chain.mb_all:,.0f} MB all",
        ]
    )


def as_record(measured: Measured) -> dict[str, Any]:
    return asdict(measured) | {"ratio": round(measured.ratio, 3), "cpu_ratio": round(measured.cpu_ratio, 3)}
