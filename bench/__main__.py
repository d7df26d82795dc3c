"""`make bench`: the chain, tenants' DAGs, rules, profiles and Kafka, each beside its limit or its peers."""

from __future__ import annotations

import argparse
import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    known = ("chain", "dags", "http", "kafka", "postgresql", "quality")
    parser.add_argument("what", nargs="?", choices=known, default="chain")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, help="4 of the chain and of PostgreSQL, 2 of the DAGs and of quality")
    parser.add_argument("--tenants", type=int, default=1_000)
    said = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if said.what == "dags":
        print(dags(said.tenants, said.rounds or 2))
    elif said.what == "http":
        print(http(said.rounds or 10))
    elif said.what == "quality":
        print(quality(said.rows, said.rounds or 2))
    elif said.what == "kafka":
        print(kafka(said.rows, said.rounds or 3))
    elif said.what == "postgresql":
        print(postgresql(said.rows, said.rounds or 4))
    else:
        print(chain(said.rows, said.rounds or 4))


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


def chain(rows: int, rounds: int) -> str:
    from bench.chain import as_json, measure, show

    measured = measure(rows, rounds)
    (RESULTS / "chain.json").write_text(as_json(measured) + "\n")
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
