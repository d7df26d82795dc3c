"""What happens to a PostgreSQL table: first all of its rows, then each insert, update and delete, by the server's log.

A plan seals an end in the log; a read takes the transactions that committed between the last end and this one. What is
read first is one snapshot, taken once the slot was there: of the changes that the slot then has, those are left out
that the snapshot has seen, by their transactions' numbers. So nothing depends on when either happened.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa

from importers.core.model import DELETED, JSON, VERSION, Batch, LoadMode, Plan, Position, Reject, Stream, Window
from importers.exceptions import ConfigError, ContractError
from importers.sources.databases import _pg_replication as replication
from importers.sources.databases._pg_catalogue import Relation
from importers.sources.databases._pg_output import (
    BEGIN,
    DELETE,
    INSERT,
    RELATION,
    UNCHANGED,
    UPDATE,
    Described,
    Mask,
    Messages,
    Numbers,
    Rows,
    Transactions,
    rows_of,
    texts,
    truncated,
)
from importers.sources.databases._pg_replication import FRESH, Names, byte_number, lsn
from importers.sources.databases._pg_text import Typed, parsed

log = logging.getLogger(__name__)

_LOG, _READ = "", "read"
"""The position's lanes: where a plan ends in the log, and what only reading tells."""


def check_asked(stream: Stream, window: Window) -> None:
    """Raises ConfigError for an interval of changes, and for a cursor."""
    if window.bounded:
        raise ConfigError("changes have no interval: each is read once", do="run it without", stream=stream.name)
    if stream.cursor is not None:
        what = "the log says which version of a row is newer"
        raise ConfigError(what, got=f"cursor {stream.cursor}", do="leave the cursor out", stream=stream.name)


def plan(
    connection: psycopg.Connection, relation: Relation, stream: Stream, position: Position, names: Names, most: int
) -> Plan:
    """All of the table, or the changes since the position that have committed by now.

    Raises ConfigError, FatalSourceError or ContractError where changes would be missed.
    """
    server, about = replication.server(connection), replication.table(connection, relation)
    wanted = [column.name for column in stream.columns]
    replication.check_published(connection, relation, names, wanted)
    replication.check_identity(about, stream.primary_key, wanted, names)
    slot = replication.check_kept(replication.find_slot(connection, names), names)
    level = logging.WARNING if slot.status == "unreserved" else logging.INFO
    log.log(level, "%s: the slot %s: %s", stream.name, names.slot, slot.told)
    before = cast("Mapping[str, Any]", position.get(_LOG) or {})
    here: dict[str, JSON] = {
        "slot": names.slot,
        "system": server.system,
        "timeline": server.timeline,
        "oid": relation.oid,
        "columns": {name: list(column) for name, column in about.columns.items()},
        "asked": sorted(wanted),
    }
    if not before:
        return _all_of_it(relation, here | {"lsn": lsn(slot.confirmed)})
    _check_same(server, slot, before, names)
    replication.advance(connection, names.slot, before["lsn"])
    since = byte_number(before["lsn"])
    told = _still_told(position, since)
    peeked = replication.peek(connection, names, relation.oid, server.flushed, most)
    seen = _Seen.of(told)
    emptied = any(relation.oid in truncated(data) and not seen.has(xid) for xid, data in peeked.truncates)
    if emptied or _is_another(here, before, about.filled):
        return _all_of_it(relation, here | {"lsn": before["lsn"]}, told.get("at", 0))
    end = max(since, peeked.last if peeked.messages >= most else server.flushed)
    sealed: Position = {_LOG: here | {"lsn": lsn(end)}}
    if not peeked.changes:
        return Plan([], sealed)
    return Plan([{"oid": relation.oid, "since": since, "end": end, "told": told}], sealed)


def _still_told(position: Position, since: int) -> dict[str, Any]:
    """What reading told. Of transactions that a snapshot has seen none is beyond where it ended."""
    told = dict(cast("Mapping[str, Any]", position.get(_READ) or {}))
    if since >= byte_number(told.get("until", "0/0")):
        return {"at": told.get("at", 0)}
    return told


def foreseen(relation: Relation, position: Position) -> Plan:
    """What is planned once the slot is made. Raises ContractError if there must have been one."""
    if position:
        raise ContractError("the slot that the last run read is gone, and changes with it", do=FRESH)
    return _all_of_it(relation, {})


def _all_of_it(relation: Relation, here: Mapping[str, JSON], at: int = 0) -> Plan:
    """`at` is the last moment (µs) from which rows were said to hold."""
    return Plan([{"oid": relation.oid, "whole": at}], {_LOG: here}, complete=True)


def _check_same(server: replication.Server, slot: replication.Slot, before: Mapping[str, Any], names: Names) -> None:
    """That what the slot has follows what was read last. Raises ContractError."""
    lost = "changes between the last run and now can't be told"
    if before["system"] != server.system:
        raise ContractError(f"this is another server than the last run's: {lost}", do=FRESH)
    if before["timeline"] != server.timeline and not slot.follows:
        what = f"the server was restored or took another's place since the last run: {lost}"
        got = f"timeline {server.timeline}, before {before['timeline']}"
        raise ContractError(what, got=got, do=f"{FRESH}; a slot with `failover` stays with a server's successor")
    since = byte_number(before["lsn"])
    if server.flushed < since:
        got = f"{lsn(server.flushed)}, before {before['lsn']}"
        raise ContractError(f"the server's log ends before what was read of it: {lost}", got=got, do=FRESH)
    if slot.confirmed > since:
        what = f"the slot '{names.slot}' has given up changes that were never read here: it was made anew, or moved"
        got = f"it begins at {lsn(slot.confirmed)}, the last run ended at {before['lsn']}"
        raise ContractError(what, got=got, do=f"{FRESH}; two installations need different `slot_prefix`es")


def _is_another(here: Mapping[str, Any], before: Mapping[str, Any], filled: frozenset[str]) -> bool:
    """Whether rows may differ without a change of theirs: the table was made anew, or a column of it."""
    if here["oid"] != before["oid"]:
        return True
    known = {name: before["columns"][name] for name in before["asked"] if name in before["columns"]}
    new = {name for name in here["asked"] if known.get(name) != here["columns"][name]}
    numbers = {column[0] for column in before["columns"].values()}
    was_there = any(here["columns"][name][0] in numbers for name in new)  # under another name or type, or not asked for
    return was_there or bool(new & filled)


class _Seen(NamedTuple):
    """What a snapshot sees, as PostgreSQL writes it: `xmin:xmax:xip,xip,…`."""

    first: int
    end: int
    running: Numbers

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> _Seen:
        first, end, running = told.get("seen", "0:0:").split(":")
        return cls(int(first), int(end), np.array([int(xid) for xid in running.split(",") if xid], np.int64))

    def has(self, xid: int) -> bool:
        return bool(self.among(np.array([xid]))[0])

    def among(self, xids: Numbers) -> Mask:
        """Which of these transactions, whose numbers are told modulo 2³², it sees."""
        if not self.end:
            return np.zeros(len(xids), np.bool_)
        away = (xids - self.end) % 2**32
        whole = self.end + np.where(away >= 2**31, away - 2**32, away)
        seen: Mask = (whole < self.first) | ((whole < self.end) & ~np.isin(whole, self.running))
        return seen


def seen_now(cursor: Any, stream: Stream, after: int) -> tuple[Position, int | None]:
    """What an ADBC cursor's snapshot sees, for the position; with history, since when its rows hold.

    In microseconds since 1970, and not before `after`.
    """
    cursor.execute(
        "select pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint,"
        " (extract(epoch from clock_timestamp()) * 1000000)::bigint"
    )
    seen, until, moment = cursor.fetchone()
    at = max(moment, after)
    version = at if stream.load_mode is LoadMode.HISTORY else None
    return {_READ: {"seen": seen, "until": lsn(until), "at": at}}, version


def versioned(rows: pa.RecordBatch, version: int | None) -> pa.RecordBatch:
    if version is None:
        return rows
    return rows.append_column(VERSION, pa.array(np.full(rows.num_rows, version, np.int64)))


class Reader:
    """Turns one partition's messages into batches. What has been read so far says what the next messages mean."""

    def __init__(self, relation: Relation, stream: Stream, part: Mapping[str, Any], about: Mapping[str, Typed]) -> None:
        self._oid, self._stream, self._part = relation.oid, stream, part
        self._typed = {column.name: about[column.name] for column in stream.columns}
        self._seen, self._at = _Seen.of(part["told"]), int(part["told"]["at"])
        self._begun = Transactions(*(np.zeros(0, np.int64) for _ in range(3)))
        self._described: Described | None = None

    def query(self, names: Names) -> str:
        """What gives its messages: of transactions, of the table's shape, of its rows."""
        oid = f"'\\x{self._oid.to_bytes(4).hex()}'"
        return (
            f"select data from {replication.changes(names, self._part['end']).as_string(None)} where"
            f" get_byte(data, 0) in ({BEGIN}, {RELATION}) or get_byte(data, 0) in ({INSERT}, {UPDATE}, {DELETE})"
            f" and substring(data from 2 for 4) = {oid}"
        )

    def batches(self, data: pa.BinaryArray, most: int, connection: psycopg.Connection) -> Iterator[Batch]:
        messages = Messages.of(data)
        begins = messages.kinds == BEGIN
        known = self._begun.followed_by(Transactions.begun(messages))
        here = np.cumsum(begins) - (0 if len(self._begun.xid) else 1)
        self._begun = known
        counts = self._counts(known)
        of_rows = np.isin(messages.kinds, (INSERT, UPDATE, DELETE))
        chosen = np.flatnonzero(of_rows)
        chosen = chosen[counts[here[chosen]]]
        moments = self._moments(known, counts)
        shapes = np.flatnonzero(messages.kinds == RELATION)
        for begin, end in zip((-1, *shapes), (*shapes, len(messages.kinds)), strict=True):
            if begin >= 0:
                self._describe(messages, int(begin))
            between = chosen[(chosen > begin) & (chosen < end)]
            for start in range(0, len(between), most):
                numbers = between[start : start + most]
                yield self._batch(messages, numbers, moments[here[numbers]], connection)

    def _counts(self, begun: Transactions) -> Mask:
        """Transactions that committed between the ends, and that what was read first hasn't seen."""
        within = (begun.committed_at >= self._part["since"]) & (begun.committed_at < self._part["end"])
        counted: Mask = within & ~self._seen.among(begun.xid)
        return counted

    def _moments(self, begun: Transactions, counts: Mask) -> Numbers:
        """When each transaction committed; never before one that the log has earlier, whatever the clock said."""
        moments = np.maximum.accumulate(np.maximum(np.where(counts, begun.moment, 0), self._at))
        self._at = int(moments[-1]) if len(moments) else self._at
        return moments

    def _describe(self, messages: Messages, number: int) -> None:
        described = Described.of(messages.message(number))
        if described.oid == self._oid:
            self._described = described

    def _batch(self, messages: Messages, numbers: Numbers, moments: Numbers, connection: psycopg.Connection) -> Batch:
        described = self._described
        if described is None:
            raise ContractError("a change came before its table was described", do="start a new run")
        places = {name: place for place, name in enumerate(described.columns)}
        key = [places[name] for name in self._stream.primary_key]
        rows = rows_of(messages, numbers, len(places), key)
        rows = self._without_what_is_gone(rows, places)
        columns, unfit = {}, {}
        for name, typed in self._typed.items():
            written = self._texts(messages, rows, places, name)
            values = parsed(written, typed, connection)
            columns[name] = values.values
            if values.unfit is not None:
                unfit[name] = values.unfit
        made = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        if self._stream.load_mode is LoadMode.HISTORY:
            made = made.append_column(VERSION, pa.array(moments[rows.message]))
        made = made.append_column(DELETED, pa.array(rows.deleted))
        return self._sorted_out(made, unfit, messages, rows, places)

    def _without_what_is_gone(self, rows: Rows, places: Mapping[str, int]) -> Rows:
        """Of a row that is gone its key stays, and whose it was; nothing else of it is loaded."""
        kept = {*self._stream.primary_key, self._stream.subject}
        for name, place in places.items():
            if name not in kept:
                rows.values.kinds[place][rows.deleted] = ord("n")
        return rows

    def _texts(self, messages: Messages, rows: Rows, places: Mapping[str, int], name: str) -> pa.StringArray:
        if name not in places:  # of a column that came later
            return pa.nulls(len(rows.deleted), pa.string())
        if (rows.values.kinds[places[name]] == UNCHANGED).any():
            what = f"an update leaves out '{name}', which hasn't changed: the log doesn't say what it is"
            raise ContractError(what, do=f"see that the table has replica identity full, then {FRESH}")
        return texts(messages.buffer, rows.values, places[name])

    def _sorted_out(
        self,
        made: pa.RecordBatch,
        unfit: Mapping[str, Mask],
        messages: Messages,
        rows: Rows,
        places: Mapping[str, int],
    ) -> Batch:
        """The batch, without rows of which a value can't be had: those are rejects."""
        position = {_READ: {**self._part["told"], "at": self._at}}
        if not unfit:
            return Batch(made, position=position)
        bad: Mask = np.zeros(made.num_rows, np.bool_)
        reasons: list[list[str]] = [[] for _ in range(made.num_rows)]
        for name, mask in unfit.items():
            bad |= mask
            for row in np.flatnonzero(mask):
                reasons[row].append(f"{name}: {self._typed[name].reading.otherwise}")
        written = {name: self._texts(messages, rows, places, name).filter(pa.array(bad)) for name in self._typed}
        raw = _as_json(written)
        where = np.flatnonzero(bad)
        rejects = tuple(
            Reject(text.encode(), "a change", ", ".join(reasons[row])) for text, row in zip(raw, where, strict=True)
        )
        return Batch(made.filter(pa.array(~bad)), rejects, position)


def _as_json(columns: Mapping[str, pa.StringArray]) -> Sequence[str]:
    frame = pl.from_arrow(pa.table(dict(columns)))
    return [json.dumps(row, ensure_ascii=False) for row in cast("pl.DataFrame", frame).to_dicts()]
