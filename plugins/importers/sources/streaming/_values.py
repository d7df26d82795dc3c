"""What the values of a topic's messages are: which columns they have, and how they become these."""

from __future__ import annotations

from collections.abc import Callable, Set
from math import ceil

import pyarrow as pa

from importers.core.names import did_you_mean
from importers.exceptions import ConfigError, ContractError
from importers.sources._text.cells import ARROW
from importers.sources.streaming._messages import VALUE, Decoder, Json, Raw, infer_json
from importers.sources.streaming._ranges import Reach
from importers.sources.streaming._registered import AZURE, Framed, Framing, azure_values
from importers.sources.streaming._registries import Schemas
from importers.sources.streaming._topic import Format, TopicConfig
from importers.transport.messages import Messages, Part
from importers.transport.partitioned import Broker


class Values:
    """By the tenant's word, else by a sample: of objects, or of schemas that a registry has."""

    def __init__(self, config: TopicConfig, framing: Callable[[], Framing], schemas: Callable[[], Schemas]) -> None:
        """`framing` and `schemas` are asked for only where a registry has the schemas."""
        self._config, self._framing, self._schemas = config, framing, schemas

    def schema(self, cluster: Callable[[], Broker]) -> pa.Schema:
        """Raises ConfigError, ContractError or EmptySourceError where nothing tells it."""
        if self._config.format in (Format.TEXT, Format.BYTES):
            return pa.schema([(VALUE, self._kind)])
        if self._config.columns:
            return pa.schema([(name, ARROW[kind]) for name, kind in self._config.columns.items()])
        with cluster() as asked:
            schema = self._sampled(self._sample(asked))
        for name, kind in self._config.types.items():
            if name not in schema.names:
                raise ConfigError(
                    f"`types` names a key '{name}' that the sample lacks", do=did_you_mean(name, schema.names)
                )
            schema = schema.set(schema.get_field_index(name), pa.field(name, ARROW[kind]))
        return schema

    def decoder(self, known: pa.Schema, wanted: pa.Schema) -> Decoder:
        """`known` are the columns that the policy has seen, `wanted` those that are read."""
        unknown_keys = self._config.unknown_keys
        asked = pa.schema([field for field in known if field.name in wanted.names])
        if self._config.format.registered:
            return Framed(self._framing(), self._schemas(), known, asked, unknown_keys)
        if self._config.format is Format.JSON:
            return Json(asked, unknown_keys, known)
        return Raw(self._kind)

    @property
    def parts(self) -> Set[Part]:
        """The parts of messages that they are made of."""
        return {Part.VALUE, Part.HEADERS} if self._is_headed else {Part.VALUE}

    def encoded(self, messages: Messages) -> pa.Array:
        return azure_values(messages) if self._is_headed else messages.values

    @property
    def _is_headed(self) -> bool:
        """Whether a header tells a value's schema."""
        return self._config.format is Format.AVRO and self._framing() is AZURE

    @property
    def _kind(self) -> pa.DataType:
        return pa.string() if self._config.format is Format.TEXT else pa.binary()

    def _sampled(self, values: list[bytes]) -> pa.Schema:
        registered, topic = self._config.format.registered, self._config.topic
        schema = self._registered(values) if registered else infer_json(values)
        if schema is not None:
            return schema
        if values:
            what = "a record whose schema can be had" if registered else "a JSON object"
            raise ContractError(f"no message of '{topic}' is {what}", do="correct `format`")
        raise self._config.empty()

    def _registered(self, values: list[bytes]) -> pa.Schema | None:
        framing = self._framing()
        heads = dict.fromkeys(map(framing.head, values))
        return self._schemas().columns([number for head in heads if (number := framing.number(head)) is not None])

    def _sample(self, cluster: Broker) -> list[bytes]:
        """The latest values; where schemas tell all columns the oldest, too, since theirs may be others."""
        extents = Reach(self._config, cluster).extents
        each = ceil(self._config.sample_rows / len(extents))
        ends = [(number, max(at.low, at.high - each), at.high) for number, at in extents.items()]
        if self._config.format.registered:
            ends += [(number, extents[number].low, min(start, extents[number].low + each)) for number, start, _ in ends]
        return [
            value
            for number, start, end in ends
            for got in cluster.messages(self._config.topic, number, start, end, each, self.parts)
            for value in self.encoded(got).to_pylist()
            if value
        ]
