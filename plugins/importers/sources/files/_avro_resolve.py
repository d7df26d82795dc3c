"""Avro's schema resolution, by column: what was written with one schema, as another one reads it.

By the specification (1.12, "Schema Resolution"): fields are matched by name or by the reader's aliases, what the
reader lacks isn't read, what the writer lacks takes the reader's default, and numbers and texts are promoted. Where
both annotate a value, the reader's means what the writer's did, in its own unit or scale: 12.34 is 12.3400. Where one
of them does, the value is what was written, as the reader takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import types as t

from importers.exceptions import ContractError
from importers.sources._avro.schema import Field, Node, flat, gapped
from importers.sources.files._columns import APART

Turn: TypeAlias = Callable[[pa.Array], pa.Array]
"""The writer's wire values as the reader's."""

PROMOTED = {
    ("int", "long"),
    ("int", "float"),
    ("int", "double"),
    ("long", "float"),
    ("long", "double"),
    ("float", "double"),
    ("string", "bytes"),
    ("bytes", "string"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column of the reader comes from: the number of the writer's field, or None for a default."""

    source: int | None
    node: Node
    turn: Turn

    def values(self, wire: pa.Table) -> pa.Array:
        """Raises ContractError for a value that the reader's schema doesn't allow."""
        if self.source is None:
            return self.node.finish(self.turn(pa.nulls(wire.num_rows)))
        return self.node.finish(self.turn(wire.column(f"f{self.source}").combine_chunks()))


def resolved(writer: Node, reader: Node, path: str) -> Mapping[str, Column]:
    """The reader's columns by name. Raises ContractError if its schema can't read what the writer's describes."""
    found = {}
    places = _places(writer)
    for field in reader.children:
        source = _source(places, field)
        turn = _constant(field, path) if source is None else _turn(writer.children[source].node, field.node, path)
        found[field.name] = Column(source, field.node, turn)
    return found


def _places(writer: Node) -> dict[str, int]:
    return {child.name: place for place, child in enumerate(writer.children)}


def _source(places: Mapping[str, int], field: Field) -> int | None:
    return next((places[name] for name in (field.name, *field.aliases) if name in places), None)


def _refused(path: str, what: str, *, default: bool = False) -> ContractError:
    """`default`: whether one would do."""
    return ContractError(
        f"the file '{path}' can't be read by `reader_schema`: {what}",
        do=f"{'give it a default, ' if default else ''}correct the schema, or give such files {APART}",
    )


def _turn(writer: Node, reader: Node, path: str) -> Turn:
    if writer is reader:
        return lambda values: values
    if reader.kind == "union" or writer.kind == "union":
        return _union(writer, reader, path)
    if reader.kind == "nullable":
        if writer.kind == "null":
            return lambda values: pa.nulls(len(values), reader.wire)
        return _turn(writer.item if writer.kind == "nullable" else writer, reader.item, path)
    if writer.kind == "nullable":
        return _without_nulls(_turn(writer.item, reader, path), path)
    nested = {"record": _record, "enum": _enum, "array": _list, "map": _list}
    if reader.kind in nested and writer.kind == reader.kind:
        return nested[reader.kind](writer, reader, path)
    return _plain(writer, reader, path)


def _plain(writer: Node, reader: Node, path: str) -> Turn:
    if writer.kind != reader.kind and (writer.kind, reader.kind) not in PROMOTED:
        raise _refused(path, f"it was written with {writer.kind} where the schema has {reader.kind}")
    if writer.logical and reader.logical and writer.logical.type != reader.logical.type:
        return _rescaled(writer, reader, path)
    if writer.kind != reader.kind:
        return _promoted(reader, path)
    if writer.size != reader.size:
        raise _refused(path, f"a fixed type of {writer.size} bytes where the schema has {reader.size}")
    return lambda values: values


def _promoted(reader: Node, path: str) -> Turn:
    def turn(values: pa.Array) -> pa.Array:
        try:
            return values.cast(reader.wire, safe=t.is_string(reader.wire))
        except pa.ArrowInvalid:
            raise _refused(path, "it was written with bytes that aren't UTF-8 where the schema has string") from None

    return turn


def _rescaled(writer: Node, reader: Node, path: str) -> Turn:
    """Annotated values in the reader's unit or scale, each exactly; days and times of no zone have none in one."""
    came, kind = writer.type, reader.type
    both = f"{writer.kind} that is {came} where the schema has {reader.kind} that is {kind}"
    decimals = t.is_decimal(came) and t.is_decimal(kind) and writer.size == reader.size
    moments = t.is_timestamp(kind) and (t.is_date(came) or t.is_timestamp(came))
    if not (decimals or (t.is_time(came) and t.is_time(kind)) or (moments and getattr(came, "tz", None) == kind.tz)):
        raise _refused(path, f"it was written with {both}")

    def turn(values: pa.Array) -> pa.Array:
        meant = writer.finish(values)
        try:
            found = meant.cast(kind)
        except pa.ArrowInvalid:
            raise _refused(path, f"it has a value that isn't one of both, written with {both}") from None
        return _as_bytes(found, reader) if decimals else found.cast(reader.wire)

    return turn


def _as_bytes(values: pa.Array, node: Node) -> pa.Array:
    """Decimals as the wire has them, big-endian, in as many bytes as Arrow takes or the fixed type has."""
    width = values.type.bit_width // 8
    data = np.frombuffer(values.buffers()[1], np.uint8)[values.offset * width :][: len(values) * width]
    digits = data.reshape(-1, width)[:, ::-1]
    size = node.size or width
    sign = np.where(digits[:, :1] >= 0x80, 0xFF, 0).astype(np.uint8).repeat(max(size - width, 0), axis=1)
    made = np.hstack([sign, digits])[:, -size:]
    valid = values.is_valid().buffers()[1] if values.null_count else None
    found = pa.Array.from_buffers(pa.binary(size), len(values), [valid, pa.py_buffer(made.tobytes())])
    return found.cast(node.wire)


def _union(writer: Node, reader: Node, path: str) -> Turn:
    same = writer.kind == reader.kind and [c.name for c in writer.children] == [c.name for c in reader.children]
    if not same:
        raise _refused(path, "a union of several types is only read by the same union")
    branches = zip(writer.parts, reader.parts, strict=True)
    return _of_structs(reader, [(number, _turn(w.node, r.node, path)) for (number, w), (_, r) in branches])


def _record(writer: Node, reader: Node, path: str) -> Turn:
    turns: list[tuple[int | None, Turn]] = []
    places = _places(writer)
    for field in reader.children:
        source = _source(places, field)
        turn = _constant(field, path) if source is None else _turn(writer.children[source].node, field.node, path)
        turns.append((source, turn))
    return _of_structs(reader, turns)


def _of_structs(reader: Node, turns: Sequence[tuple[int | None, Turn]]) -> Turn:
    fields = list(reader.wire)

    def turn(values: pa.Array) -> pa.Array:
        parts = [
            part(pa.nulls(len(values)) if source is None else values.field(f"f{source}")).cast(field.type)
            for (source, part), field in zip(turns, fields, strict=True)
        ]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=values.is_null())

    return turn


def _enum(writer: Node, reader: Node, path: str) -> Turn:
    spare = reader.symbols.index(reader.default) if reader.default in reader.symbols else None
    places = pa.array([reader.symbols.index(s) if s in reader.symbols else spare for s in writer.symbols], pa.int32())

    def turn(values: pa.Array) -> pa.Array:
        try:
            found = places.take(values)
        except pa.ArrowIndexError:
            raise ContractError("an enum has a value that its schema doesn't name") from None
        if found.null_count > values.null_count:
            raise _refused(
                path, "an enum has a value that the schema's enum lacks, and that has no default", default=True
            )
        return found

    return turn


def _list(writer: Node, reader: Node, path: str) -> Turn:
    item = _turn(writer.item, reader.item, path)

    def turn(values: pa.Array) -> pa.Array:
        offsets, items = flat(values)
        if reader.kind == "map":
            parts = [items.field(0), item(items.field(1))]
            made = pa.StructArray.from_arrays(parts, fields=list(reader.wire.value_type))
        else:
            made = item(items)
        return pa.ListArray.from_arrays(gapped(offsets, values), made, type=reader.wire)

    return turn


def _without_nulls(turn: Turn, path: str) -> Turn:
    def checked(values: pa.Array) -> pa.Array:
        if values.null_count:
            raise _refused(path, "a null where the schema allows none")
        return turn(values)

    return checked


def _constant(field: Field, path: str) -> Turn:
    if not field.has_default:
        raise _refused(path, f"it lacks the field '{field.name}', which has no default", default=True)
    node = field.node
    if node.kind == "union":
        raise _refused(path, f"the field '{field.name}' is missing, and a default of several types isn't supported")
    try:
        value = pa.scalar(_wire_value(node, field.default), node.wire)
    except (pa.ArrowException, ValueError, TypeError, KeyError, AttributeError):
        raise _refused(path, f"the default of '{field.name}' isn't of its type") from None
    return lambda values: pa.repeat(value, len(values))


def _wire_value(node: Node, said: Any) -> Any:
    """A default as JSON says it (bytes are text of code points up to 255), as the wire would have held it."""
    if node.kind == "nullable":
        return None if said is None else _wire_value(node.item, said)
    if node.kind in ("bytes", "fixed"):
        return said.encode("latin-1")
    if node.kind == "enum":
        return node.symbols.index(said)
    if node.kind == "array":
        return [_wire_value(node.item, one) for one in said]
    if node.kind == "map":
        return [{"f0": key, "f1": _wire_value(node.item, one)} for key, one in said.items()]
    if node.kind == "record":
        return {
            f"f{number}": _wire_value(child.node, said.get(child.name, child.default))
            for number, child in enumerate(node.children)
        }
    return said
