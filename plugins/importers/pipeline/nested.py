"""What is within objects and lists. The table has JSON, which holds anything, so that its types tell nothing of it.

A frozen table is therefore held to what the stream's last committed run was planned with (decision 0014).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import pyarrow as pa
from pyarrow import types as t

from importers.core.exact import is_text
from importers.core.model import Column, Stream
from importers.core.names import few, shown_type
from importers.core.widening import joined
from importers.exceptions import ContractError
from importers.privacy.leaves import Part, leaves
from importers.privacy.rules import told_path


def as_before(column: Column, known: pa.DataType) -> Column:
    """A column as it comes, with what is agreed on and nobody shows today: fields that no record has, wider types.

    A sample takes what is always null for text. Where it says text, it is asked for as before, as a whole column is.
    """
    readable = column.readable_as

    def either(agreed: pa.DataType, came: pa.DataType) -> pa.DataType:
        return agreed if (readable and is_text(came)) or _holds(agreed, came) else came

    kind = joined(known, column.type, either)
    return replace(column, type=kind, readable_as=readable | {kind} if readable else readable)


def refuse_more(known: Stream, loaded: Iterable[Part], dropped: Collection[str] = ()) -> None:
    """Raises ContractError for a leaf of an object or a list that isn't agreed on, or is of another type.

    `loaded`: the leaves of what comes, without those that the policy drops. `dropped`: what it has always dropped, as
    lineage calls it: none of that is in the table.
    """
    agreed = {column.name: column.type for column in known.columns if t.is_nested(column.type)}
    found = leaves(pa.schema(list(agreed.items())))
    there = {leaf.path: leaf for leaf in found if told_path(leaf) not in dropped}
    more = [
        leaf
        for leaf in loaded
        if leaf.column in agreed and not (leaf.path in there and _holds(there[leaf.path].type, leaf.type))
    ]
    if more:
        before = [there[leaf.path] for leaf in more if leaf.path in there]
        within = few(dict.fromkeys(leaf.column for leaf in more))
        raise ContractError(
            f"the columns of {known.name} are frozen, and others arrive within {within}",
            got=f"delivered: {_told(more)}; agreed: {_told(before) if before else 'nothing of that name'}",
            do="mend the source; or set load.schema_change: evolve for a run, if the change is right",
        )


def _told(parts: Iterable[Part]) -> str:
    return few(dict.fromkeys(f"{told_path(part)} {shown_type(part.type)}" for part in parts), 30)


def _holds(known: pa.DataType, came: pa.DataType) -> bool:
    """Whether values of the type that came are such as are known, in the same width or a smaller one."""
    if known == came or t.is_null(came) or (is_text(known) and is_text(came)):
        return True
    try:
        both = pa.unify_schemas([pa.schema([("x", kind)]) for kind in (known, came)], promote_options="permissive")
    except pa.ArrowTypeError:
        return False
    return bool(both.field("x").type == known)
