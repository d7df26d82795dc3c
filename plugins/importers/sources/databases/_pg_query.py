"""The statements that read a partition. Values stand in them as literals: ADBC copies only what has no parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from importers.core.model import JSON, Stream
from importers.sources.databases._pg_catalogue import Relation, raw
from importers.sources.databases._pg_types import Reading, reading

UNFIT = "_unfit"
TEXTS = frozenset({"text", "varchar", "bpchar"})


class Select:
    """Reads a stream's columns of a relation, within a partition."""

    def __init__(self, relation: Relation, stream: Stream, part: Mapping[str, Any]) -> None:
        self._relation, self._names = relation, [column.name for column in stream.columns]
        self.readings: dict[str, Reading] = {name: reading(relation.columns[name]) for name in self._names}
        self._where = within(relation, stream, part)
        self._checked = {name: found for name, found in self.readings.items() if found.fits}

    def rows(self) -> str:
        """The columns by their readings, null where a value can't be had, and a flag of rows that have such a value."""
        columns = [self._column(name) for name in self._names]
        flag = SQL("not ({})").format(self._all_fit()) if self._checked else SQL("false")
        parts = [*columns, SQL("{} as {}").format(flag, Identifier(UNFIT))]
        return self._from(SQL(", ").join(parts))

    def rejects(self) -> str:
        """For each row that has such a value: the row as JSON, where it stands, what is wrong with it."""
        original = SQL(", ").join(SQL("t.{0} as {0}").format(Identifier(name)) for name in self._names)
        reasons = SQL(", ").join(
            SQL("case when ({}) is false then {} end").format(_on(found.fits, name), f"{name}: {found.otherwise}")
            for name, found in self._checked.items()
        )
        place = SQL("'row ' || t.ctid::text") if self._relation.has_transactions else SQL("'a row'")
        asked = SQL(
            "(select to_jsonb(_importers)::text from (select {}) as _importers), {}, concat_ws(', ', {})"
        ).format(original, place, reasons)
        return self._from(asked, SQL("not ({})").format(self._all_fit()))

    def _column(self, name: str) -> Composable:
        found = self.readings[name]
        value = _on(found.select, name)
        if found.fits:
            value = SQL("case when ({}) is not false then {} end").format(_on(found.fits, name), value)
        return SQL("{} as {}").format(value, Identifier(name))

    def _all_fit(self) -> Composed:
        return SQL(" and ").join(
            SQL("({}) is not false").format(_on(found.fits, name)) for name, found in self._checked.items()
        )

    def _from(self, what: Composable, also: Composable | None = None) -> str:
        where = [condition for condition in (self._where, also) if condition is not None]
        kept = SQL(" where ") + SQL(" and ").join(where) if where else SQL("")
        return SQL("select {} from {} as t{}").format(what, raw(self._relation.source), kept).as_string(None)


def within(relation: Relation, stream: Stream, part: Mapping[str, Any]) -> Composed | None:
    """The condition that makes a partition of a relation; None if it is all of it."""
    cursor = SQL("t.{}").format(Identifier(stream.cursor)) if stream.cursor else SQL("")
    value = _literal(relation, stream.cursor)
    found: list[Composed] = []
    for key, condition in (
        ("after", "({cursor} > {value} or {cursor} is null)"),
        ("last", "{cursor} <= {value}"),
        ("start", "{cursor} >= {value}"),
        ("end", "{cursor} < {value}"),
    ):
        if part.get(key) is not None:
            found.append(SQL(condition).format(cursor=cursor, value=value(part[key])))
    if part.get("until") is not None:
        found.append(written_before(part["until"]))
    if part.get("since") is not None:
        found.append(SQL("age(t.xmin) between 0 and age({}::xid)").format(xid(part["since"])))
    if part.get("blocks") is not None:
        first, end = part["blocks"]
        found.append(SQL("t.ctid >= {}::tid").format(f"({first},0)"))
        if end is not None:
            found.append(SQL("t.ctid < {}::tid").format(f"({end},0)"))
    if part.get("by") is not None:
        found.append(_in_range(relation, part["by"], part["from"], part["to"]))
    return SQL(" and ").join(found) if found else None


def _in_range(relation: Relation, by: str, begin: str | None, end: str | None) -> Composed:
    """Half-open; what has no value is in the first."""
    column, value = ordered(relation, by), _literal(relation, by)
    if begin is None:
        missing = SQL("false") if by in relation.key else SQL("{} is null").format(column)
        return SQL("({} < {} or {})").format(column, value(end), missing)
    from_there = SQL("{} >= {}").format(column, value(begin))
    return from_there if end is None else SQL("{} and {} < {}").format(from_there, column, value(end))


def ordered(relation: Relation, by: str) -> Composed:
    """The column in the order of its ranges. Of text by its bytes: a locale's order is another one on another server,
    and after an upgrade of its library.
    """
    column = SQL("t.{}").format(Identifier(by))
    return SQL('{}::text collate "C"').format(column) if relation.columns[by].name in TEXTS else column


def written_before(xid8: str) -> Composed:
    """By a transaction older than that one. The age of what was frozen long ago may have gone round: it isn't young."""
    return SQL("(age(t.xmin) > age({0}::xid) or age(t.xmin) < 0)").format(xid(xid8))


def xid(xid8: str | int) -> str:
    """A transaction's number without its epoch: what a row holds, and `age` compares."""
    return str(int(xid8) % 2**32)


def _literal(relation: Relation, cursor: str | None) -> Any:
    """A value of the cursor, told as text, as a literal of its type."""
    kind = relation.columns[cursor].name if cursor is not None else "text"
    kind = "timestamp" if kind == "date" else "text" if kind in TEXTS else kind  # a date is its midnight

    def literal(value: JSON) -> Composed:
        return SQL("{}::{}").format(Literal(str(value)), Identifier("pg_catalog", kind))

    return literal


def _on(expression: str, name: str) -> Composed:
    """An expression of ours over a column."""
    column = SQL("t.{}").format(Identifier(name)).as_string(None)
    return SQL("{}").format(raw(expression.replace("{0}", "{}").replace("{}", column)))
