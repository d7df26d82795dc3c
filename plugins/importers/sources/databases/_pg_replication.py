"""A table's publication and logical slot: whether they are as they must be, how to make them, how far the slot is.

psycopg has no replication client. The slot is peeked at by SQL function, and moved by another once what was read is
committed in the warehouse: a crash anywhere peeks at the same changes again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from importers.exceptions import ConfigError, ContractError, FatalSourceError
from importers.sources.databases._pg_catalogue import TIMELINE, Relation, raw
from importers.sources.databases._pg_text import Typed

PLUGIN = "pgoutput"
FRESH = "run it with a full refresh, which reads the table anew"
_MAX_NAME = 63  # bytes of a slot's name, which has small letters, digits and underscores alone


class Names(NamedTuple):
    """What a table's changes are read by."""

    slot: str
    publication: str
    table: str
    """With its schema, quoted."""

    @property
    def to_make(self) -> str:
        """What an administrator executes. The publication comes first: a slot sees what is published when it begins."""
        return f"{self.to_publish}; {self.to_reserve}"

    @property
    def to_publish(self) -> str:
        name = Identifier(self.publication).as_string(None)
        return f"create publication {name} for table {self.table} with (publish_via_partition_root = true)"

    @property
    def to_reserve(self) -> str:
        return f"select pg_create_logical_replication_slot('{self.slot}', '{PLUGIN}')"

    @property
    def to_drop(self) -> str:
        return f"select pg_drop_replication_slot('{self.slot}')"


def slot_name(prefix: str, tenant: str, pipeline: str, table: str) -> str:
    """Of one tenant's pipeline and table: two slots never have the same, however names are cut or put together."""
    digest = hashlib.sha256("\0".join((prefix, tenant, pipeline, table)).encode()).hexdigest()[:8]
    plain = re.sub("[^a-z0-9]+", "_", f"{prefix}_{tenant}_{pipeline}_{table.rpartition('.')[2]}".lower())
    return f"{plain[: _MAX_NAME - 9].rstrip('_')}_{digest}"


class Server(NamedTuple):
    """Where its log is. Positions are byte numbers."""

    wal_level: str
    is_replica: bool
    system: str
    timeline: int
    flushed: int


def server(connection: psycopg.Connection) -> Server:
    """Raises FatalSourceError if no changes can be read from it."""
    row = connection.execute(
        "select current_setting('wal_level'), pg_is_in_recovery(),"
        f" (select system_identifier::text from pg_control_system()), coalesce({TIMELINE}, 0),"
        " case when pg_is_in_recovery() then 0 else (pg_current_wal_flush_lsn() - '0/0')::bigint end"
    ).fetchone()
    found = Server(*row) if row else Server("", False, "", 0, 0)
    if found.is_replica:
        raise FatalSourceError("changes are read from the primary server, and this is a replica", do="connect to it")
    if found.wal_level != "logical":
        do = "as an administrator: alter system set wal_level = logical; then restart it"
        raise FatalSourceError("the server's log doesn't hold changes", got=f"wal_level {found.wal_level}", do=do)
    return found


class Slot(NamedTuple):
    """`confirmed` is what was given back to the server, `retained` the bytes of log that it keeps for the slot."""

    confirmed: int
    status: str
    retained: int
    follows: bool
    """Whether it is there too on a server that takes this one's place."""

    @property
    def told(self) -> str:
        return f"{self.retained / 2**20:,.0f} MiB of log kept, wal_status {self.status}"


def find_slot(connection: psycopg.Connection, names: Names) -> Slot | None:
    """Raises ContractError for a slot that has lost changes, or is another's."""
    row = connection.execute(
        "select plugin::text, database = current_database(), coalesce((confirmed_flush_lsn - '0/0')::bigint, 0),"
        " coalesce(wal_status, 'lost'), coalesce(pg_current_wal_lsn() - restart_lsn, 0)::bigint,"
        " coalesce((to_jsonb(s) ->> 'failover')::boolean, false)"
        " from pg_replication_slots s where slot_name = %s",
        (names.slot,),
    ).fetchone()
    if row is None:
        return None
    if row[:2] != (PLUGIN, True):
        what = f"the slot '{names.slot}' is another's: it belongs to another database or plugin"
        raise ConfigError(what, got=f"plugin {row[0]}", do="set another `slot_prefix`")
    return Slot(*row[2:])


def check_kept(slot: Slot | None, names: Names) -> Slot:
    """That there is a slot, and all that it has to keep. Raises FatalSourceError, or ContractError if it is lost."""
    if slot is None:
        do = f"as an administrator: {names.to_make}; or set `create_replication: true`"
        raise FatalSourceError(f"there is no slot '{names.slot}' to read changes from", do=do)
    if slot.status == "lost":
        what = f"the slot '{names.slot}' fell behind further than the server keeps its log: changes are lost"
        do = f"{names.to_drop}; {names.to_reserve}; then {FRESH}. Run more often, or raise max_slot_wal_keep_size"
        raise ContractError(what, got=slot.told, do=do)
    return slot


def publish(connection: psycopg.Connection, names: Names) -> None:
    """Make the publication unless it is there."""
    there = connection.execute("select from pg_publication where pubname = %s", (names.publication,)).fetchone()
    if there is None:
        connection.execute(raw(names.to_publish))


def reserve(connection: psycopg.Connection, names: Names) -> None:
    """Make the slot unless it is there; one that has lost changes is of no use and made anew.

    Waits for the transactions that run now, so that whoever reads the table afterwards sees all that the slot doesn't.
    """
    slot = find_slot(connection, names)
    if slot is not None and slot.status == "lost":
        connection.execute(raw(names.to_drop))
        slot = None
    if slot is None:
        connection.execute(raw(names.to_reserve))


class Table(NamedTuple):
    """A table as its changes tell of it."""

    columns: Mapping[str, tuple[int, int, int]]
    """Column → number, type and its modifier; another column has another number."""
    typed: Mapping[str, Typed]
    identity: frozenset[str]
    """Columns that a change says of the row that was there before, in each of its partitions."""
    is_whole: bool
    """Whether that is all of them (REPLICA IDENTITY FULL)."""
    long: frozenset[str]
    """Columns whose values may be stored apart: those are left out of an update that doesn't touch them."""
    filled: frozenset[str]
    """Columns that came with a value for the rows that were there."""


_TABLE = """
select a.attname::text, a.attnum::int, a.atttypid::bigint, a.atttypmod, format_type(a.atttypid, a.atttypmod),
       a.attstorage <> 'p', a.atthasmissing
from pg_attribute a where a.attrelid = %(oid)s::bigint::oid and a.attnum > 0 and not a.attisdropped
  and a.attgenerated = ''
"""
_IDENTITY = """
select c.relreplident::text, (
    select coalesce(array_agg(a.attname::text), '{}') from pg_index i
    cross join unnest(i.indkey::smallint[]) k(att) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.att
    where i.indrelid = c.oid and (c.relreplident = 'd' and i.indisprimary or c.relreplident = 'i' and i.indisreplident))
from pg_class c where c.relkind = 'r' and c.oid in (
    select relid from pg_partition_tree(%(oid)s::bigint::oid) union all select %(oid)s::bigint::oid)
"""


def table(connection: psycopg.Connection, relation: Relation) -> Table:
    about = connection.execute(_TABLE, {"oid": relation.oid}).fetchall()
    every = frozenset(name for name, *_ in about)
    leaves = connection.execute(_IDENTITY, {"oid": relation.oid}).fetchall()
    known = [every if kind == "f" else frozenset(columns) for kind, columns in leaves]
    return Table(
        {name: (number, kind, modifier) for name, number, kind, modifier, *_ in about},
        {row[0]: Typed(relation.columns[row[0]], row[4]) for row in about if row[0] in relation.columns},
        every.intersection(*known) if known else frozenset(),
        all(kind == "f" for kind, _ in leaves),
        frozenset(row[0] for row in about if row[5]),
        frozenset(row[0] for row in about if row[6]),
    )


_PUBLISHED = """
select p.pubinsert and p.pubupdate and p.pubdelete and p.pubtruncate, t.tablename is not null,
       to_jsonb(t) ->> 'rowfilter', to_jsonb(t) -> 'attnames'
from pg_publication p left join pg_publication_tables t on t.pubname = p.pubname
  and (t.schemaname, t.tablename) = (
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.oid = %(oid)s::bigint::oid)
where p.pubname = %(name)s
"""


def check_published(connection: psycopg.Connection, relation: Relation, names: Names, wanted: list[str]) -> None:
    """That the publication tells all that happens to the table. Raises ConfigError or FatalSourceError."""
    row = connection.execute(_PUBLISHED, {"oid": relation.oid, "name": names.publication}).fetchone()
    if row is None:
        do = f"as an administrator: {names.to_make}; or set `create_replication: true`"
        raise FatalSourceError(f"there is no publication '{names.publication}'", do=do)
    all_kinds, has_table, filtered, columns = row
    name = Identifier(names.publication).as_string(None)
    if not has_table:
        what = f"the publication '{names.publication}' lacks {names.table}"
        do = f"alter publication {name} add table {names.table}; of a partitioned one publish_via_partition_root is set"
        raise FatalSourceError(what, do=do)
    if not all_kinds:
        do = f"alter publication {name} set (publish = 'insert, update, delete, truncate')"
        raise FatalSourceError(f"the publication '{names.publication}' leaves out some kinds of changes", do=do)
    if filtered is not None:
        what = f"the publication '{names.publication}' leaves out rows: what is read first wouldn't be what changes"
        raise ConfigError(what, do="read it by a publication of its own, without a filter of rows")
    missing = [column for column in wanted if columns is not None and column not in columns]
    if missing:
        what = f"the publication '{names.publication}' leaves out the column '{missing[0]}'"
        raise ConfigError(what, do="add it to the publication's columns, or `drop` it in the policy")


def check_identity(about: Table, key: tuple[str, ...], wanted: list[str], names: Names) -> None:
    """That an update and a delete say which row, and nothing of it is left out. Raises ConfigError."""
    whole = f"alter table {names.table} replica identity full"
    unknown = [column for column in key if column not in about.identity]
    if unknown:
        what = f"a delete wouldn't say which row is gone: '{unknown[0]}' isn't in the table's replica identity"
        raise ConfigError(what, do=whole)
    long = [column for column in wanted if column in about.long and column not in about.identity]
    if long and not about.is_whole:
        what = f"an update leaves '{long[0]}' out where it is long and hasn't changed"
        raise ConfigError(what, do=f"{whole}; or `drop` the column in the policy")


class Peeked(NamedTuple):
    """What a look ahead has found: how many messages, where the last transaction ends, what matters of them."""

    messages: int
    last: int
    changes: int
    truncates: list[tuple[int, bytes]]
    """Transaction (modulo 2³²) and message of each."""


def changes(names: Names, until: int, most: int | None = None) -> Composed:
    """`lsn, xid, data` of what the slot has up to a position, in whole transactions, in the order of their commits."""
    publication = Identifier(names.publication).as_string(None)
    return SQL("pg_logical_slot_peek_binary_changes({}, {}, {}, 'proto_version', '1', 'publication_names', {})").format(
        Literal(names.slot), Literal(lsn(until)), Literal(most), Literal(publication)
    )


def peek(connection: psycopg.Connection, names: Names, oid: int, until: int, most: int) -> Peeked:
    """Look how far a run goes that reads `most` messages, or till a transaction ends beyond that.

    Raises TransientSourceError while somebody else reads the slot.
    """
    row = connection.execute(
        SQL(
            "select count(*), coalesce(max(lsn - '0/0') filter (where get_byte(data, 0) = 67), 0)::bigint,"
            " count(*) filter (where get_byte(data, 0) in (68, 73, 85) and substring(data from 2 for 4) = {oid}),"
            " coalesce(array_agg(xid::text::bigint) filter (where get_byte(data, 0) = 84), '{{}}'),"
            " coalesce(array_agg(data) filter (where get_byte(data, 0) = 84), '{{}}') from {changes}"
        ).format(oid=Literal(oid.to_bytes(4)), changes=changes(names, until, most))
    ).fetchone()
    messages, last, ours, xids, data = row or (0, 0, 0, [], [])
    return Peeked(messages, last, ours, list(zip(xids, map(bytes, data), strict=True)))


def advance(connection: psycopg.Connection, slot: str, to: str) -> None:
    """Let the server drop its log up to a position that the warehouse has committed."""
    connection.execute(
        "select pg_replication_slot_advance(slot_name, %(to)s::pg_lsn) from pg_replication_slots"
        " where slot_name = %(slot)s and confirmed_flush_lsn < %(to)s::pg_lsn",
        {"slot": slot, "to": to},
    )


def lsn(position: int) -> str:
    """As PostgreSQL writes a position in its log."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def byte_number(written: str) -> int:
    """The inverse of `lsn`."""
    high, _, low = written.partition("/")
    return int(high, 16) << 32 | int(low, 16)
