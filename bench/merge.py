"""A merge of changed rows into a large table, beside what one would write by hand for it, by turns in one run.

By hand: the server's COPY of the same file into a temporary table, then one sorted `INSERT … ON CONFLICT`. Ours also
judges, stages and anonymises; so both the clock and the server's own CPU seconds are compared.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg

from bench.chain import COLUMNS, PRIVACY, write
from bench.spending import Spent, Till, least, warehouse
from importers.api import get_importer

TENANT = "merging"
LOAD = {"mode": "merge", "table": "plays", "primary_key": "event_id"}


def measure(rows: int, changed: int, rounds: int) -> dict[str, Any]:
    """`changed` of `rows` rows come again with another duration. Each round's table is as the one before left it."""
    with warehouse() as (home, url, till):
        file = home / "plays-0.csv"
        write(file, rows)
        by_hand: list[Spent] = []
        ours: list[Spent] = []
        with psycopg.connect(url, autocommit=True) as server:
            _import(home)
            server.execute(f"create table bare ({COLUMNS}, primary key (event_id))")  # type: ignore[arg-type]
            server.execute(f"copy bare from '{file}' (format csv, header)")  # type: ignore[arg-type]
            for number in range(1, rounds + 1):
                _change(server, home / f"plays-{number}.csv", changed, number)
                by_hand.append(_by_hand(server, till, home / f"plays-{number}.csv"))
                server.execute("checkpoint")
                with till.counting() as spent:
                    _import(home)
                ours.append(spent)
                _check(server, rows)
    return {"rows": rows, "changed": changed, "by_hand": by_hand, "ours": ours}


def _import(home: Path) -> None:
    config = {"path": str(home / "plays-*.csv"), "privacy": PRIVACY, "load": LOAD}
    asyncio.run(get_importer("csv", TENANT, config).import_data(progress=lambda _: None))


def _change(server: psycopg.Connection, out: Path, changed: int, number: int) -> None:
    """Rows spread evenly over the table, so that they are all over its index too."""
    server.execute("drop table if exists changes")
    server.execute(
        f"create table changes as select * from bare order by hashtext(event_id || '{number}') limit {changed}"  # type: ignore[arg-type]
    )
    server.execute("update changes set ms_played = ms_played + 1")
    as_read = """select event_id, account_id, email, ip, track_id, artist, ms_played,
        to_char(played_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as played_at,
        country, device, skipped::text from changes"""
    with server.cursor().copy(f"copy ({as_read}) to stdout (format csv, header)") as lines, out.open("wb") as written:
        for block in lines:
            written.write(block)


def _by_hand(server: psycopg.Connection, till: Till, file: Path) -> Spent:
    names = [column.split()[0] for column in COLUMNS.split(",")]
    new = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
    server.execute("checkpoint")
    with till.counting() as spent, server.transaction():
        server.execute("create temp table incoming (like bare) on commit drop")
        server.execute(f"copy incoming from '{file}' (format csv, header)")  # type: ignore[arg-type]
        server.execute(
            f"insert into bare select * from incoming order by event_id on conflict (event_id) do update set {new}"  # type: ignore[arg-type]
        )
    return spent


def _check(server: psycopg.Connection, rows: int) -> None:
    same = f"""
        select (select count(*) from {TENANT}.plays), (select count(*) from bare),
               (select sum(ms_played) from {TENANT}.plays) = (select sum(ms_played) from bare)
    """
    got = server.execute(same).fetchone()  # type: ignore[arg-type]
    if got != (rows, rows, True):
        raise SystemExit(f"the merge made another table than the one by hand: {got}")


def show(measured: dict[str, Any]) -> str:
    hand, ours = least(measured["by_hand"]), least(measured["ours"])
    clock, server = ours.seconds / hand.seconds, ours.server_cpu / hand.server_cpu
    return "\n".join(
        [
            f"{measured['changed']:,} changed rows into {measured['rows']:,}:",
            f"  by hand  {hand.seconds:7.2f} s  {hand.server_cpu:7.2f} CPU s of the server",
            f"  ours     {ours.seconds:7.2f} s  {ours.server_cpu:7.2f} CPU s of the server   "
            f"{clock:.2f} × by the clock, {server:.2f} × by the server's CPU",
        ]
    )
