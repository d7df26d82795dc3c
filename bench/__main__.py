"""`make bench`: the chain, tenants' DAGs, rules, profiles and Kafka, each beside its limit or its peers."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CHOICES = (
    "chain",
    "merge",
    "pseudonyms",
    "quality",
    "formats",
    "http",
    "kafka",
    "stream",
    "postgresql",
    "dags",
    "airflow",
)
WHOLE = 7_200_000
"""Rows: a CSV of 1.2 GB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=CHOICES, default="chain")
    parser.add_argument("--rows", type=int, help="of the file, or the table that is merged into: 7.2 M; else 2 M")
    parser.add_argument("--changed", type=int, default=1_000_000, help="rows to merge")
    parser.add_argument(
        "--rounds",
        type=int,
        help="4 of the chain and PostgreSQL, 10 of HTTP, 3 of merges, pseudonyms and Kafka, else 2",
    )
    parser.add_argument("--without-dlt", action="store_true", help="needs no package index")
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--excel-rows", type=int, default=1_000_000, help="of the workbook that formats reads")
    said = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    rows, fewer, rounds = said.rows or WHOLE, said.rows or 2_000_000, said.rounds
    run = {
        "chain": lambda: chain(rows, rounds or 4, with_dlt=not said.without_dlt),
        "merge": lambda: merge(rows, said.changed, rounds or 3),
        "pseudonyms": lambda: pseudonyms(rounds or 3),
        "quality": lambda: quality(fewer, rounds or 2),
        "formats": lambda: formats(fewer, said.excel_rows, rounds or 3),
        "http": lambda: http(rounds or 10),
        "kafka": lambda: kafka(fewer, rounds or 3),
        "stream": lambda: stream(fewer, rounds or 3),
        "postgresql": lambda: postgresql(fewer, rounds or 4),
        "dags": lambda: dags(said.tenants, rounds or 2),
        "airflow": lambda: airflow(fewer, rounds or 2),
    }
    print(run[said.what]())


def chain(rows: int, rounds: int, *, with_dlt: bool) -> str:
    from bench.chain import as_json, measure, show

    measured = measure(rows, rounds, with_dlt=with_dlt)
    (RESULTS / "chain.json").write_text(as_json(measured) + "\n")
    return show(measured)


def merge(rows: int, changed: int, rounds: int) -> str:
    from bench.merge import measure, show

    measured = measure(rows, changed, rounds)
    (RESULTS / "merge.json").write_text(json.dumps(measured, indent=2, default=asdict) + "\n")
    return show(measured)


def formats(rows: int, excel_rows: int, rounds: int) -> str:
    from bench.formats import as_json, measure, show

    measured = measure(rows, excel_rows, rounds)
    (RESULTS / "formats.json").write_text(json.dumps(as_json(measured), indent=2) + "\n")
    return show(measured)


def http(rounds: int) -> str:
    from bench.http import as_json, measure, show

    measured = measure(100, rounds)
    (RESULTS / "http.json").write_text(as_json(measured) + "\n")
    return show(measured)


def kafka(messages: int, rounds: int) -> str:
    from bench.kafka import measure, show

    measured = measure(messages, rounds)
    (RESULTS / "kafka.json").write_text(json.dumps(measured, indent=2) + "\n")
    return show(measured)


def quality(rows: int, rounds: int) -> str:
    from bench.quality import measure, show

    measured = measure(rows, rounds)
    (RESULTS / "quality.json").write_text(json.dumps(measured, indent=2) + "\n")
    return show(measured)


def postgresql(rows: int, rounds: int) -> str:
    from bench.postgresql import as_json, measure, show

    measured = measure(rows, rounds)
    (RESULTS / "postgresql.json").write_text(as_json(measured) + "\n")
    return show(measured)


def stream(messages: int, rounds: int) -> str:
    from bench.stream import measure, show

    measured = measure(messages, rounds)
    (RESULTS / "stream.json").write_text(json.dumps(measured, indent=2) + "\n")
    return show(measured)


def airflow(rows: int, rounds: int) -> str:
    from bench.scheduler import as_json, measure, show

    measured = measure(rows, rounds)
    (RESULTS / "airflow.json").write_text(as_json(measured) + "\n")
    return show(measured)


def pseudonyms(rounds: int) -> str:
    from bench.pseudonyms import measure, show

    measured = measure(rounds)
    (RESULTS / "pseudonyms.json").write_text(json.dumps(measured, indent=2) + "\n")
    return show(measured)


def dags(tenants: int, rounds: int) -> str:
    home = tempfile.mkdtemp(prefix="importers-airflow-")
    os.environ["AIRFLOW_HOME"] = home  # before Airflow is imported, which would make itself one in the user's
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    from bench.dags import as_records, measure, show

    measured = measure(tenants, rounds)
    said = {"tenants": tenants, "rounds": rounds, "cpu_seconds": as_records(measured)}
    (RESULTS / "dags.json").write_text(json.dumps(said, indent=2) + "\n")
    return show(measured, tenants)


if __name__ == "__main__":
    main()
