"""Records of Avro and of Protobuf from a real broker, by the schemas of a real registry, into a table."""

from __future__ import annotations

import io
import struct
from typing import Any
from uuid import uuid4

import fastavro
import pytest
from tests.services.apicurio import Apicurio
from tests.services.kafka import Kafka
from tests.support.protobuf import encoded, framed, message_types

from importers.core.connection import Connection
from importers.core.model import Window
from importers.exceptions import ConfigError
from importers.sources.streaming.kafka import Kafka as Source
from importers.sources.streaming.kafka import KafkaConfig

pytestmark = pytest.mark.services
BY = {"type": "record", "name": "people.By", "fields": [{"name": "mail", "type": "string"}]}


def play(*more: dict[str, Any]) -> dict[str, Any]:
    fields = [{"name": "id", "type": "long"}, {"name": "by", "type": "people.By"}, *more]
    return {"type": "record", "name": "Play", "fields": fields}


def value(number: int, schema: dict[str, Any], row: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    named: dict[str, Any] = {}
    fastavro.parse_schema(BY, named)
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema, named), row)
    return struct.pack(">bI", 0, number) + out.getvalue()


def test_schemas_change_in_mid_topic_and_refer_to_others(kafka: Kafka, apicurio: Apicurio) -> None:
    topic = kafka.topic(f"plays-{uuid4().hex}")
    apicurio.register(f"{topic}-by", BY)
    refers = [{"name": "people.By", "subject": f"{topic}-by", "version": 1}]
    later = play({"name": "ms", "type": ["null", "int"], "default": None})
    first, second = (apicurio.register(f"{topic}-value", each, refers) for each in (play(), later))
    assert first != second
    rows = [{"id": n, "by": {"mail": f"{n}@example.org"}} for n in range(4)]
    values = [
        value(first, play(), rows[0]),
        value(second, later, rows[1] | {"ms": 7}),
        value(first, play(), rows[2])[:-1],
        value(first + 1_000_000, play(), rows[2]),
        value(second, later, rows[3] | {"ms": None}),
    ]
    kafka.produce(topic, *({"value": each} for each in values))
    connection = Connection({"bootstrap.servers": kafka.address, "schema.registry.url": apicurio.address})
    at = Source(KafkaConfig(topic=topic, format="avro", metadata=[], timeout=120), tenant="acme", connection=connection)
    (stream,) = at.streams()
    assert [column.name for column in stream.columns] == ["id", "by", "ms"]
    (part,) = at.plan(stream, Window(), {}).partitions
    (batch,) = at.read(stream, part)
    assert batch.rows.to_pylist() == [rows[0] | {"ms": None}, rows[1] | {"ms": 7}, rows[3] | {"ms": None}]
    assert [(each.location, each.reason) for each in batch.rejects] == [
        (f"{topic}/0@offset 2", "it isn't a record of its schema"),
        (f"{topic}/0@offset 3", "the registry doesn't know its schema"),
    ]


def test_messages_of_protobuf_change_in_mid_topic_and_import_others(kafka: Kafka, apicurio: Apicurio) -> None:
    topic = kafka.topic(f"plays-{uuid4().hex}")
    by = 'syntax = "proto3"; package people; message By { string mail = 1; }'
    head = 'syntax = "proto3"; import "by.proto";'
    old, new = (
        f"{head} message Play {{ int64 id = 1; people.By by = 2; {more} }}" for more in ("", "optional int32 ms = 3;")
    )
    apicurio.register(f"{topic}-by", by, kind="PROTOBUF")
    refers = [{"name": "by.proto", "subject": f"{topic}-by", "version": 1}]
    first, second = (apicurio.register(f"{topic}-value", each, refers, "PROTOBUF") for each in (old, new))
    assert first != second
    cls = message_types(new, {"by.proto": by})["Play"]
    rows = [{"id": n, "by": {"mail": f"{n}@example.org"}} for n in range(3)]
    values = [
        framed(first, [0], encoded(cls, rows[0])),
        framed(second, [0], encoded(cls, rows[1] | {"ms": 7})),
        framed(first, [0], encoded(cls, rows[2]))[:-1],
        framed(first + 1_000_000, [0], encoded(cls, rows[2])),
        b"{}",
        framed(second, [0], encoded(cls, rows[2])),
    ]
    kafka.produce(topic, *({"value": each} for each in values))
    connection = Connection({"bootstrap.servers": kafka.address, "schema.registry.url": apicurio.address})
    config = KafkaConfig(topic=topic, format="protobuf", metadata=[], timeout=120)
    at = Source(config, tenant="acme", connection=connection)
    (stream,) = at.streams()
    assert [column.name for column in stream.columns] == ["id", "by", "ms"]
    (part,) = at.plan(stream, Window(), {}).partitions
    (batch,) = at.read(stream, part)
    assert batch.rows.to_pylist() == [rows[0] | {"ms": None}, rows[1] | {"ms": 7}, rows[2] | {"ms": None}]
    assert [(each.location, each.reason) for each in batch.rejects] == [
        (f"{topic}/0@offset 2", "it isn't a record of its schema"),
        (f"{topic}/0@offset 3", "the registry doesn't know its schema"),
        (f"{topic}/0@offset 4", "it doesn't begin with the number of a schema"),
    ]


def test_a_registry_that_nobody_named_is_told(kafka: Kafka) -> None:
    topic = kafka.topic(f"plays-{uuid4().hex}")
    kafka.produce(topic, {"value": struct.pack(">bI", 0, 1)})
    config = KafkaConfig(topic=topic, format="avro", timeout=120)
    with pytest.raises(ConfigError, match=r"schema\.registry\.url"):
        Source(config, tenant="acme", connection=Connection({"bootstrap.servers": kafka.address})).streams()
