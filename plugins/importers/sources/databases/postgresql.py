"""Tables, views and queries of a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from time import perf_counter
from typing import Any, ClassVar, Self, cast

import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL
from pydantic import Field, model_validator

from importers.core.model import JSON, Batch, Column, Health, Plan, Position, Reads, Reject, Stream, Window
from importers.core.names import Name, did_you_mean
from importers.core.source import Source
from importers.exceptions import ConfigError, ContractError, ImporterError
from importers.sources.databases import _pg_incremental as incremental
from importers.sources.databases._pg_catalogue import Relation, ask, of_query, raw, relations
from importers.sources.databases._pg_connection import Database
from importers.sources.databases._pg_query import UNFIT, Select
from importers.sources.databases._pg_types import arrived, reading
from importers.transport.sql import SqlConfig

TRIED = 10
"""Of how many streams `check` asks whether their rows can be read."""


class Read(StrEnum):
    """What a run without an interval reads."""

    FULL = "full"
    INCREMENTAL = "incremental"


class PostgresqlConfig(SqlConfig):
    """Say `tables`, or one `query`; by default each table and view of `table_schema` is a stream."""

    tables: tuple[str, ...] | None = Field(
        None, min_length=1, description="Tables and views, each a stream of its name.", examples=[["orders"]]
    )
    table_schema: str = Field("public", description="The schema of the tables.")
    query: str | None = Field(
        None,
        description="A SELECT, whose rows are one stream. It is put in brackets, so it must not name its own order.",
        examples=["select id, total from orders join customers using (customer_id)"],
    )
    stream: Name | None = Field(
        None, description="What to call the stream if there is one. By default the table's name, `rows` for a query."
    )
    read: Read = Field(
        Read.FULL,
        description="`full` reads everything each time. `incremental` reads what was inserted or updated since: of a "
        "table whatever its cursor says, of a view or query by the cursor. Deleted rows are seen by `full` alone.",
    )
    cursor: str | None = Field(
        None,
        description="A column that grows with each change of a row: a number or a moment. Backfills read intervals of "
        "it (a `timestamp` counts as UTC), and of two versions of a row the greater is the newer.",
    )
    partitions: int = Field(
        8, ge=1, le=64, description="How many parts a table is read in at most when it is read incrementally."
    )
    batch_rows: int = Field(100_000, ge=1, description="How many rows a batch has at most.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.tables is not None and self.query is not None:
            raise ValueError("give `tables` or `query`, not both")
        if self.query is not None and self.read is Read.INCREMENTAL and self.cursor is None:
            raise ValueError("a query is read incrementally by its `cursor`: name one")
        if self.stream is not None and self.query is None and len(self.tables or ()) != 1:
            raise ValueError("`stream` names one stream: give one of `tables`, or a `query`")
        return self


class Postgresql(Source[PostgresqlConfig]):
    """Rows come by binary COPY into Arrow (ADBC). A full read is one statement, and so one moment of the source.

    An incremental read of a table takes what transactions wrote that are over by now: no row is missed because it
    commits late. A transaction that stays open delays what commits meanwhile. Its parts are read side by side.

    What Arrow has no type for arrives as the server's text: intervals (ISO 8601), ranges, enums, network addresses,
    `numeric` without a precision, elements of most arrays. Infinite dates, NaN in a `numeric(p,s)` and arrays of
    several dimensions go to quarantine.

    JSON, and as JSON what has fields that no policy can name (composites, hstore, XML, arrays of any of these), is
    opaque: to `keep` such a column takes a `privacy.reason`. Better name the fields that are needed in a `query`.
    """

    title: ClassVar[str] = "PostgreSQL"
    config_model = PostgresqlConfig
    extra: ClassVar[str | None] = "postgresql"
    connection_type: ClassVar[str | None] = "postgres"
    environment: ClassVar[Mapping[str, str]] = {"url": "POSTGRESQL_SOURCE_URL"}
    split_above: ClassVar[int] = 16_384
    """Blocks (of 8 KiB) of a table above which a second part saves more than it costs."""

    @cached_property
    def database(self) -> Database:
        return Database(self, self.connection, self.config)

    def check(self) -> Health:
        begun = perf_counter()
        try:
            self.streams()
            found = self._relations()
            with self.database.questions("looking whether rows can be read") as connection:
                for relation in found[:TRIED]:
                    ask(connection, SQL("select from {} as t limit 0").format(raw(relation.source)))
        except ImporterError as error:
            return Health(False, str(error), perf_counter() - begun)
        return Health(True, f"{len(found)} streams", perf_counter() - begun)

    def streams(self) -> Sequence[Stream]:
        found = self._relations()
        if self.config.cursor is not None and not any(self.config.cursor in relation.columns for relation in found):
            known = [name for relation in found for name in relation.columns]
            do = did_you_mean(self.config.cursor, known)
            raise ConfigError(f"no stream has the cursor '{self.config.cursor}'", do=do)
        return [self._stream(relation) for relation in found]

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        relation = self._relation(stream)
        with self.database.questions("planning the read") as connection:
            if window.bounded:
                return incremental.plan_window(relation, stream, window)
            if self.config.read is Read.FULL:
                return Plan([{"oid": relation.oid}])
            if relation.has_transactions:
                parts = incremental.Parts(self.config.partitions, self.split_above)
                return incremental.plan_table(connection, relation, stream, position, parts)
            return incremental.plan_by_cursor(connection, relation, stream, position)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        part = cast("Mapping[str, Any]", partition)
        relation = self._relation(stream)
        if relation.oid != part["oid"]:
            raise ContractError("another table has its name now", do="start a new run", stream=stream.name)
        select, unfit = Select(relation, stream, part), False
        with self.database.rows("reading") as cursor:
            if "until" in part:
                incremental.check_reached(cursor, stream, part)
            cursor.execute(select.rows())
            for batch in cursor.fetch_record_batch():
                flags = batch.column(UNFIT)
                good = batch if not pc.any(flags).as_py() else batch.filter(pc.invert(flags))
                unfit = unfit or good is not batch
                yield from self._batches(good, select)
            if unfit:
                cursor.execute(select.rejects())
                for batch in cursor.fetch_record_batch():
                    yield Batch(pa.RecordBatch.from_pylist([], schema=stream.schema), _rejects(batch))

    def _batches(self, rows: pa.RecordBatch, select: Select) -> Iterator[Batch]:
        arrays = [arrived(rows.column(name), how) for name, how in select.readings.items()]
        named = pa.RecordBatch.from_arrays(arrays, names=list(select.readings))
        for start in range(0, named.num_rows, self.config.batch_rows):
            yield Batch(named.slice(start, self.config.batch_rows))

    def _relations(self, table: str | None = None) -> list[Relation]:
        """All that is configured, or one table."""
        name = self.config.stream
        with self.database.questions("looking at what there is") as connection:
            if self.config.query is not None:
                return [of_query(connection, self.config.query, name or "rows")]
            tables = [table] if table is not None else self.config.tables
            found = relations(connection, self.config.table_schema, tables)
        return [relation._replace(name=name or relation.name) for relation in found]

    def _relation(self, stream: Stream) -> Relation:
        """As it is now. Raises ContractError if it lacks what the stream was planned with."""
        tables = self.config.tables
        table = tables[0] if self.config.stream is not None and tables else stream.name
        try:
            (relation,) = self._relations(table)
        except ConfigError:
            raise ContractError(f"'{stream.name}' isn't there any more", do="see whether it was renamed") from None
        missing = [column.name for column in stream.columns if column.name not in relation.columns]
        if missing:
            what = f"the column '{missing[0]}' isn't there any more"
            raise ContractError(what, do="start a new run, which sees what there is", stream=stream.name)
        return relation

    def _stream(self, relation: Relation) -> Stream:
        columns = tuple(Column(name, reading(kind).type, None) for name, kind in relation.columns.items())
        reads = Reads.SNAPSHOT if self.config.read is Read.FULL else Reads.POSITION
        cursor = self.config.cursor if self.config.cursor in relation.columns else None
        return Stream(relation.name, columns, reads, relation.key, cursor)


def _rejects(rows: pa.RecordBatch) -> tuple[Reject, ...]:
    raw, places, reasons = (column.to_pylist() for column in rows.columns)
    return tuple(Reject(text.encode(), *about) for text, *about in zip(raw, places, reasons, strict=True))
