"""A topic of Kafka followed into PostgreSQL under a policy, beside a bare consumer that COPYs the same rows.

Two questions, each answered by turns in one run: how many rows a second where a topic is full, and how many
milliseconds from an event's production to the commit of its row where a thousand events come a second, and how many of
them until it is heard, until it is ready to be loaded, and from then on. Broker, producer, reader and warehouse share
this machine. What is bare parses JSON and encodes binary COPY with the same libraries; it has no policy, no rules, no
position and no receipt.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from confluent_kafka import Producer
from tests.services.kafka import Kafka, kafka_server

from bench import bare
from bench.bare import LINGER, MOST, Tell
from bench.kafka import COLUMNS, PRIVACY, _filled, _play
from importers.core.connection import Connection
from importers.core.model import Batch, MicroBatch, Receipt
from importers.core.tenant import Tenant
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.segment import Segment
from importers.pipeline.stream import stream
from importers.transport.embedded import start_postgres

RATE, EVENTS, WARM_UP = 1_000, 6_000, 1_000
"""Events a second, events of a round, and how many of its first aren't counted."""
RULES = [
    {"expect_column_values_to_not_be_null": {"column": "track"}},
    {"expect_column_values_to_be_between": {"column": "ms", "min_value": 0}},
]
PARTS = ("heard", "treated", "committed")


def measure(rows: int, rounds: int) -> dict[str, Any]:
    with kafka_server(own=True, quick=False) as kafka, tempfile.TemporaryDirectory(prefix="importers-bench-") as name:
        home = Path(name)
        home.chmod(0o755)  # the server may be another user
        os.environ["IMPORTERS_HOME"] = str(home)
        os.environ.pop("POSTGRES_URL", None)
        url = start_postgres(home)
        full = _filled(kafka, "full", rows, _play)
        for number in range(2):  # a broker that has just started compiles itself, and answers in seconds
            _latencies(kafka, kafka.topic(f"warm-{number}"), bare.follow, url)
        found: dict[str, list[Any]] = defaultdict(list)
        for number in range(rounds):
            for what, follow, place in (("bare", bare.follow, url), ("governed", _governed, f"full_{number}")):
                seconds, busy = _spent(follow, kafka, full, rows, place)
                found[what].append(round(rows / seconds))
                found[f"{what} µs"].append(round(1e6 * busy / rows, 2))
            for what, follow in (("bare ms", bare.follow), ("governed ms", _governed)):
                topic = kafka.topic(f"events-{number}-{what.split()[0]}")
                place = url if follow is bare.follow else f"events_{number}"
                found[what].append(_latencies(kafka, topic, follow, place))
    return {"rows": rows, "events_a_second": RATE, "linger_ms": LINGER * 1000, **found}


def _spent(follow: Callable[..., None], *arguments: Any) -> tuple[float, float]:
    """Seconds, and seconds of this process's processor time: the other two processes do the same for both."""
    started, busy = time.perf_counter(), time.process_time()
    follow(*arguments)
    return time.perf_counter() - started, time.process_time() - busy


def _job(kafka: Kafka, topic: str, tenant: str) -> Job:
    said = {
        "importer": "kafka",
        "config": {"topic": topic, "stream": "plays", "columns": COLUMNS, "metadata": []},
        "expect": RULES,
        "privacy": PRIVACY,
        "micro_batch": {"linger_ms": round(LINGER * 1000), "max_rows": MOST},
    }
    described = Tenant.model_validate({"tenant": tenant, "pipelines": {"listening": said}})
    connection = Connection({"bootstrap.servers": kafka.address})
    (job,) = jobs(Installation.from_environment(), described, "listening", connection=connection)
    return job


def _governed(kafka: Kafka, topic: str, rows: int, tenant: str, tell: Tell = lambda *_: None) -> None:
    with closing(_job(kafka, topic, tenant)) as job:
        follow, judged, load, done = job.source.follow, Segment.judged, job.destination.load_live, 0

        def followed(*arguments: Any) -> Iterator[Batch]:
            heard = 0
            for batch in follow(*arguments):
                heard += batch.rows.num_rows
                tell("heard", heard)
                yield batch

        def treated(self: Segment, *arguments: Any) -> MicroBatch:
            made = judged(self, *arguments)
            tell("treated", self._rows)
            return made

        def loaded(*arguments: Any) -> Receipt:
            nonlocal done
            receipt = load(*arguments)
            done = receipt.loaded
            tell("committed", done)
            return receipt

        with (
            patch.object(job.source, "follow", followed),
            patch.object(Segment, "judged", treated),
            patch.object(job.destination, "load_live", loaded),
        ):
            total = stream(job, lambda: done >= rows)
    if total.loaded != rows:
        raise SystemExit(f"{total.loaded} of {rows} rows were loaded")


def _latencies(kafka: Kafka, topic: str, follow: Callable[..., None], place: str) -> dict[str, Any]:
    """Percentiles in milliseconds from an event's production to its row's commit, and of each part of that."""
    times, before = {part: np.zeros(EVENTS) for part in PARTS}, dict.fromkeys(PARTS, 0)

    def tell(part: str, done: int) -> None:
        times[part][before[part] : done] = time.monotonic()
        before[part] = done

    with _producing(kafka, topic) as starts:
        follow(kafka, topic, EVENTS, place, tell)
    moments = [starts(), *times.values()]
    parts = {part: _percentiles(end - start) for part, start, end in zip(PARTS, moments, moments[1:], strict=False)}
    return {**_percentiles(moments[-1] - moments[0]), "parts": parts}


def _percentiles(seconds: Any) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(1000 * seconds[WARM_UP:], q)), 2) for q in (50, 95, 99)}


@contextmanager
def _producing(kafka: Kafka, topic: str) -> Iterator[Callable[[], Any]]:
    """A process that produces at the rate; when each event was, by a clock that all processes share."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_produce, args=(kafka.address, topic, theirs))
    process.start()
    try:
        yield lambda: np.frombuffer(ours.recv_bytes())
        process.join(30)
    finally:
        process.kill()


def _produce(address: str, topic: str, told: Any) -> None:
    producer, times = Producer({"bootstrap.servers": address, "linger.ms": 0}), array("d")
    producer.list_topics(topic, 30)
    time.sleep(5)  # until somebody follows
    begun = time.monotonic()
    for number in range(EVENTS):
        time.sleep(max(0.0, begun + number / RATE - time.monotonic()))
        times.append(time.monotonic())
        producer.produce(topic, json.dumps(json.loads(_play(number))), partition=0)
        producer.poll(0)
    producer.flush(30)
    told.send_bytes(times.tobytes())


def show(measured: dict[str, Any]) -> str:
    """A table for people: the best of each."""
    bare, governed = max(measured["bare"]), max(measured["governed"])
    busy = {what: f"{min(measured[f'{what} µs']):.1f} µs of ours a row" for what in ("bare", "governed")}
    lines = [
        f"{measured['rows']:,} messages of one partition",
        f"bare consumer + COPY           {bare / 1e3:7.0f} k rows/s   1.00   {busy['bare']}",
        f"Kafka → policy → PostgreSQL    {governed / 1e3:7.0f} k rows/s   {governed / bare:.2f}   {busy['governed']}",
        f"produced → committed at {measured['events_a_second']:,} events a second, linger {measured['linger_ms']:g} ms",
    ]
    for what in ("bare ms", "governed ms"):
        best = dict(min(measured[what], key=lambda each: float(each["p95"])))
        parts = best.pop("parts")
        lines.append(f"{what.split()[0]:9}" + "".join(f"  {name} {value:6.1f} ms" for name, value in best.items()))
        until = "".join(f"  until {part} {told['p95']:.1f}" for part, told in parts.items())
        lines.append(f"{'':9}  p95 of each part:{until}")
    return "\n".join(lines)
