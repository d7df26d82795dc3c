"""`make bench`: the chain, tenants' DAGs, rules, profiles and Kafka, each beside its limit or its peers."""

from __future__ import annotations

import argparse
import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any, TypeAlias

from bench import record

ROUNDS = {
    "chain": 4,
    "merge": 3,
    "pseudonyms": 3,
    "quality": 2,
    "formats": 3,
    "http": 10,
    "kafka": 3,
    "stream": 3,
    "postgresql": 4,
    "dags": 2,
    "airflow": 2,
}
WHOLE = 7_200_000
"""Rows: a CSV of 1.2 GB."""
Told: TypeAlias = tuple[Mapping[str, Any], str]
"""What is kept, and a table for people."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=ROUNDS, default="chain")
    parser.add_argument("--rows", type=int, help="of the file, or the table that is merged into: 7.2 M; else 2 M")
    parser.add_argument("--changed", type=int, default=1_000_000, help="rows to merge")
    parser.add_argument("--rounds", type=int, help=", ".join(f"{many} of {what}" for what, many in ROUNDS.items()))
    parser.add_argument("--without-dlt", action="store_true", help="needs no package index")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--excel-rows", type=int, default=1_000_000, help="of the workbook that formats reads")
    said = parser.parse_args()
    rows, fewer, rounds = said.rows or WHOLE, said.rows or 2_000_000, said.rounds or ROUNDS[said.what]
    run = {
        "chain": lambda: chain(rows, rounds, with_dlt=not said.without_dlt),
        "merge": lambda: merge(rows, said.changed, rounds),
        "pseudonyms": lambda: pseudonyms(rounds),
        "quality": lambda: quality(fewer, rounds),
        "formats": lambda: formats(fewer, said.excel_rows, rounds),
        "http": lambda: http(rounds),
        "kafka": lambda: kafka(fewer, rounds),
        "stream": lambda: stream(fewer, rounds),
        "postgresql": lambda: postgresql(fewer, rounds),
        "dags": lambda: dags(said.tenants, rounds),
        "airflow": lambda: airflow(fewer, rounds),
    }
    measured, table = run[said.what]()
    record.keep(said.what, rounds, measured)
    print(f"{record.machine()}; rounds, by turns: {rounds}\n{table}")


def chain(rows: int, rounds: int, *, with_dlt: bool) -> Told:
    from bench.chain import as_record, measure, show

    measured = measure(rows, rounds, with_dlt=with_dlt)
    return as_record(measured), show(measured)


def merge(rows: int, changed: int, rounds: int) -> Told:
    from bench.merge import measure, show

    measured = measure(rows, changed, rounds)
    return measured, show(measured)


def formats(rows: int, excel_rows: int, rounds: int) -> Told:
    from bench.formats import as_record, measure, show

    measured = measure(rows, excel_rows, rounds)
    return as_record(measured), show(measured)


def http(rounds: int) -> Told:
    from bench.http import as_record, measure, show

    measured = measure(100, rounds)
    return as_record(measured), show(measured)


def kafka(messages: int, rounds: int) -> Told:
    from bench.kafka import measure, show

    measured = measure(messages, rounds)
    return measured, show(measured)


def quality(rows: int, rounds: int) -> Told:
    from bench.quality import measure, show

    measured = measure(rows, rounds)
    return measured, show(measured)


def postgresql(rows: int, rounds: int) -> Told:
    from bench.postgresql import as_record, measure, show

    measured = measure(rows, rounds)
    return as_record(measured), show(measured)


def stream(messages: int, rounds: int) -> Told:
    from bench.stream import measure, show

    measured = measure(messages, rounds)
    return measured, show(measured)


def airflow(rows: int, rounds: int) -> Told:
    from bench.scheduler import as_record, measure, show

    measured = measure(rows, rounds)
    return as_record(measured), show(measured)


def pseudonyms(rounds: int) -> Told:
    from bench.pseudonyms import measure, show

    measured = measure(rounds)
    return measured, show(measured)


def dags(tenants: int, rounds: int) -> Told:
    home = tempfile.mkdtemp(prefix="importers-airflow-")
    os.environ["AIRFLOW_HOME"] = home  # before Airflow is imported, which would make itself one in the user's
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    from bench.dags import as_records, measure, show

    measured = measure(tenants, rounds)
    return {"tenants": tenants, "cpu_seconds": as_records(measured)}, show(measured, tenants)


if __name__ == "__main__":
    main()
