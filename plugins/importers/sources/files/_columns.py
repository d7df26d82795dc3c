"""Which columns files have, and whether they are those that a plan took them to have."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from importers.core.model import Stream
from importers.core.names import few, is_given
from importers.exceptions import ContractError
from importers.sources._types import loadable

UNSHOWN = "a name that isn't shown"


def as_asked(schema: pa.Schema, stream: Stream) -> pa.Schema:
    """The schema in which columns whose type is the sample's word have the type that they are asked for with."""
    asked = {column.name: column.type for column in stream.columns if column.type in column.readable_as}
    fields = [field.with_type(asked.get(field.name, field.type)) for field in schema]
    return pa.schema(fields, schema.metadata)  # a format may have put something there for itself


def wanted(stream: Stream, schema: pa.Schema) -> pa.Schema:
    """The stream's columns as the plan took them to be. Raises ContractError for one that the files lack."""
    there = frozenset(schema.names)
    lacking = [column.name for column in stream.columns if column.name not in there]
    if lacking:
        raise ContractError(
            f"the files have no column {few(map(repr, lacking))}",
            got=f"the columns {few(schema.names, 30)}",
            stream=stream.name,
        )
    return pa.schema([(column.name, loadable(schema.field(column.name).type)) for column in stream.columns])


def widening(stream: Stream) -> frozenset[str]:
    """The columns that may have a wider type than the sample showed."""
    return frozenset(column.name for column in stream.columns if column.widens)


def same_columns(path: str, got: Sequence[str], expected: Sequence[str]) -> None:
    """Raises ContractError unless both name the same columns, in whatever order."""
    if set(got) == set(expected):
        return
    known = [name for name in expected if name in got]
    # where it has none of the names, its first record may well be data
    extra = [shown(name) if known else UNSHOWN for name in got if name not in expected]
    lacking = [name for name in expected if name not in got]
    raise ContractError(
        f"the file '{path}' has other columns than the files before it: "
        + "; ".join(f"{what} {_listed(names)}" for what, names in (("more:", extra), ("fewer:", lacking)) if names),
        got=f"{len(got)} columns, of which {len(known)} are known; expected {few(expected, 30)}",
        do="correct the file, or give files of another shape a pipeline of their own",
    )


def shown(name: str) -> str:
    """The name if it looks like one that somebody gave to a column. Others may be data and aren't told."""
    return name if is_given(name) else UNSHOWN


def _listed(names: Sequence[str]) -> str:
    told = [name for name in names if name != UNSHOWN]
    untold, told = len(names) - len(told), [few(told, 30)] if told else []
    return ", ".join([*told, f"{untold} that {'isn' if untold == 1 else 'aren'}'t shown"] if untold else told)
