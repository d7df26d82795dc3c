"""Where subjects' rows stand in one table that the importers made: counted, and deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from importers.core.erasure import Outcome, Place, SubjectTable
from importers.core.model import SUBJECT
from importers.core.names import ROWS
from importers.destinations import _owners as owners
from importers.destinations import _tables as tables
from importers.destinations._types import JSONB
from importers.ledger import lineage
from importers.ledger.lineage import Pseudonymised


class SubjectRows:
    """Of the subjects of `tokens`, within one transaction. Which tables there are is asked once: what a run makes
    meanwhile has no row yet, since loads wait for an erasure.
    """

    def __init__(
        self, connection: psycopg.Connection, tenant: str, table: SubjectTable, tokens: Sequence[bytes]
    ) -> None:
        self._connection, self._tenant, self._table = connection, tenant, table
        uuids = [UUID(bytes=token) for token in tokens]
        self._parameters = {"tokens": uuids, "texts": [str(token) for token in uuids], "tenant": tenant}

    def delete(self) -> dict[str, int]:
        """How many rows each table has lost; one that can't say whose its rows are is left alone."""
        return {name: self._delete(name, whose) for name, whose in self._physical.items() if whose}

    def places(self, domain: str) -> list[Place]:
        """What there is now, of the subjects and of their pseudonyms of the domain in other people's rows."""
        places = []
        for name, whose in self._physical.items():
            if not whose:
                note = "has no column that says whose its rows are"
                places.append(Place("table", name, Outcome.STAYS, note=note))
                continue
            counts = (owners.theirs(whose), SQL("not {}").format(owners.somebody_s(whose)), owners.of_another(whose))
            statement = SQL("select {} from {}").format(
                SQL(", ").join(SQL("count(*) filter (where {})").format(each) for each in counts),
                self._identifier(name),
            )
            parameters = self._parameters | {"domain": domain}
            rows, unknown, others = self._connection.execute(statement, parameters).fetchone() or (0, 0, 0)
            notes = ["rows whose subject is null stay: nobody knows whose they are"] if unknown else []
            notes += [f"{others:,} rows say whose they are in another domain: erase there, too"] if others else []
            places.append(Place("table", name, Outcome.CLEAR, rows, unknown, "; ".join(notes)))
            places += self._mentions(name, whose, domain)
        return places

    @cached_property
    def _physical(self) -> Mapping[str, list[str]]:
        """The tables that hold its rows, those too that open runs fill beside it; each with its subject's columns.

        Several, where the subject or its treatment has changed: older rows keep what they had.
        """
        shadows = self._connection.execute(
            """select id from _importers.run
               where tenant = %s and table_name = %s and mode = 'replace' and state = 'open'""",
            (self._tenant, self._table.name),
        ).fetchall()
        names = [self._table.name + ROWS if self._table.keyed else self._table.name]
        names += [] if self._table.keyed else [tables.shadow_table(run) for (run,) in shadows]
        found = {}
        for name in names:
            if tables.holds_rows(self._connection, self._tenant, name):
                columns = tables.existing(self._connection, self._tenant, name)
                whose = sorted({SUBJECT, *self._table.subjects})
                found[f"{self._tenant}.{name}"] = [column for column in whose if columns.get(column) == owners.TOKEN]
        return found

    def _mentions(self, name: str, whose: Sequence[str], domain: str) -> Iterator[Place]:
        """Columns, and parts of nested ones, of other people's rows that hold pseudonyms of the domain.

        One look at the table, however many those are.
        """
        columns = tables.existing(self._connection, self._tenant, name.removeprefix(f"{self._tenant}."))
        found = lineage.pseudonymised(self._connection, f"{self._tenant}.{self._table.name}", domain)
        naming = _naming([leaf for leaf in found if columns.get(leaf.column) in (owners.TOKEN, JSONB)], columns)
        if not naming:
            return
        counts = SQL(", ").join(SQL("count(*) filter (where {})").format(each) for each in naming.values())
        statement = SQL("select {} from {} where not coalesce({}, false)").format(
            counts, self._identifier(name), owners.theirs(whose)
        )
        counted = self._connection.execute(statement, self._parameters).fetchone() or ()
        note = "other people's rows that name them there, by pseudonym: decide yourself what becomes of those"
        for place, rows in zip(naming, counted, strict=True):
            if rows:
                yield Place("mention", f"{name}.{place}", Outcome.STAYS, rows, note=note)

    def _delete(self, name: str, whose: Sequence[str]) -> int:
        statement = SQL("delete from {} where {}").format(self._identifier(name), owners.theirs(whose))
        return self._connection.execute(statement, self._parameters).rowcount

    def _identifier(self, name: str) -> Identifier:
        return Identifier(self._tenant, name.removeprefix(f"{self._tenant}."))


def _naming(leaves: Sequence[Pseudonymised], columns: Mapping[str, str]) -> dict[str, Composed]:
    """By place which rows name the subjects whose `tokens` the statement is given, and whose `texts`: as JSON has them.

    A column one of whose leaves can't be found by its path is looked through as a whole.
    """
    opaque = {leaf.column for leaf in leaves if not leaf.path}
    naming = {}
    for leaf in leaves:
        if columns[leaf.column] == owners.TOKEN:
            naming[leaf.column] = SQL("{} = any(%(tokens)s)").format(Identifier(leaf.column))
        elif leaf.column in opaque:
            naming[leaf.column] = _within(leaf.column, "strict $.**")
        else:
            naming[leaf.source] = _within(leaf.column, _json_path(leaf.path))
    return naming


def _within(column: str, path: str) -> Composed:
    """Whether a JSON column has one of the tokens where the path leads to."""
    said = SQL("exists (select from jsonb_path_query({}, {}) leaf where leaf #>> '{{}}' = any(%(texts)s))")
    return said.format(Identifier(column), Literal(path))


def _json_path(path: Sequence[str | None]) -> str:
    """As PostgreSQL's jsonpath writes it; None stands for each item of a list."""
    return "$" + "".join("[*]" if step is None else f".{json.dumps(step)}" for step in path)
