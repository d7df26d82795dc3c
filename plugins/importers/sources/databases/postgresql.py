"""Tables, views and queries of a PostgreSQL database."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, ClassVar, Self, cast

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg.sql import SQL
from pydantic import Field, model_validator

from importers.core.closing import close_kept
from importers.core.model import JSON, Batch, Column, LoadMode, Plan, Position, Reads, Reject, Stream, Window
from importers.core.names import Name, did_you_mean
from importers.core.source import Source
from importers.exceptions import ConfigError, ContractError, ImporterError
from importers.sources.databases import _pg_changes as changes
from importers.sources.databases import _pg_incremental as incremental
from importers.sources.databases import _pg_ranges as ranges
from importers.sources.databases import _pg_replication as replication
from importers.sources.databases._pg_catalogue import Relation, ask, of_query, raw, relations
from importers.sources.databases._pg_connection import Database
from importers.sources.databases._pg_partitions import PARTITION
from importers.sources.databases._pg_query import UNFIT, Select
from importers.sources.databases._pg_replication import Names
from importers.sources.databases._pg_types import arrived, reading
from importers.transport.sql import SqlConfig

log = logging.getLogger(__name__)

TRIED = 10
"""Of how many streams `reach` asks whether their rows can be read."""


class Read(StrEnum):
    """What a run without an interval reads."""

    FULL = "full"
    INCREMENTAL = "incremental"
    CDC = "cdc"


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
        "table whatever its cursor says, of a view or query by the cursor. `cdc` (change data capture) reads all of a "
        "table once, then each insert, update and delete from the server's log. `incremental` sees no deleted rows.",
    )
    cursor: str | None = Field(
        None,
        description="A column that grows with each change of a row: a number or a moment. Backfills read intervals of "
        "it (a `timestamp` counts as UTC), and of two versions of a row the greater is the newer.",
    )
    create_replication: bool = Field(
        False,
        description="With `cdc`: make a table's publication and slot if they are missing. The role has to own the "
        "table then, and to have the attribute REPLICATION. A slot keeps the server's log until it is read or dropped.",
    )
    publication: str | None = Field(
        None,
        description="With `cdc`: the publication that has the tables. By default one of each table, named as its slot.",
    )
    slot_prefix: Name = Field(
        "importers",
        description="With `cdc`: what the slots' names begin with. Two installations that read one server with "
        "the same tenants need different ones.",
    )
    max_changes: int = Field(
        1_000_000,
        ge=1,
        description="With `cdc`: after how many changes a run stops, once the transaction is over. The next goes on.",
    )
    partitions: int = Field(
        8,
        ge=1,
        le=1000,
        description="How many parts a table is read in at most when it is read incrementally, or in full and cut by "
        "`partition_by`. A part that fails is read again from its beginning.",
    )
    partition_by: str | None = Field(
        None,
        description="With `read: full`: read a big table side by side, in ranges of this column: an integer, date, "
        "timestamp, UUID or text that no update changes, that is kept and concerns nobody (where rows are persons', no "
        "text, and nothing that is called like an identifier of one). `primary key` is each "
        "table's own, or what that begins with. By default a table is one part, and all of one moment; so is each "
        "range, of its own.",
        examples=["primary key", "order_id"],
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
        if self.partition_by is not None and (self.query is not None or self.read is not Read.FULL):
            raise ValueError("`partition_by` cuts a table that is read in full: no query, no other `read`")
        if self.read is Read.CDC and (self.query is not None or self.cursor is not None):
            raise ValueError("`read: cdc` reads tables, and knows by itself which change is newer: no query, no cursor")
        return self


class Postgresql(Source[PostgresqlConfig]):
    """Rows come by binary COPY into Arrow (ADBC). A full read is one statement, and so one moment of the source.
    With `partition_by` it is one statement, and moment, for each range of keys: each key is there once, as it then was;
    what one transaction wrote to two ranges may be seen in one of them.

    An incremental read of a table takes what transactions wrote that are over by now: no row is missed because it
    commits late. A transaction that stays open delays what commits meanwhile. Its parts are read side by side.

    What Arrow has no type for arrives as the server's text: intervals (ISO 8601), ranges, enums, network addresses,
    `numeric` without a precision, elements of most arrays. Infinite dates, NaN in a `numeric(p,s)` and arrays of
    several dimensions go to quarantine.

    JSON, and as JSON what has fields that no policy can name (composites, hstore, XML, arrays of any of these), is
    opaque: to `keep` such a column takes a `privacy.reason`. Better name the fields that are needed in a `query`.

    `read: cdc` takes changes from a logical replication slot of the table's own, by pgoutput. The slot moves once the
    warehouse has committed. Of a deleted row its key stays, and whose it was. A table that was truncated, made anew, or
    got a column with a value is read whole again.

    Changes need `wal_level = logical` on the primary server, a role with the attribute REPLICATION, a publication and a
    slot for each table (the error has the statements; `create_replication` makes them), and `replica identity full` of
    a table with long values that are kept. The embedded PostgreSQL is such a server.
    """

    title: ClassVar[str] = "PostgreSQL"
    config_model = PostgresqlConfig
    partition_model: ClassVar[Any] = PARTITION
    extra: ClassVar[str | None] = "postgresql"
    connection_type: ClassVar[str | None] = "postgres"
    environment: ClassVar[Mapping[str, str]] = {"url": "POSTGRESQL_SOURCE_URL"}
    split_above: ClassVar[int] = 16_384
    """Blocks (of 8 KiB) of a table above which a second part saves more than it costs."""

    @classmethod
    def from_hook(cls, hook: Any) -> Mapping[str, JSON]:
        """The token that takes the password's place where the connection says `iam`, of AWS or of Azure."""
        connection = hook.get_connection(hook.get_conn_id())
        if not connection.extra_dejson.get("iam"):
            return {}
        login, token, port = hook.get_iam_token(connection)
        return {"login": login, "password": token, "port": port}

    @cached_property
    def database(self) -> Database:
        return Database(self, self.connection, self.config)

    def close(self) -> None:
        close_kept(self, "database")

    def reach(self) -> str:
        self.streams()
        found = self._relations()
        with self.database.questions("looking whether rows can be read") as connection:
            for relation in found[:TRIED]:
                ask(connection, SQL("select from {} as t limit 0").format(raw(relation.source)))
            kept = self._kept(connection, found) if self.config.read is Read.CDC else []
        return ", ".join([f"{len(found)} streams", *kept])

    def streams(self) -> Sequence[Stream]:
        found = self._relations()
        known = [name for relation in found for name in relation.columns]
        for column in (self.config.cursor, self.config.partition_by):
            if column not in (None, ranges.PRIMARY_KEY, *known):
                raise ConfigError(f"no stream has the column '{column}'", do=did_you_mean(str(column), known))
        return [self._stream(relation) for relation in found]

    def reads(self) -> Reads:
        return Reads.SNAPSHOT if self.config.read is Read.FULL else Reads.POSITION

    def named(self) -> Sequence[str]:
        if self.config.stream is not None:
            return [self.config.stream]
        return ["rows"] if self.config.query is not None else self.config.tables or ()

    def suits(self, mode: LoadMode) -> None:
        if self.config.read is Read.CDC and mode not in (LoadMode.MERGE, LoadMode.HISTORY):
            what = f"rows that change and go can't be loaded in mode '{mode}'"
            raise ConfigError(what, do="set load.mode: merge or history; or read it in full")

    def subscribe(self, stream: Stream) -> None:
        if self.config.read is not Read.CDC or not self.config.create_replication:
            return
        names = self._names(self._relation(stream))
        with self.database.changing("making a publication") as connection:
            replication.server(connection)
            replication.publish(connection, names)
        with self.database.changing("making a slot, which waits for the transactions that run") as connection:
            replication.reserve(connection, names)

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        relation = self._relation(stream)
        if self.config.read is Read.CDC:
            changes.check_asked(stream, window)
            with self.database.questions("looking at the slot, which takes the attribute REPLICATION") as connection:
                names, most = self._names(relation), self.config.max_changes
                if self.config.create_replication and replication.find_slot(connection, names) is None:
                    return changes.foreseen(relation, position)
                return changes.plan(connection, relation, stream, position, names, most)
        with self.database.questions("planning the read") as connection:
            if window.bounded:
                return incremental.plan_window(relation, stream, window)
            parts = incremental.Parts(self.config.partitions, self.split_above)
            if self.config.read is Read.FULL:
                return ranges.plan_ranges(connection, relation, stream, self.config.partition_by, parts)
            if relation.has_transactions:
                return incremental.plan_table(connection, relation, stream, position, parts)
            return incremental.plan_by_cursor(connection, relation, stream, position)

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        part = cast("Mapping[str, Any]", partition)
        relation = self._relation(stream)
        if relation.oid != part["oid"]:
            raise ContractError("another table has its name now", do="start a new run", stream=stream.name)
        if "told" in part:
            yield from self._changes(relation, stream, part)
            return
        select, unfit, version = Select(relation, stream, part), False, None
        with self.database.rows("reading") as cursor:
            if "until" in part:
                incremental.check_reached(cursor, stream, part)
            if "reached" in part:
                ranges.check_reached(cursor, stream, part)
            if "whole" in part:
                position, version = changes.seen_now(cursor, stream, part["whole"])
                yield Batch(pa.RecordBatch.from_pylist([], schema=stream.schema), position=position)
            cursor.execute(select.rows())
            for batch in cursor.fetch_record_batch():
                flags = batch.column(UNFIT)
                good = batch if not pc.any(flags).as_py() else batch.filter(pc.invert(flags))
                unfit = unfit or good is not batch
                yield from self._batches(good, select, version)
            if unfit:
                cursor.execute(select.rejects())
                for batch in cursor.fetch_record_batch():
                    yield Batch(pa.RecordBatch.from_pylist([], schema=stream.schema), _rejects(batch))

    def acknowledge(self, position: Position) -> None:
        """Let the server drop its log up to there. If it can't now, the next plan does it."""
        lane = cast("Mapping[str, Any]", position.get("") or {})
        if "slot" not in lane:
            return
        try:
            with self.database.questions("moving the slot") as connection:
                replication.advance(connection, lane["slot"], lane["lsn"])
        except ImporterError as error:
            log.warning("%s: the slot %s stays where it was: %s", self.tenant, lane["slot"], error)

    def _changes(self, relation: Relation, stream: Stream, part: Mapping[str, Any]) -> Iterator[Batch]:
        names = self._names(relation)
        with self.database.questions("reading changes") as connection:
            typed = replication.table(connection, relation).typed
            reader = changes.Reader(relation, stream, part, typed)
            with self.database.rows("reading changes") as cursor:
                cursor.execute(reader.query(names))
                for batch in cursor.fetch_record_batch():
                    yield from reader.batches(batch.column("data"), self.config.batch_rows, connection)

    def _names(self, relation: Relation) -> Names:
        slot = replication.slot_name(self.config.slot_prefix, self.tenant, self.pipeline, relation.source)
        return Names(slot, self.config.publication or slot, relation.source)

    def _kept(self, connection: psycopg.Connection, found: Sequence[Relation]) -> list[str]:
        """What the server keeps for each table's slot. Raises ImporterError for one that is missing or lost."""
        replication.server(connection)
        told = []
        for relation in found:
            slot = replication.find_slot(connection, self._names(relation))
            if slot is not None or not self.config.create_replication:
                told.append(f"{relation.name}: {replication.check_kept(slot, self._names(relation)).told}")
        return told

    def _batches(self, rows: pa.RecordBatch, select: Select, version: int | None) -> Iterator[Batch]:
        arrays = [arrived(rows.column(name), how) for name, how in select.readings.items()]
        named = changes.versioned(pa.RecordBatch.from_arrays(arrays, names=list(select.readings)), version)
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
        if self.config.read is Read.CDC:
            found = _tables_alone(found, chosen=tables is not None)
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
        by_changes = self.config.read is Read.CDC
        left_out = relation.generated if by_changes else frozenset[str]()  # which the log doesn't have
        columns = tuple(
            Column(name, reading(kind).type, None) for name, kind in relation.columns.items() if name not in left_out
        )
        cursor = self.config.cursor if self.config.cursor in relation.columns else None
        mode = LoadMode.MERGE if by_changes else LoadMode.APPEND
        cut_by = ranges.cut_by(relation, self.config.partition_by)
        return Stream(relation.name, columns, self.reads(), relation.key, cursor, load_mode=mode, cut_by=cut_by)


def _tables_alone(found: Sequence[Relation], *, chosen: bool) -> list[Relation]:
    """Raises ConfigError for a view that was `chosen` by name: it has no changes."""
    views = [relation.name for relation in found if not relation.has_transactions]
    if views and chosen:
        raise ConfigError(f"'{views[0]}' isn't a table: the log has no changes of it", do="read it in full")
    return [relation for relation in found if relation.has_transactions]


def _rejects(rows: pa.RecordBatch) -> tuple[Reject, ...]:
    raw, places, reasons = (column.to_pylist() for column in rows.columns)
    return tuple(Reject(text.encode(), *about) for text, *about in zip(raw, places, reasons, strict=True))
