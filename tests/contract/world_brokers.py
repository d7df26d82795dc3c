"""Topics of a real Kafka broker, and a stream of a real Redis."""

from __future__ import annotations

import json
import struct
from abc import abstractmethod
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import uuid4

import fastavro
from azure.eventhub import EventData

from importers.core.model import LoadMode
from tests.services.apicurio import Apicurio
from tests.services.event_hubs import KEY, EventHubs
from tests.services.kafka import PASSWORD, Kafka
from tests.services.redis import PASSWORD as REDIS_PASSWORD
from tests.services.redis import Redis
from tests.support.protobuf import encoded, framed, message_types

from .world import MORE, ROWS, World


class OnAServer(World):
    """Rows are put into a server of its own, which ends, stands still and is started again."""

    @abstractmethod
    def put(self, rows: list[dict[str, Any]]) -> None: ...

    def grow(self) -> None:
        self.put(MORE)

    def die(self) -> None:
        self.server.stop()

    def stall(self) -> None:
        self.server.pause()

    def mend(self) -> None:
        self.server.start()

    def close(self) -> None:
        self.mend()


class KafkaTopic(OnAServer):
    """Two partitions that are read one after the other, so that a read has a middle in which the broker can fail."""

    service = "kafka"
    server: Kafka
    wrong: ClassVar[dict[str, Any]] = {"settings": {"sasl.password": "in a file"}}

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.topic = server.topic(f"plays.{uuid4().hex}", partitions=2)
        self.put(ROWS)

    def config(self) -> dict[str, Any]:
        read = {"batch_rows": 2, "max_partitions": 1, "metadata": [], "timeout": 6 if self.hurried else 120}
        return {"topic": self.topic, "stream": self.stream, **read}

    def connection(self) -> Mapping[str, Any] | None:
        return {"bootstrap.servers": self.server.address}

    def put(self, rows: list[dict[str, Any]]) -> None:
        messages = [{"value": json.dumps(row).encode(), "partition": row["id"] % 2} for row in rows]
        self.server.produce(self.topic, *messages)

    def vanish(self) -> None:
        self.server.drop(self.topic)


class Registered(NamedTuple):
    """A broker, and the registry that has the schemas of its messages."""

    kafka: Kafka
    registry: Apicurio


class RegisteredTopic(KafkaTopic):
    """Records in Confluent's wire format; their schema is in a registry."""

    service = "registered"
    wrong: ClassVar[dict[str, Any]] = {"columns": {"id": "integer"}}
    die = World.die  # a broker's start takes seconds, and `kafka` has shown it
    stall = World.stall
    format: ClassVar[str]
    schema: ClassVar[Any]

    def __init__(self, directory: Path, server: Any = None) -> None:
        self.registry = server.registry
        self.number = self.registry.register(f"plays-{self.format}", self.schema, kind=self.format.upper())
        super().__init__(directory, server.kafka)

    def config(self) -> dict[str, Any]:
        return super().config() | {"format": self.format}

    def connection(self) -> Mapping[str, Any] | None:
        return {"bootstrap.servers": self.server.address, "schema.registry.url": self.registry.address}

    def put(self, rows: list[dict[str, Any]]) -> None:
        self.server.produce(self.topic, *({"value": self.value(row), "partition": row["id"] % 2} for row in rows))

    @abstractmethod
    def value(self, row: dict[str, Any]) -> bytes: ...


class AvroTopic(RegisteredTopic):
    """Written by fastavro's encoder."""

    format = "avro"
    schema = fastavro.parse_schema(
        {
            "type": "record",
            "name": "Play",
            "fields": [
                {"name": "id", "type": "long"},
                {"name": "who", "type": "string"},
                {"name": "what", "type": "string"},
                {"name": "ms", "type": ["null", "long"]},
            ],
        }
    )

    def value(self, row: dict[str, Any]) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, self.schema, row)
        return struct.pack(">bI", 0, self.number) + out.getvalue()


class ProtobufTopic(RegisteredTopic):
    """Written by Google's encoder, as the second message type of its schema."""

    format = "protobuf"
    schema = """
        syntax = "proto3";
        message Skip { int64 id = 1; }
        message Play { int64 id = 1; string who = 2; string what = 3; optional int64 ms = 4; }
    """

    @classmethod
    def modes(cls) -> list[LoadMode]:
        return [LoadMode.APPEND]  # rows are rows from there on, and `kafka` has shown the others

    def __init__(self, directory: Path, server: Any = None) -> None:
        self.written = message_types(self.schema)["Play"]
        super().__init__(directory, server)

    def value(self, row: dict[str, Any]) -> bytes:
        return framed(self.number, [1], encoded(self.written, row))


class EventHub(KafkaTopic):
    """By a listener with the settings that Event Hubs' Kafka endpoint has. It isn't Event Hubs."""

    secrets: ClassVar[tuple[str, ...]] = (PASSWORD, "c2VjcmV0LXNlY3JldC1zZWNyZXQ")
    die = World.die  # a broker's start takes seconds, and `kafka` has shown it
    stall = World.stall

    def deny(self) -> None:
        self.server.forbid(self.topic)

    def mend(self) -> None:
        self.server.allow(self.topic)

    def connection(self) -> Mapping[str, Any] | None:
        port = int(self.server.sasl_address.rpartition(":")[2])
        return {"sasl.password": PASSWORD, "port": port, "ssl.ca.location": self.server.authority}


class EventHubByAmqp(OnAServer):
    """By a broker that speaks AMQP 1.0. It isn't Event Hubs. Any question takes Microsoft's client half a second."""

    service = "amqp"
    server: EventHubs
    apart = True
    wrong: ClassVar[dict[str, Any]] = {"settings": {"fetch.wait.max.ms": 1}}
    secrets: ClassVar[tuple[str, ...]] = (KEY,)

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.hub = server.hub(partitions=2)
        self.put(ROWS)

    def config(self) -> dict[str, Any]:
        columns = {"id": "integer", "who": "string", "what": "string", "ms": "integer"}
        read = {"batch_rows": 2, "max_partitions": 1, "metadata": [], "timeout": 4 if self.hurried else 120}
        return {"protocol": "amqp", "topic": self.hub, "stream": self.stream, "columns": columns, **read}

    def connection(self) -> Mapping[str, Any] | None:
        return self.server.connection

    def put(self, rows: list[dict[str, Any]]) -> None:
        events = [(EventData(json.dumps(row)), {"partition_id": str(row["id"] % 2)}) for row in rows]
        self.server.send(self.hub, *events)

    def vanish(self) -> None:
        self.server.drop(self.hub)

    def deny(self) -> None:
        self.server.forbid(self.hub)

    def mend(self) -> None:
        super().mend()
        self.server.allow(self.hub)


class RedisStream(OnAServer):
    """Over TLS, as a user who may use the keys of its application only."""

    service = "redis"
    server: Redis
    wrong: ClassVar[dict[str, Any]] = {"batch_rows": 0}
    secrets: ClassVar[tuple[str, ...]] = (REDIS_PASSWORD,)

    def __init__(self, directory: Path, server: Any = None) -> None:
        super().__init__(directory, server)
        self.key_of_stream = f"app:plays:{uuid4().hex}"
        self.put(ROWS)

    def config(self) -> dict[str, Any]:
        columns = {"id": "integer", "who": "string", "what": "string", "ms": "integer"}
        read = {"columns": columns, "entry": False, "batch_rows": 2, "timeout": 4 if self.hurried else 120}
        return {"key": self.key_of_stream, "stream": self.stream, "consumer_group": "importers", **read}

    def connection(self) -> Mapping[str, Any] | None:
        tls = {"ssl": True, "ssl_ca_certs": self.server.authority}
        return {"host": "localhost", "port": self.server.port, "login": "app", "password": REDIS_PASSWORD, **tls}

    def put(self, rows: list[dict[str, Any]]) -> None:
        with self.server.administrator() as client:
            for row in rows:
                client.xadd(self.key_of_stream, {name: value for name, value in row.items() if value is not None})

    def vanish(self) -> None:
        with self.server.administrator() as client:
            client.delete(self.key_of_stream)

    def deny(self) -> None:
        with self.server.administrator() as client:
            client.execute_command("ACL", "SETUSER", "app", "-@read")

    def mend(self) -> None:
        super().mend()
        with self.server.administrator() as client:
            client.execute_command("ACL", "SETUSER", "app", "+@all", "-@dangerous")
