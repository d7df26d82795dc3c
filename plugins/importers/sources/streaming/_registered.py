"""Values that begin with the number of their schema, which a registry has: by schema, as the columns that are known.

Confluent's wire format: a zero, the schema's id in four bytes, then the record
(https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/#wire-format). Of Protobuf
there stands before the record which of the schema's message types it is: a path of indexes, each the number of a
message within the one before. It begins with how many they are, all as zigzag varints; a zero alone is `[0]`.
Azure's serializers for Kafka say the id, 32 characters, in the header `content-type` as `avro/binary+ID`; it is put
before the record here, so that the two differ by a prefix only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core import untold
from importers.core.exact import is_number, is_text
from importers.core.model import Reject
from importers.exceptions import ContractError
from importers.sources._text.json_lines import UnknownKeys
from importers.sources.streaming._messages import NO_VALUE, Decoded, Place
from importers.transport.messages import Headers, Messages

UNFRAMED = "it doesn't begin with the number of a schema"
UNKNOWN = "the registry doesn't know its schema"
UNUSABLE = "its schema can't become columns"
UNFIT = "it isn't a record of its schema"
OTHER = "its schema has a column of another type"


class UnfitError(Exception):
    """One of some records isn't of the schema that it names; never leaves the decoding."""


class Reader(Protocol):
    """Reads records of one schema."""

    schema: pa.Schema

    def read(self, records: pa.Array) -> pa.RecordBatch:
        """Raises UnfitError."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How a value names its schema: in a prefix, in which `number` finds the id.

    `size` tells how long the prefix is, by as much of it as there is: more than that, if it doesn't end there.
    """

    size: Callable[[bytes], int]
    number: Callable[[bytes], str | None]

    def head(self, value: bytes) -> bytes:
        """The prefix, as much of it as there is."""
        size = 0
        while size < (size := min(self.size(value[:size]), len(value))):
            pass
        return value[:size]


def _confluent(head: bytes) -> str | None:
    return str(int.from_bytes(head[1:5], "big")) if len(head) >= 5 and head[0] == 0 else None


def _numbers(head: bytes) -> tuple[list[int], bool]:
    """Of a prefix the zigzag varints behind the schema's id, and whether it has all that it says."""
    found: list[int] = []
    so_far = bits = 0
    for byte in head[5:]:
        so_far, bits = so_far | (byte & 0x7F) << bits, bits + 7
        if byte < 0x80:
            found.append((so_far >> 1) ^ -(so_far & 1))
            so_far = bits = 0
    return found, bool(found) and len(found) > found[0]


def _typed_size(head: bytes) -> int:
    found, whole = _numbers(head)
    if whole or (found and not 0 <= found[0] <= DEEPEST) or len(head) > 5 + 5 * DEEPEST:
        return len(head)
    return max(6, len(head) + 1) if not found else len(head) + found[0] + 1 - len(found)


def _typed(head: bytes) -> str | None:
    found, whole = _numbers(head)
    schema = _confluent(head)
    if schema is None or not whole or not 0 <= found[0] <= DEEPEST or min(found) < 0:
        return None
    return f"{schema}:{'.'.join(map(str, found[1:] or [0]))}"


DEEPEST = 32
"""How far message types may stand in each other."""
CONFLUENT = Framing(lambda _: 5, lambda head: _confluent(head) if len(head) == 5 else None)
CONFLUENT_PROTOBUF = Framing(_typed_size, _typed)
AZURE = Framing(lambda _: 32, lambda head: head.decode("ascii") if len(head) == 32 and head.isalnum() else None)
CONTENT = b"avro/binary+"


def azure_values(messages: Messages) -> pa.Array:
    """Each value behind its schema's id, which a header tells; without one alone."""
    pairs = zip(messages.values.to_pylist(), messages.headers, strict=True)
    return pa.array([_behind_id(value, headers) for value, headers in pairs], pa.binary())


def _behind_id(value: bytes | None, headers: Headers) -> bytes | None:
    for name, said in headers or ():
        if name == "content-type" and said is not None and said.startswith(CONTENT) and value is not None:
            return bytes(said[len(CONTENT) :]) + value
    return value


Readers = Callable[[str], Reader | str]
"""By a schema's id: its reader, or why there is none."""


class Framed:
    """A decoder; `known` are the columns that the policy has seen, `wanted` those of them that are read."""

    def __init__(
        self, framing: Framing, readers: Readers, known: pa.Schema, wanted: pa.Schema, unknown_keys: UnknownKeys
    ) -> None:
        self._framing, self._readers = framing, readers
        self._known, self._wanted = pa.struct(list(known)), wanted
        self._stops = unknown_keys is UnknownKeys.STOP

    def read(self, values: pa.Array, place: Place) -> Decoded:
        rejects, batches, numbers = [], [], []
        for reader, size, places in self._by_schema(values):
            if isinstance(reader, str):
                rejects += [(number, reader) for number in places.tolist()]
                continue
            self._classified(reader, place, int(places[0]))
            records = without_head(values.take(pa.array(places)), size)
            for found, of in halved(reader, self._wanted, records, places):
                if isinstance(found, str):
                    rejects += [(number, found) for number in of.tolist()]
                else:
                    batches.append(found)
                    numbers.append(of)
        rows, kept = _in_order(batches, numbers, self._wanted)
        told = tuple(Reject(values[number].as_py() or b"", place(number), why) for number, why in sorted(rejects))
        return Decoded(rows, kept.tolist() if told else None, told)

    def _by_schema(self, whole: pa.Array) -> Iterator[tuple[Reader | str, int, Any]]:
        """The reader of each schema, or what is wrong with it, the prefix's size, and the numbers of its values."""
        if whole.null_count:
            yield NO_VALUE, 0, np.flatnonzero(whole.is_null().to_numpy(zero_copy_only=False))
        todo = [(self._framing.size(b""), np.flatnonzero(whole.is_valid().to_numpy(zero_copy_only=False)))]
        while todo:
            size, places = todo.pop()
            heads = pc.binary_slice(whole.take(pa.array(places)), 0, size).dictionary_encode()
            of = heads.indices.to_numpy()
            for at, head in enumerate(heads.dictionary.to_pylist()):
                longer, these = self._framing.size(head), places[of == at]
                if longer > size == len(head):
                    todo.append((longer, these))
                    continue
                number = self._framing.number(head)
                yield UNFRAMED if number is None else self._readers(number), size, these

    def _classified(self, reader: Reader, place: Place, number: int) -> None:
        """Raises ContractError for a column that no policy has seen."""
        new = next(unseen(pa.struct(list(reader.schema)), self._known, ""), None)
        if new is not None and self._stops:
            raise ContractError(
                f"{place(number)} is of a schema with a column that the sample didn't show: nobody has classified it",
                got=new,
                do="classify it, once a run has seen it: `sample_rows` of the latest messages tell the columns; or set "
                "`unknown_keys: ignore` not to read it",
            )


def without_head(values: pa.Array, size: int) -> pa.Array:
    """The values, none of which is null or shorter, without their first bytes."""
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    data = np.frombuffer(values.buffers()[2], np.uint8)
    stays = np.zeros(len(data), np.bool_)
    stays[offsets[0] : offsets[-1]] = True
    stays[(offsets[:-1, None] + np.arange(size)).ravel()] = False
    ends = (offsets - offsets[0] - size * np.arange(len(offsets))).astype(np.int32)
    buffers = [None, pa.py_buffer(ends.tobytes()), pa.py_buffer(data[stays].tobytes())]
    return pa.Array.from_buffers(pa.binary(), len(values), buffers)


def unseen(said: pa.DataType, known: pa.DataType, path: str) -> Iterator[str]:
    """Paths of what one type has and the other doesn't."""
    if pa.types.is_struct(said) and pa.types.is_struct(known):
        names = {field.name: field.type for field in known}
        for field in said:
            here = f"{path}.{field.name}" if path else field.name
            if field.name in names:
                yield from unseen(field.type, names[field.name], here)
            elif untold.NAME not in names:
                yield here
    elif pa.types.is_list(said) and pa.types.is_list(known):
        yield from unseen(said.value_type, known.value_type, f"{path}[]")
    elif pa.types.is_map(said) and pa.types.is_map(known):
        yield from unseen(said.item_type, known.item_type, f"{path}{{}}")


def halved(
    reader: Reader, wanted: pa.Schema, records: pa.Array, places: Any
) -> Iterator[tuple[pa.RecordBatch | str, Any]]:
    """What is read of the records, and what is wrong with those that stand alone in failing; with their places."""
    try:
        found: pa.RecordBatch | str = fitted(reader.read(records), wanted)
    except UnfitError:
        found = UNFIT
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        found = OTHER
    if not isinstance(found, str) or len(records) == 1:
        yield found, places
        return
    half = len(records) // 2
    yield from halved(reader, wanted, records[:half], places[:half])
    yield from halved(reader, wanted, records[half:], places[half:])


def fitted(rows: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    """The wanted columns; those that the rows lack are null. Raises ArrowInvalid for a value that a type can't hold."""
    columns = [
        _fitted(rows.column(field.name), field.type)
        if field.name in rows.schema.names
        else pa.nulls(rows.num_rows, field.type)
        for field in wanted
    ]
    if not columns:
        return rows.select([])
    return pa.RecordBatch.from_arrays(columns, schema=wanted)


def _fitted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    if values.type == kind:
        return values
    if pa.types.is_struct(kind) and pa.types.is_struct(values.type):
        names = [field.name for field in values.type]
        parts = [
            _fitted(pc.struct_field(values, field.name), field.type)
            if field.name in names
            else pa.nulls(len(values), field.type)
            for field in kind
        ]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=values.is_null())
    if pa.types.is_list(kind) and pa.types.is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        items = _fitted(pc.list_flatten(values), kind.value_type)
        return pa.ListArray.from_arrays(pa.array(ends), items, type=kind, mask=values.is_null())
    if not _akin(values.type, kind):
        raise pa.ArrowInvalid(OTHER)
    return values.cast(kind)


def _akin(said: pa.DataType, kind: pa.DataType) -> bool:
    """Whether a cast keeps what a value means: Arrow's would read numbers out of texts, and give zones to times."""
    if pa.types.is_timestamp(said) and pa.types.is_timestamp(kind):
        return (said.tz is None) == (kind.tz is None)
    return said.id == kind.id or any(of(said) and of(kind) for of in (is_number, _is_bytes)) or pa.types.is_null(said)


def _is_bytes(kind: pa.DataType) -> bool:
    """Texts are bytes, too, to a schema that has become another."""
    return is_text(kind) or bool(pa.types.is_binary(kind))


def _in_order(batches: list[pa.RecordBatch], numbers: list[Any], wanted: pa.Schema) -> tuple[pa.RecordBatch, Any]:
    """The rows in the order of their values, and the values' numbers."""
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=wanted), np.array([], np.int64)
    if len(batches) == 1:
        return batches[0], numbers[0]
    rows, kept = pa.Table.from_batches(batches).combine_chunks().to_batches(), np.concatenate(numbers)
    order = np.argsort(kept)
    return rows[0].take(pa.array(order)), kept[order]
