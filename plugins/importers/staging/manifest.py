"""What an attempt wrote. Sealed, and written last: an attempt without a manifest doesn't exist."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from importers.core.model import Position, Staged
from importers.core.names import shown_type
from importers.core.widening import wider
from importers.exceptions import ContractError

NAME = "manifest"


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an attempt; `head` as `frames.head` has it."""

    name: str
    rows: int
    bytes: int
    head: str
    schema: pa.Schema

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "rows": self.rows,
            "bytes": self.bytes,
            "head": self.head,
            "schema": _schema_to_text(self.schema),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Part:
        return cls(**value | {"schema": _schema_from_text(value["schema"])})


@dataclass(frozen=True, slots=True)
class Manifest:
    """`parts` hold the rows in order; `rejects` what could not become a row; `schema` the widest of all parts."""

    schema: pa.Schema
    parts: tuple[Part, ...] = ()
    rejects: Part | None = None
    position: Position = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    @property
    def files(self) -> tuple[Part, ...]:
        return (*self.parts, self.rejects) if self.rejects else self.parts

    def staged(self, partition: int, attempt: str, uri: str, sealed: bytes) -> Staged:
        """The noun; `sealed` are the manifest's bytes as they lie in the store, whose SHA-256 pins the attempt."""
        return Staged(
            partition=partition,
            attempt=attempt,
            uri=uri,
            digest=hashlib.sha256(sealed).hexdigest(),
            rows=self.rows,
            schema=self.schema,
            rejected=self.rejects.rows if self.rejects else 0,
            position=self.position,
        )

    def encode(self) -> bytes:
        return json.dumps(
            {
                "schema": _schema_to_text(self.schema),
                "parts": [part.to_json() for part in self.parts],
                "rejects": self.rejects and self.rejects.to_json(),
                "position": dict(self.position),
            }
        ).encode()

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        value = json.loads(data)
        return cls(
            schema=_schema_from_text(value["schema"]),
            parts=tuple(Part.from_json(part) for part in value["parts"]),
            rejects=Part.from_json(value["rejects"]) if value["rejects"] else None,
            position=value["position"],
        )


def widest(schemas: Iterable[pa.Schema]) -> pa.Schema:
    """The schema that all of these can be cast to: Arrow's widening, dates as times, decimals where 64 bits are signed
    and not, and text where scalars have nothing in common.

    Raises ContractError where nested data meets another shape.
    """
    result = pa.schema([])
    for schema in schemas:
        by_name = {name: result.field(name) for name in result.names}
        for new in schema:
            old = by_name.get(new.name)
            by_name[new.name] = new if old is None else _wider(old, new)
        result = pa.schema(list(by_name.values()))
    return result


def joinable(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether nested types have a widest: objects of other fields do, a leaf of another kind has none."""
    try:
        widest(pa.schema([("", kind)]) for kind in (one, other))
    except ContractError:
        return False
    return True


_OF_64_BITS = pa.decimal128(20)
"""What holds each integer of 64 bits, signed or not: Arrow takes the signed type, which doesn't."""


def _wider(old: pa.Field, new: pa.Field) -> pa.Field:
    kinds = (old.type, new.type)
    if pa.uint64() in kinds and any(map(pa.types.is_signed_integer, kinds)):
        return pa.field(old.name, _OF_64_BITS, old.nullable or new.nullable)
    for one, other in ((old, new), (new, old)):
        if wider(one.type) == other.type:
            return pa.field(old.name, other.type, old.nullable or new.nullable)
    try:
        return pa.unify_schemas([pa.schema([old]), pa.schema([new])], promote_options="permissive").field(0)
    except pa.ArrowTypeError:
        if pa.types.is_nested(old.type) or pa.types.is_nested(new.type):
            raise ContractError(
                f"column '{old.name}' changes its shape within a partition",
                got=f"{shown_type(old.type)}, then {shown_type(new.type)}",
                do="read it as text, or drop the column",
            ) from None
        return pa.field(old.name, pa.string(), old.nullable or new.nullable)


def _schema_to_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def _schema_from_text(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
