"""What a plan may tell of what is dropped: no key of an object that the policy doesn't name.

A key may be a person's, as in `{"scores": {"anna@example.org": 5}}`, and a plan stays where no erasure looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import pyarrow as pa
from pyarrow import types as t

from importers.core import untold
from importers.core.model import Column
from importers.core.tenant import Treat
from importers.privacy.leaves import Part
from importers.privacy.rules import Rules, is_data


def told(
    columns: Iterable[Column],
    rules: Rules,
    names: Collection[str],
    needed: Collection[str | None],
    *,
    whole: Collection[str],
    parts: bool,
) -> tuple[Column, ...]:
    """The columns without what is dropped of them by what is said of its parents, of `*` or of the unclassified.

    What the policy names is told, what is `needed`, with all that is in it, and `names`, paths all; and columns that
    are `whole`. What the source's author classified is named by them. Where a source reads `parts`, its keys are its
    records': also those columns aren't told that nobody names and that look like values.
    """
    said = {*rules.spec.columns, *names}
    found = [c if c.name in whole else _column(c, rules, said, needed) for c in columns]
    there = [c for c in found if not (parts and _is_nameless(c, rules, said, needed))]
    rest = [Column(untold.NAME, pa.null(), None)] if len(there) < len(found) else []
    return (*there, *rest)


def _is_nameless(column: Column, rules: Rules, names: Collection[str], needed: Collection[str | None]) -> bool:
    part = Part(column.name, column.type)
    return is_data(part) and column.name not in names and _told(part, rules, names, needed) is None


def _column(column: Column, rules: Rules, names: Collection[str], needed: Collection[str | None]) -> Column:
    if not t.is_nested(column.type):
        return column
    kind = _told(Part(column.name, column.type), rules, names, needed) or pa.null()
    if kind == column.type:
        return column
    return replace(column, type=kind, readable_as=column.readable_as | {kind})


def _told(part: Part, rules: Rules, names: Collection[str], needed: Collection[str | None]) -> pa.DataType | None:
    """The type with what is told; None if nothing is, not even that the part is there."""
    kind = part.type
    if part.path in needed:
        return kind
    nothing = pa.null() if part.path in names else None
    if t.is_struct(kind):
        inner = [(field, _told(part.child(f".{field.name}", field.type), rules, names, needed)) for field in kind]
        found = [field.with_type(of) for field, of in inner if of is not None]
        rest = [untold.FIELD] if len(found) < len(inner) else []
        return pa.struct([*found, *rest]) if found else nothing
    if t.is_list(kind) or t.is_large_list(kind):
        item = _told(part.child("[]", kind.value_type), rules, names, needed)
        of = pa.list_ if t.is_list(kind) else pa.large_list
        return of(kind.value_field.with_type(item)) if item is not None else nothing
    rule = rules.by_path.get(part.path)  # none where the schema contract keeps the column out
    dropped = rule is None or (rule.treat is Treat.DROP and rule.personal is None)
    return None if dropped and part.path not in names else kind
