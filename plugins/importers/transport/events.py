"""Events of Microsoft's client for Event Hubs as columns, as those of messages of a Kafka client."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from importers.transport.messages import Headers, Messages, Part

Events: TypeAlias = list[Any]
"""The client's EventData of one partition, ascending."""
ENQUEUED = b"x-opt-enqueued-time"


def gathered(found: Sequence[tuple[int, Events]], asked: Collection[Part]) -> Messages:
    """Each partition with its events. What isn't `asked` for is left out."""
    events = [event for _, each in found for event in each]
    partitions = [np.full(len(each), number, np.int64) for number, each in found]

    def column(part: Part, of: Callable[[Any], Any], kind: pa.DataType) -> pa.Array:
        return pa.array(list(map(of, events)) if part in asked else [], kind)

    return Messages(
        np.concatenate(partitions) if partitions else np.empty(0, np.int64),
        np.array([event.sequence_number for event in events], np.int64),
        column(Part.VALUE, _body, pa.binary()),
        column(Part.KEY, lambda event: event.partition_key, pa.binary()),
        list(map(_headers, events)) if Part.HEADERS in asked else (),
        column(Part.TIMESTAMP, lambda event: event.raw_amqp_message.annotations.get(ENQUEUED), pa.int64()),
    )


@dataclass(slots=True)
class Room:
    """What a batch has room for yet. The last event may have more bytes than there are left."""

    rows: int
    bytes: int

    def __bool__(self) -> bool:
        return self.rows > 0 and self.bytes > 0

    def take(self, events: Events) -> Events:
        """The first of them, as many as there is room for."""
        taken = 0
        while self and taken < len(events):
            self.rows -= 1
            self.bytes -= len(_body(events[taken]) or b"")
            taken += 1
        return events[:taken]


def _body(event: Any) -> bytes | None:
    """Its bytes. What an application has sent as an AMQP value or sequence is what the client makes text of."""
    if event.body_type.value == "data":
        return b"".join(event.body)
    if event.body_type.value == "value" and event.body is None:
        return None
    return event.body if isinstance(event.body, bytes) else str(event.body_as_str()).encode()


def _headers(event: Any) -> Headers:
    """The application's properties; before them the content type, where Microsoft's serializers name a schema."""
    properties: Mapping[Any, Any] = event.properties or {}
    said = [(_text(name), _bytes(value)) for name, value in properties.items()]
    kind = event.content_type
    return said if kind is None else [("content-type", _bytes(kind)), *said]


def _text(name: str | bytes) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else name


def _bytes(value: Any) -> bytes | None:
    """As Kafka's headers are bytes: numbers and times as text, truth in lower case."""
    if value is None or isinstance(value, bytes):
        return value
    return (str(value).lower() if isinstance(value, bool) else str(value)).encode()
