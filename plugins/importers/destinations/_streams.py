"""Streams as the plans of runs have them in `_importers`, and what is remembered of them."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any

import psycopg
import pyarrow as pa

from importers.core.model import Column, LoadMode, PersonalData, Reads, Stream
from importers.core.parts import first
from importers.core.untold import NAME as UNTOLD
from importers.core.widening import joined, wider


def stored(stream: Stream | None) -> dict[str, Any] | None:
    """As JSON; its types as Arrow writes them."""
    if stream is None:
        return None
    said = {field.name: getattr(stream, field.name) for field in fields(stream) if field.name != "unread"}
    return said | {name: _columns(getattr(stream, name)) for name in ("columns", "beyond")}


def _columns(columns: Sequence[Column]) -> dict[str, Any]:
    schema = pa.schema([(column.name, column.type) for column in columns])
    personal = [column.personal for column in columns]
    first = [column.since for column in columns]
    said = {"personal": personal} | ({"first": first} if any(first) or None in first else {})
    return {"schema": b64encode(schema.serialize().to_pybytes()).decode(), **said}


def _columns_of(stored: Mapping[str, Any]) -> tuple[Column, ...]:
    """The inverse of `_columns`."""
    schema = pa.ipc.read_schema(pa.py_buffer(b64decode(stored["schema"])))
    classes = (PersonalData(personal) if personal else None for personal in stored["personal"])
    # what older versions stored as `since` was the first by another order
    since = stored.get("first", [""] * len(schema))
    return tuple(
        Column(field.name, field.type, personal, since=first)
        for field, personal, first in zip(schema, classes, since, strict=True)
    )


def of(stored: Mapping[str, Any] | None) -> Stream | None:
    """The inverse of `stored`."""
    if stored is None:
        return None
    enums = {"reads": Reads(stored["reads"]), "load_mode": LoadMode(stored["load_mode"])}
    columns = {name: _columns_of(stored[name]) for name in ("columns", "beyond") if name in stored}
    tuples = {name: tuple(stored.get(name, ())) for name in ("primary_key", "absent", "held_to")}
    # a newer version may say more
    named = {field.name: stored[field.name] for field in fields(Stream) if field.name in stored}
    return Stream(**{**named, **enums, **columns, **tuples})


def remembered(connection: psycopg.Connection, pipeline: str) -> list[Stream]:
    """The streams of `tenant.pipeline`, each as its last committed run was planned; a live one that read a row.

    Where runs stood side by side, each with columns of which the others can't have known, it has those of all: of runs
    that no later one was held to. A run of an older version didn't say to which it was: to all before it.
    """
    rows = connection.execute(
        """with past as (
             select id, stream, plan -> 'stream' -> 'held_to' as held_to from _importers.run r
             where starts_with(stream, %s) and state = 'committed' and plan -> 'stream' <> 'null'
               and (plan -> 'live' is null or exists (select from _importers.receipt where run = r.id and rows > 0))),
           known as (select jsonb_array_elements(held_to)::bigint as id from past),
           last as (select *, max(id) filter (where held_to is null) over (partition by stream) as unsaid from past)
           select stream, id, plan -> 'stream' from last join _importers.run using (id, stream)
           where id >= coalesce(unsaid, 0) and not exists (select from known where known.id = last.id)
           order by stream, id desc""",
        (f"{pipeline}.",),
    )
    by_name = groupby(rows.fetchall(), key=lambda row: row[0])
    return [_together({run: stream for _, run, said in runs if (stream := of(said))}) for _, runs in by_name]


def _together(planned: Mapping[int, Stream]) -> Stream:
    """The stream as the last of these runs has it, with the columns of the others; the newest comes first."""
    last, *beside = planned.values()
    columns, beyond = ({column.name: column for column in found} for found in (last.columns, last.beyond))
    for stream in beside:
        for mine, theirs in ((columns, stream.columns), (beyond, stream.beyond)):
            mine |= {c.name: _both(mine[c.name], c) if c.name in mine else c for c in theirs}
    there = tuple(column for column in beyond.values() if column.name not in columns)
    columns.pop(UNTOLD, None)
    return replace(last, columns=tuple(columns.values()), beyond=there, held_to=tuple(planned))


def _both(one: Column, other: Column) -> Column:
    """The column of one run with what another had of it beside: fields of objects, and wider types."""
    kind = joined(one.type, other.type, lambda mine, theirs: theirs if wider(mine) == theirs else mine)
    return replace(one, type=kind, since=first(one.since, other.since))
