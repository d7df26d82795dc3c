"""Avro records of one schema, each the value of a message, as columns."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.registry import optional
from importers.exceptions import ContractError
from importers.sources._avro.blocks import UNREADABLE, container
from importers.sources._avro.schema import Parser, wire_schema
from importers.sources._types import loadable
from importers.sources.streaming._registered import UnfitError

MARK = 8
"""Bytes behind each record by which it is seen that it ends there."""


class AvroReader:
    """Decodes many records at once, as one block of a file, by polars where it knows the types, else by fastavro.

    Records say nothing of where they end: one that is too short would eat the next one's bytes. So each is followed
    by a mark that nobody can foresee, and the marks must come out where they were put in.
    """

    def __init__(self, text: str, parts: Sequence[str], name: str) -> None:
        """Raises ContractError for a schema that columns can't hold. `name` is what people call it."""
        parser = Parser(name)
        for part in parts:
            parser.learn(part)
        node = parser.parse(text)
        wire = wire_schema(node)
        self._mark = f"f{len(wire['fields'])}"
        kind = {"type": "fixed", "name": "mark", "size": MARK}
        self._wire_schema = json.dumps(
            {**wire, "fields": [*wire["fields"], {"name": self._mark, "type": kind}]}
        ).encode()
        fields = [(f"f{number}", child.node.wire) for number, child in enumerate(node.children)]
        self._wire = pa.schema([*fields, (self._mark, pa.binary(MARK))])
        self._node = node
        self.schema = pa.schema([(child.name, loadable(child.node.type)) for child in node.children])

    def read(self, records: pa.Array) -> pa.RecordBatch:
        """A row for each record. Raises UnfitError if one of them isn't of the schema."""
        first = np.frombuffer(secrets.token_bytes(MARK), np.uint64)[0]
        marks = _of_marks(first + np.arange(len(records), dtype=np.uint64))
        joined = pc.binary_join_element_wise(records, marks.cast(pa.binary()), b"")
        found = self._decoded(len(records), joined.buffers()[2].to_pybytes() if joined.buffers()[2] else b"")
        if found.num_rows != len(records) or not found.column(self._mark).combine_chunks().equals(marks):
            raise UnfitError
        columns = []
        for number, (child, field) in enumerate(zip(self._node.children, self.schema, strict=True)):
            try:
                columns.append(child.node.finish(_one(found.column(f"f{number}"))).cast(field.type))
            except (ContractError, pa.ArrowInvalid):
                raise UnfitError from None
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _decoded(self, rows: int, data: bytes) -> pa.Table:
        file = BytesIO(container(self._wire_schema, rows, data))
        try:
            if self._node.quick:
                return pl.read_avro(file).to_arrow().select(self._wire.names).cast(self._wire)
            records: list[Any] = list(optional("fastavro", "kafka").reader(file))
            return pa.Table.from_pylist(records, schema=self._wire)
        except UNREADABLE:
            raise UnfitError from None


def _of_marks(numbers: Any) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(MARK), len(numbers), [None, pa.py_buffer(numbers.tobytes())])


def _one(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
