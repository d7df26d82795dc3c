"""Kafka into Arrow beside Kafka's own ConsumerPerformance, and Kafka into PostgreSQL under a policy.

The latter beside a bare consumer, and the server's COPY of rows that are encoded already: no way in is faster than that
on one connection. Broker, reader and warehouse share this machine. Only ratios count: all alternate in one run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from confluent_kafka import Producer
from tests.services.kafka import Kafka, kafka_server, kafka_tool

from bench import bare
from importers.api import get_importer
from importers.core.connection import Connection
from importers.core.model import Window
from importers.sources.streaming.kafka import Kafka as Source
from importers.sources.streaming.kafka import KafkaConfig
from importers.transport.embedded import start_postgres

BYTES = 100
PERFORMANCE = "org.apache.kafka.tools.ConsumerPerformance"
PRIVACY = {
    "purpose": "benchmarks",
    "lawful_basis": "consent",
    "subject": {"column": "who", "domain": "listener"},
    "columns": {"id": "keep", "who": "pseudonymise", "track": "keep", "ms": "keep"},
}
COLUMNS = {"id": "integer", "who": "string", "track": "string", "ms": "integer"}


def measure(rows: int, rounds: int) -> dict[str, Any]:
    """Messages a second of each round: Kafka's own tool, our source with all columns, and the chain."""
    with kafka_server(own=True, quick=False) as kafka, tempfile.TemporaryDirectory(prefix="importers-bench-") as name:
        home = Path(name)
        home.chmod(0o755)  # the server may be another user
        os.environ |= {"IMPORTERS_HOME": str(home), "KAFKA_BROKERS": kafka.address}
        os.environ.pop("POSTGRES_URL", None)
        url = start_postgres(home)
        raw = _filled(kafka, "raw", rows, lambda n: b"%0*d" % (BYTES, n))
        plays = _filled(kafka, "plays", rows, _play)
        found: dict[str, list[float]] = {"tool": [], "arrow": [], "copy": [], "bare": [], "chain": []}
        steps = list[dict[str, float]]()
        for number in range(rounds):
            found["tool"].append(_tool(kafka, raw, rows))
            found["arrow"].append(_arrow(kafka, raw, rows))
            found["copy"].append(_copy(url, rows))
            found["bare"].append(_rate(rows, lambda: bare.follow(kafka, plays, rows, url)))
            found["chain"].append(_rate(rows, lambda: steps.append(_chain(plays, rows, number))))  # noqa: B023
    rates = {what: list(map(round, rates)) for what, rates in found.items()}
    return {"messages": rows, "messages_a_second": rates, "seconds_of_the_chain": steps}


def _rate(rows: int, work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return rows / (time.perf_counter() - started)


def _filled(kafka: Kafka, topic: str, rows: int, value: Any) -> str:
    kafka.topic(topic, partitions=1)
    producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 50, "queue.buffering.max.messages": 500_000})
    for number in range(rows):
        while True:
            try:
                producer.produce(topic, value(number), key=b"%08d" % (number % 10_000))
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(120):
        raise SystemExit("messages aren't there")
    return topic


def _play(number: int) -> bytes:
    who, track = f"listener {number % 50_000}", f"track {number % 3_000:06}"
    return json.dumps({"id": number, "who": who, "track": track, "ms": number % 240_000}).encode()


def _tool(kafka: Kafka, topic: str, rows: int) -> float:
    """What it fetched a second, without its start and its group's rebalance."""
    asked = {"--bootstrap-server": kafka.address, "--topic": topic, "--num-records": rows, "--timeout": 60_000}
    said = kafka_tool(kafka, PERFORMANCE, *(word for pair in asked.items() for word in pair))
    head, *lines = [re.split(r",\s*", line.strip()) for line in said.splitlines() if "," in line]
    told = dict(zip(head, lines[-1], strict=True))
    return float(next(rate for name, rate in told.items() if name in ("fetch.nMsg.sec", "fetch.nRecord.sec")))


def _arrow(kafka: Kafka, topic: str, rows: int) -> float:
    config = KafkaConfig(topic=topic, format="bytes", metadata=["key", "timestamp", "partition", "offset"])
    source = Source(config, tenant="bench", connection=Connection({"bootstrap.servers": kafka.address}))
    (stream,) = source.streams()
    plan = source.plan(stream, Window(), {})
    started = time.perf_counter()
    read = sum(batch.rows.num_rows for part in plan.partitions for batch in source.read(stream, part))
    seconds = time.perf_counter() - started
    if read != rows:
        raise SystemExit(f"{read} of {rows} messages were read")
    return rows / seconds


def _copy(url: str, rows: int) -> float:
    lines = [b"\n".join(map(_play, range(at, min(at + bare.MOST, rows)))) for at in range(0, rows, bare.MOST)]
    parts = [list(bare.encoded(each)) for each in lines]  # a header, the rows, an end
    blocks = [parts[0][0], *(block for part in parts for block in part[1:-1]), parts[0][-1]]
    with psycopg.connect(url) as connection:
        connection.execute(f"drop table if exists copied; create table copied {bare.TABLE}")
        connection.commit()

        def work() -> None:
            with connection.transaction(), connection.cursor().copy("copy copied from stdin (format binary)") as sink:
                for block in blocks:
                    sink.write(block)

        return _rate(rows, work)


def _chain(topic: str, rows: int, number: int) -> dict[str, float]:
    """Seconds by step."""
    config = {"topic": topic, "columns": COLUMNS, "metadata": [], "privacy": PRIVACY, "load": {"table": "plays"}}
    result = asyncio.run(get_importer("kafka", f"bench_{number}", config).import_data(progress=lambda _: None))
    if result.rows_loaded != rows:
        raise SystemExit(f"{result.rows_loaded} of {rows} rows were loaded")
    return {step: round(seconds, 2) for step, seconds in result.timings.items()}


def show(measured: dict[str, Any]) -> str:
    """A table for people: the best of each."""
    best = {what: max(rates) for what, rates in measured["messages_a_second"].items()}
    ratio = best["arrow"] / best["tool"]
    steps = min(measured["seconds_of_the_chain"], key=lambda each: sum(each.values()))
    lines = [
        f"{measured['messages']:,} messages of {BYTES} bytes in one partition",
        f"ConsumerPerformance                {best['tool'] / 1e6:6.2f} M messages/s   1.00",
        f"Kafka → Arrow, all columns         {best['arrow'] / 1e6:6.2f} M messages/s   {ratio:.2f}",
    ]
    for what, said in (
        ("copy", "COPY of rows that are encoded"),
        ("bare", "a bare consumer and COPY"),
        ("chain", "Kafka → policy → PostgreSQL"),
    ):
        lines.append(f"{said:35}{best[what] / 1e6:6.2f} M rows/s       {best[what] / best['copy']:.2f}")
    told = ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items() if seconds > 0.05)
    return "\n".join([*lines, f"of which in seconds: {told}"])
