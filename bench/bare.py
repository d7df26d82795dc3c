"""What one would write without us: a consumer of Kafka that COPYs binary, by the same libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg
import pyarrow as pa
from confluent_kafka import Consumer, TopicPartition
from pgpq import ArrowToPostgresBinaryEncoder
from pyarrow import json as arrow_json
from tests.services.kafka import Kafka

LINGER, MOST = 0.005, 65_536
SCHEMA = pa.schema([("id", pa.int64()), ("who", pa.string()), ("track", pa.string()), ("ms", pa.int64())])
TABLE = "(id bigint, who text, track text, ms bigint)"
Tell = Callable[[str, int], None]
"""Told a part of an event's way, and how many events have come through it by now."""


def follow(kafka: Kafka, topic: str, rows: int, url: str, tell: Tell | None = None) -> None:
    """Waits for as long as we do where it is to be quick, and longer where it is to be fast."""
    linger, tell = (LINGER, tell) if tell else (10 * LINGER, lambda *_: None)
    settings = {"bootstrap.servers": kafka.address, "group.id": "bare", "enable.auto.commit": False}
    tuned = {"fetch.wait.max.ms": 10, "fetch.queue.backoff.ms": 1, "queued.max.messages.kbytes": 65_536}
    consumer, done = Consumer({**settings, **tuned}), 0
    consumer.assign([TopicPartition(topic, 0, 0)])
    with psycopg.connect(url, autocommit=True) as connection, closing(consumer):
        connection.execute("drop table if exists bare")
        connection.execute(f"create table bare {TABLE}")
        while done < rows:
            got = consumer.consume(1, 0.25)
            got += consumer.consume(MOST - 1, linger) if got else []
            if got:
                done += len(got)
                tell("heard", done)
                blocks = list(encoded(b"\n".join(message.value() for message in got)))
                tell("treated", done)
                cursor, statement = connection.cursor(), "copy bare from stdin (format binary)"
                with connection.transaction(), cursor.copy(statement) as sink:
                    for block in blocks:
                        sink.write(block)
                tell("committed", done)


def encoded(lines: bytes) -> Iterator[bytes]:
    options = arrow_json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
    parsing = arrow_json.ParseOptions(explicit_schema=SCHEMA)
    encoder = ArrowToPostgresBinaryEncoder(SCHEMA)
    yield encoder.write_header()
    for batch in arrow_json.read_json(pa.BufferReader(lines), options, parsing).to_batches():
        yield encoder.write_batch(batch)
    yield encoder.finish()
