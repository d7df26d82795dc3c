"""The small import of `import_site`, from a topic in place of files: rows are messages, its malformed line poison."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from confluent_kafka import Producer
from import_site import FIRST, HEADER, MALFORMED, PIPELINE, SECOND, STREAM, Inspector, Row, Site, must

from importers.core.connection import Connection
from importers.core.model import LoadMode
from importers.core.tenant import Tenant

PARTITIONS = 3
COLUMNS = {"play": "integer", "id": "integer", "listener": "string", "track": "string", "score": "integer"}


@dataclass(frozen=True)
class KafkaSite(Site):
    """What the first file had is there after `first`, the second's after `second`; both stay."""

    brokers: str = ""
    topic: str = ""

    @property
    def definition(self) -> Tenant:
        said = super().definition.model_dump(exclude_unset=True, mode="json")
        said["pipelines"][PIPELINE] |= {
            "importer": "kafka",
            "config": {
                "topic": self.topic,
                "stream": STREAM,
                "columns": COLUMNS,
                "metadata": [],
                "batch_rows": 3,
                "timeout": 120,
            },
        }
        return Tenant.model_validate(said)

    @property
    def connection(self) -> Connection:
        return Connection({"bootstrap.servers": self.brokers})

    def first(self) -> None:
        self.produce(FIRST)

    def second(self) -> None:
        self.produce(SECOND, malformed=1)

    def produce(self, rows: Sequence[Row], malformed: int = 0) -> None:
        producer = Producer({"bootstrap.servers": self.brokers, "linger.ms": 0})
        values = [json.dumps(dict(zip(HEADER, row, strict=True))) for row in rows] + [MALFORMED] * malformed
        for number, value in enumerate(values):
            producer.produce(self.topic, value, partition=number % PARTITIONS)
        must(producer.flush(180) == 0, "messages aren't there")


def position_is(look: Inspector, messages: Sequence[int]) -> None:
    """`messages` are how many were produced at a time: each time the first went to partition 0, the next to 1, …"""
    ends = [sum(len(range(partition, count, PARTITIONS)) for count in messages) for partition in range(PARTITIONS)]
    found = dict(look.ask("select lane, value from _importers.position where stream = %s", look.stream))
    site: Any = look.site
    found.pop(site.topic)  # its id
    must(found == {f"{site.topic}/{number}": end for number, end in enumerate(ends)}, "wrong position", found)


def finished(site: KafkaSite, sql: psycopg.Connection, *, quarantines: int = 1) -> None:
    """Everything that must be true once the second lot is in; sweeps once."""
    look = Inspector(site, sql)
    look.table_is(site.after)
    if site.mode is not LoadMode.REPLACE:
        position_is(look, [len(FIRST), len(SECOND) + 1])
    must(not look.readable(), "staged rows can be read")
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left", look.staged_files())
    look.quarantine_is(quarantines)
    look.table_is(site.after)
