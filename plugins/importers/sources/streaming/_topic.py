"""What a tenant says of a topic."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from importers.core.model import JSON
from importers.core.names import did_you_mean
from importers.core.secret_shapes import INSTEAD, names_a_secret
from importers.sources._text.cells import TypeName
from importers.sources._text.json_lines import UnknownKeys
from importers.sources.streaming._log import LogConfig
from importers.sources.streaming._messages import KeyType, Metadata
from importers.transport.broker import AT_ONCE, OURS

TUNING = frozenset(
    {
        "broker.address.family",
        "broker.address.ttl",
        "check.crcs",
        "client.rack",
        "connections.max.idle.ms",
        "fetch.error.backoff.ms",
        "fetch.max.bytes",
        "fetch.message.max.bytes",
        "fetch.min.bytes",
        "fetch.queue.backoff.ms",
        "fetch.wait.max.ms",
        "log_level",
        "max.partition.fetch.bytes",
        "message.max.bytes",
        "metadata.max.age.ms",
        "queued.max.messages.kbytes",
        "queued.min.messages",
        "receive.message.max.bytes",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "socket.connection.setup.timeout.ms",
        "socket.keepalive.enable",
        "socket.max.fails",
        "socket.nagle.disable",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "topic.metadata.propagation.max.ms",
        "topic.metadata.refresh.fast.interval.ms",
        "topic.metadata.refresh.interval.ms",
        "topic.metadata.refresh.sparse",
    }
)
"""What a tenant's file may set of librdkafka, by its CONFIGURATION.md: how much is fetched, how long is waited.

No other, since a setting that a later version brings may run a command, as `sasl.kerberos.kinit.cmd` does, or send a
password elsewhere. `isolation.level`, and `api.version.…` with `broker.version.fallback`, by which a client may lose
it, would let in the messages of transactions that were taken back.
"""


class Format(StrEnum):
    """What a message's value is."""

    JSON = "json"
    AVRO = "avro"
    PROTOBUF = "protobuf"
    TEXT = "text"
    BYTES = "bytes"

    @property
    def registered(self) -> bool:
        """Whether a value names a schema that a registry has."""
        return self in (Format.AVRO, Format.PROTOBUF)


class Reset(StrEnum):
    EARLIEST = "earliest"
    LATEST = "latest"


class TopicConfig(LogConfig):
    topic: str = Field(min_length=1, max_length=249, description="The topic.", examples=["plays"])
    format: Format = Field(
        Format.JSON,
        description="What a message's value is: a `json` object, whose keys become columns; a record of `avro` or "
        "`protobuf`, whose schema is in a registry that the connection names, and whose fields become columns; or "
        "`text` or `bytes`, which become the column `message_value`.",
    )
    types: dict[str, TypeName] = Field({}, description="Types of keys, where the sample would mislead.")
    sample_rows: int = Field(
        1_000,
        ge=1,
        le=100_000,
        description="How many of the latest messages the columns and their types come from; of Avro and "
        "Protobuf as many of the oldest, too.",
    )
    unknown_keys: UnknownKeys = Field(
        UnknownKeys.STOP,
        description="What to do with a value that has a key or field which neither the sample nor `columns` showed: "
        "`stop` the run, since nobody has classified it, or `ignore` the key, which then isn't read.",
    )
    metadata: list[Metadata] = Field(
        [Metadata.TIMESTAMP, Metadata.PARTITION, Metadata.OFFSET],
        description="What of a message beside its value becomes a column: `key`, `headers`, `timestamp`, `partition`, "
        "`offset`, each as `message_…`. Keys count as identifiers, headers as free text.",
    )
    key_type: KeyType = Field(KeyType.TEXT, description="Whether keys are `text` in UTF-8, or `bytes`.")
    auto_offset_reset: Reset = Field(
        Reset.EARLIEST,
        description="Where the first run begins, unless `start_time` or `start_offsets` says so. A full refresh begins "
        "with the earliest.",
    )
    start_time: AwareDatetime | None = Field(
        None,
        description="The first run begins with the first message that isn't older, by the messages' timestamps; so "
        "does a full refresh, but not after what is unread.",
    )
    start_offsets: dict[int, int] = Field({}, description="Offsets that the first run begins with, by partition.")
    max_poll_records: int = Field(
        AT_ONCE, ge=1, le=100_000, description="How many messages a call to the client takes."
    )
    max_messages: int | None = Field(
        None, ge=1, description="How many messages of a partition one run reads at most. By default all there are."
    )
    max_partitions: int = Field(
        8,
        ge=1,
        le=1024,
        description="How many parts the topic is read in at most. Of Kafka a partition with four million unread "
        "messages or more is cut into several.",
    )
    settings: dict[str, str | int | float | bool] = Field(
        {},
        description="How librdkafka fetches and waits: its settings `fetch.…`, `queued.…`, `socket.…` and such. Where "
        "to connect, how to log in and whom to trust only the connection says, and what it says comes first.",
        examples=[{"fetch.wait.max.ms": 100}],
    )

    @property
    def place(self) -> str:
        return self.topic

    @model_validator(mode="after")
    def _told_by_schemas(self) -> Self:
        if self.format.registered and (self.columns or self.types):
            raise ValueError("`columns` and `types` are for JSON: of Avro and Protobuf the schemas tell them")
        return self

    @field_validator("settings")
    @classmethod
    def _tuning(cls, settings: dict[str, JSON]) -> dict[str, JSON]:
        for name in settings:
            if names_a_secret(name.replace(".", "_")):
                raise ValueError(f"{name} is a secret: {INSTEAD}")
            if name in OURS or name == "group.id":
                raise ValueError(f"{name} is what exactness hangs on, and can't be set")
            if name not in TUNING:
                raise ValueError(
                    f"{name} isn't a tenant's to set: where to connect, how to log in and whom to trust belong into "
                    f"the connection; {did_you_mean(name, TUNING)}"
                )
        return settings
