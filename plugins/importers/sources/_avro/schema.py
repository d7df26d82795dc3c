"""Avro schemas as Arrow types, and as a *wire schema* that means the same bytes to a reader that knows less.

Avro's encoding of several types is that of simpler ones: a map is written as an array of records of key and value, an
enum as an int, a branch of a union as a record of one field, and a logical type as what it annotates (Avro 1.12
specification, "Binary encoding"). A wire schema says it in those, so that any quick reader of the simple types will do;
`Node.finish` then gives the columns their meaning, column by column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from importers.exceptions import ContractError
from importers.sources._avro.logical import LOGICAL, Logical

Json: TypeAlias = Any
"""What `json.loads` gives of a schema."""
PRIMITIVES: dict[str, pa.DataType] = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
}
DEEPEST = 32
"""Levels of nesting that are read."""
LARGEST = 10_000
"""Types that a schema may describe, a named one counted wherever it stands: columns know no names."""


@dataclass(frozen=True, slots=True)
class Node:
    """A type of a schema. `kind` is a primitive's name, or record, enum, array, map, fixed, nullable or union."""

    kind: str
    name: str = ""
    children: tuple[Field, ...] = ()
    symbols: tuple[str, ...] = ()
    size: int = 0
    first: bool = True
    """Of a nullable: whether null is its first branch."""
    default: Any = None
    """Of an enum: the symbol for those that a reader's schema lacks."""
    logical: Logical | None = None
    aliases: tuple[str, ...] = ()

    @property
    def item(self) -> Node:
        """What an array, a map's values or a nullable hold."""
        return self.children[0].node

    @property
    def parts(self) -> list[tuple[int, Field]]:
        """A record's fields or a union's branches that hold something, with their numbers."""
        return [
            (n, child) for n, child in enumerate(self.children) if self.kind != "union" or child.node.kind != "null"
        ]

    @property
    def quick(self) -> bool:
        """Whether polars reads the wire schema: it knows neither unions of several types nor the null type."""
        return self.kind not in ("union", "null") and all(child.node.quick for child in self.children)

    @property
    def wire(self) -> pa.DataType:
        """The Arrow type of what is read by the wire schema. Fields are numbered, whatever they are called."""
        if self.kind in PRIMITIVES:
            return PRIMITIVES[self.kind]
        if self.kind == "enum":
            return pa.int32()
        if self.kind == "fixed":
            return pa.binary(self.size)
        if self.kind == "nullable":
            return self.item.wire
        if self.kind == "array":
            return pa.list_(self.item.wire)
        if self.kind == "map":
            return pa.list_(pa.struct([("f0", pa.string()), ("f1", self.item.wire)]))
        return pa.struct([(f"f{number}", child.node.wire) for number, child in self.parts])

    @property
    def type(self) -> pa.DataType:
        """The Arrow type that it means."""
        if self.logical:
            return self.logical.type
        if self.kind in PRIMITIVES or self.kind == "fixed":
            return self.wire
        if self.kind == "enum":
            return pa.string()
        if self.kind == "nullable":
            return self.item.type
        if self.kind == "array":
            return pa.list_(self.item.type)
        if self.kind == "map":
            return pa.map_(pa.string(), self.item.type)
        return pa.struct([(child.name, child.node.type) for _, child in self.parts])

    def finish(self, values: pa.Array) -> pa.Array:
        """What the wire's values mean. Raises ContractError for a value that the schema doesn't allow."""
        if self.logical:
            return self.logical.finish(values)
        if self.kind == "nullable":
            return self.item.finish(values)
        if self.kind == "enum":
            return _symbols(values, self.symbols)
        if self.kind in ("array", "map"):
            return self._listed(values)
        if self.kind in ("record", "union"):
            found = [child.node.finish(values.field(f"f{number}")) for number, child in self.parts]
            return _struct(found, [child.name for _, child in self.parts], values)
        return values

    def _listed(self, values: pa.Array) -> pa.Array:
        offsets, items = flat(values)
        offsets = gapped(offsets, values)
        if self.kind == "array":
            return pa.ListArray.from_arrays(offsets, self.item.finish(items), type=self.type)
        return pa.MapArray.from_arrays(offsets, items.field(0), self.item.finish(items.field(1)), type=self.type)

    @property
    def zeros(self) -> int:
        """How many zero bytes make a value of the type: false, 0, an empty text, no items, a union's first branch."""
        if self.kind in ("record", "union", "nullable"):
            parts = [child.node.zeros for child in self.children]
            if self.kind == "record":
                return sum(parts)
            return 1 if self.kind == "nullable" and self.first else 1 + parts[0]
        return {"null": 0, "float": 4, "double": 8, "fixed": self.size}.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Field:
    """A record's field, or an unnamed part of a type. `default` only counts in a reader's schema, if `has_default`."""

    name: str
    node: Node
    default: Any = None
    has_default: bool = False
    aliases: tuple[str, ...] = field(default=())


def flat(values: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """Offsets counted anew from 0, and the items: whatever lies beneath a null or outside a slice is left out."""
    lengths = pc.list_value_length(values).fill_null(0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])
    return offsets, values.flatten()


def gapped(offsets: pa.Array, values: pa.Array) -> pa.Array:
    """The offsets with nulls where the values are null, as Arrow takes them."""
    if not values.null_count:
        return offsets
    begins = pc.if_else(values.is_valid(), offsets[:-1], pa.scalar(None, pa.int32()))
    return pa.concat_arrays([begins, offsets[-1:]])


def _struct(found: Sequence[pa.Array], names: Sequence[str], values: pa.Array) -> pa.Array:
    fields = [pa.field(name, array.type) for name, array in zip(names, found, strict=True)]
    if not fields:
        return pa.array([{}] * len(values), pa.struct([]))
    return pa.StructArray.from_arrays(list(found), fields=fields, mask=values.is_null())


def _symbols(values: pa.Array, symbols: Sequence[str]) -> pa.Array:
    try:
        return pa.array(symbols, pa.string()).take(values)
    except pa.ArrowIndexError:
        raise ContractError("an enum has a value that its schema doesn't name") from None


class Parser:
    """Reads one schema: names are resolved, a recursive one is refused, since columns have an end."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, tuple[Json, str]] = {}
        self._open: list[str] = []
        self._nodes = 0

    def parse(self, text: bytes | str) -> Node:
        """The record that a schema describes. Raises ContractError if it is none that columns can hold."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong("is not JSON") from None
        return self.parse_said(said)

    def learn(self, text: str) -> None:
        """The named types of another schema, for those that only name them. Raises ContractError."""
        try:
            self._node(json.loads(text), "", 0)
        except (ValueError, RecursionError):
            raise self._wrong("refers to one that is not JSON") from None

    def parse_said(self, said: Json) -> Node:
        node = self._node(said, "", 0)
        if node.kind != "record" or not node.zeros:
            raise self._wrong("describes no records with fields")
        names = [child.name for child in node.children]
        if len(set(names)) < len(names):
            raise self._wrong("has a field's name twice")
        return node

    def _wrong(self, what: str) -> ContractError:
        return ContractError(f"the Avro schema of '{self._path}' {what}", do="have the file written with another one")

    def _node(self, said: Json, space: str, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._wrong(f"is nested in more than {DEEPEST} levels")
        self._nodes += 1
        if self._nodes > LARGEST:
            raise self._wrong(f"describes more than {LARGEST:,} types, those of its names counted wherever they stand")
        if isinstance(said, list):
            return self._union(said, space, depth)
        if isinstance(said, str):
            return self._named(said, space, depth)
        if not isinstance(said, dict) or "type" not in said:
            raise self._wrong("holds something that is no type")
        kind = said["type"]
        if isinstance(kind, (dict, list)):
            return self._node(kind, space, depth + 1)
        if kind in ("record", "error", "enum", "fixed"):
            return self._definition(said, space, depth)
        if kind in ("array", "map"):
            inner = self._node(said.get("items" if kind == "array" else "values"), space, depth + 1)
            if kind == "array" and not inner.zeros:
                raise self._wrong("has an array of items that take no bytes")
            return Node(kind, children=(Field("", inner),))
        return self._logical(self._named(kind, space, depth), said)

    def _named(self, name: Any, space: str, depth: int) -> Node:
        if name in PRIMITIVES:
            return Node(name)
        full = name if "." in str(name) or not space else f"{space}.{name}"
        full = full if full in self._known else name
        if full not in self._known:
            raise self._wrong("names a type that it doesn't describe")
        if full in self._open:
            raise self._wrong("is recursive: a record holds itself, and columns have an end")
        return self._definition(*self._known[full], depth + 1)

    def _definition(self, said: Json, space: str, depth: int) -> Node:
        name = str(said.get("name", ""))
        space = name.rpartition(".")[0] or said.get("namespace", space)
        short = name.rpartition(".")[2]
        full = f"{space}.{short}" if space else short
        self._known[full] = (said, space)
        aliases = tuple(str(alias).rpartition(".")[2] for alias in said.get("aliases", ()))
        if said["type"] == "enum":
            return Node("enum", short, symbols=tuple(said.get("symbols", ())), default=said.get("default"))
        if said["type"] == "fixed":
            return self._logical(Node("fixed", short, size=self._size(said)), said)
        self._open.append(full)
        fields = tuple(self._field(one, space, depth) for one in said.get("fields", ()))
        self._open.pop()
        return Node("record", short, fields, aliases=aliases)

    def _size(self, said: Json) -> int:
        size = said.get("size")
        if not isinstance(size, int) or not 0 < size <= 1 << 20:
            raise self._wrong("has a fixed type of a size that can't be")
        return size

    def _field(self, said: Json, space: str, depth: int) -> Field:
        if not isinstance(said, dict) or not isinstance(said.get("name"), str):
            raise self._wrong("has a field without a name")
        # older writers annotate the field in place of its type: that isn't one, by the specification
        node = self._node(said.get("type"), space, depth + 1)
        aliases = tuple(map(str, said.get("aliases", ())))
        return Field(said["name"], node, said.get("default"), "default" in said, aliases)

    def _union(self, said: Sequence[Json], space: str, depth: int) -> Node:
        branches = [self._node(one, space, depth + 1) for one in said]
        nulls = [number for number, branch in enumerate(branches) if branch.kind == "null"]
        if len(branches) == 2 and len(nulls) == 1:
            return Node("nullable", children=(Field("", branches[1 - nulls[0]]),), first=nulls == [0])
        if not branches or len(nulls) > 1 or any(branch.kind in ("union", "nullable") for branch in branches):
            raise self._wrong("has a union that can't be")
        names = [branch.name or branch.kind for branch in branches]
        names = [name if names.count(name) == 1 else f"{name}_{number}" for number, name in enumerate(names)]
        return Node("union", children=tuple(map(Field, names, branches)))

    def _logical(self, node: Node, said: Mapping[str, Json]) -> Node:
        """What isn't known, or not allowed where it stands, is to be ignored: so the specification says."""
        make = LOGICAL.get((node.kind, str(said.get("logicalType"))))
        logical = make(said, node.size) if make else None
        return Node(node.kind, node.name, size=node.size, logical=logical) if logical else node


def wire_schema(node: Node) -> Json:
    """The record's fields as the wire schema says them: f0, f1 …"""
    names = (f"r{number}" for number in count())
    return _wire(node, names)


def _wire(node: Node, names: Iterator[str]) -> Json:
    simple: dict[str, Callable[[], Json]] = {
        "enum": lambda: "int",
        "fixed": lambda: {"type": "fixed", "name": next(names), "size": node.size},
        "array": lambda: {"type": "array", "items": _wire(node.item, names)},
        "map": lambda: {"type": "array", "items": _record(names, [Node("string"), node.item])},
        "nullable": lambda: ["null", _wire(node.item, names)] if node.first else [_wire(node.item, names), "null"],
        "record": lambda: _record(names, [child.node for child in node.children]),
        "union": lambda: _branches(node, names),
    }
    return simple.get(node.kind, lambda: node.kind)()


def _record(names: Iterator[str], nodes: Sequence[Node]) -> Json:
    fields = [{"name": f"f{number}", "type": _wire(node, names)} for number, node in enumerate(nodes)]
    return {"type": "record", "name": next(names), "fields": fields}


def _branches(node: Node, names: Iterator[str]) -> Json:
    """Each branch as a record whose one field is called after it: what is read says which it was."""
    return [
        "null"
        if child.node.kind == "null"
        else {
            "type": "record",
            "name": next(names),
            "fields": [{"name": f"f{number}", "type": _wire(child.node, names)}],
        }
        for number, child in enumerate(node.children)
    ]
