"""Columns that a few odd values make text, such as an `n/a` among thousands of numbers, or that are for want of values:
nothing else would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from importers.core.model import Stream, Why
from importers.core.names import UNSHOWN, few, is_like_a_value
from importers.sources._text.cells import ARROW, TypeName, code_pattern
from importers.sources._text.widening import Typed

MOST = 0.9
"""The part of a column's values that has to be of one type, for the others to be odd."""
CODES = 0.01
"""The part of them that may be codes, such as 007: where there are more, all of them are."""
GLANCE = 100
"""Values that are looked at first, so that columns of words cost next to nothing."""
MANY_AT_A_GLANCE = 0.75
"""The part of those that has to be of the type for the others to be looked at."""
LIKELY = r"^\s*[+-]?[.,]?\d|^\s*(?i:true|false|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
"""How numbers, dates and times begin, and what is true or false."""
KINDS = tuple(kind for kind in TypeName if kind not in (TypeName.STRING, TypeName.DECIMAL))
"""Of those that as many values fit the first is meant: whole numbers are also numbers."""
TOLD = 10
"""Columns that are told each by itself."""
NOTHING_UNTOLD: Mapping[str, Why] = MappingProxyType({})

AsType: TypeAlias = Callable[[str, pa.Array, pa.DataType], Typed]
"""How texts of a column become values of a type, and which don't."""


class Odd(NamedTuple):
    """A column of text, of whose `many` sampled values all but a few would `fit` a type."""

    column: str
    kind: TypeName
    fit: int
    many: int


class Inferred(NamedTuple):
    """The columns of files by a sample, and which of them are text by a few odd values, or as they are `empty`, and
    which doubles that have fewer digits than their texts; `notes` are what else people should know, in a sentence each.
    `untold` says by path why a column, or what is in it, is of type null (`core.untold`); `mixed`, where
    there are a few values of another type, what there is.
    """

    schema: pa.Schema
    odd: Sequence[Odd] = ()
    empty: Sequence[str] = ()
    rounded: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    untold: Mapping[str, Why] = NOTHING_UNTOLD
    mixed: Mapping[str, str] = MappingProxyType({})


def inferred(
    schema: pa.Schema, texts: pa.Table, nulls: Sequence[str], as_type: AsType, kinds: Sequence[TypeName] = KINDS
) -> Inferred:
    """The schema, and its odd and empty columns by the texts of the sample. What is null or one of `nulls` tells
    nothing.
    """
    found, empty = list[Odd | None](), list[str]()
    for name in texts.column_names:
        if pa.types.is_string(schema.field(name).type):
            values = telling(texts.column(name), nulls)
            empty += [] if len(values) else [name]
            found.append(_odd(name, values, partial(as_type, name), kinds))
    return Inferred(schema, tuple(odd for odd in found if odd is not None), tuple(empty))


def telling(texts: pa.ChunkedArray, nulls: Sequence[str]) -> pa.Array:
    return texts.filter(pc.invert(pc.is_in(texts, pa.array(["", *nulls])))).drop_null().combine_chunks()


def _odd(
    name: str, texts: pa.Array, as_type: Callable[[pa.Array, pa.DataType], Typed], kinds: Sequence[TypeName]
) -> Odd | None:
    glance = texts.take(np.linspace(0, len(texts) - 1, min(GLANCE, len(texts))).astype(np.int64))
    if _part(pc.match_substring_regex(glance, LIKELY)) < MANY_AT_A_GLANCE:
        return None
    fit = dict.fromkeys(kinds, 0)
    for kind in kinds:
        if _part(_fitting(glance, ARROW[kind], as_type)) >= MANY_AT_A_GLANCE:
            fit[kind] = _most(texts, ARROW[kind], as_type)
    best = max(kinds, key=lambda kind: fit[kind])
    return Odd(name, best, fit[best], len(texts)) if 0 < fit[best] < len(texts) else None


def _most(texts: pa.Array, kind: pa.DataType, as_type: Callable[[pa.Array, pa.DataType], Typed]) -> int:
    """How many of the texts are of the type; 0 if it isn't most of them."""
    pattern = code_pattern(kind)
    if pattern and _part(pc.match_substring_regex(texts, pattern)) > CODES:
        return 0
    fits = _fitting(texts, kind, as_type)
    return int(pc.sum(fits).as_py()) if _part(fits) >= MOST else 0


def _fitting(texts: pa.Array, kind: pa.DataType, as_type: Callable[[pa.Array, pa.DataType], Typed]) -> pa.Array:
    values, refused = as_type(texts, kind)
    fits = pc.is_valid(values)
    for wrong, _ in refused:
        fits = pc.and_not(fits, wrong)
    return fits


def _part(which: pa.Array) -> float:
    return float(pc.mean(which).as_py() or 0.0)


def told(known: Inferred, stream: Stream, *, nulls: bool) -> tuple[str, ...]:
    """What is to be said of the columns that the stream has as text; of empty and rounded ones before their type is
    agreed on. `nulls`: whether `null_values` is a setting.
    """
    text = {column.name for column in stream.columns if pa.types.is_string(column.type)}
    here = [one for one in known.odd if one.column in text]
    more = (f"and so are {len(here) - TOLD:,} more columns",) if len(here) > TOLD else ()
    odd = (*(_told(one, nulls=nulls) for one in here[:TOLD]), *more)
    if stream.held_to:
        return odd
    doubles = {column.name for column in stream.columns if pa.types.is_floating(column.type)}
    empty = [name for name in known.empty if name in text]
    rounded = [name for name in known.rounded if name in doubles]
    return (*odd, *([_untyped(empty)] if empty else []), *([_rounded(rounded)] if rounded else []))


def _rounded(names: Sequence[str]) -> str:
    return (
        f"fractions of {_named(names)} have more digits than a double gives back, and are rounded. Where each digit "
        "counts, say `decimal` by `types` before a table is made, which stays one of doubles"
    )


def _named(names: Sequence[str]) -> str:
    return few(UNSHOWN if is_like_a_value(name) else name for name in names)


def _untyped(names: Sequence[str]) -> str:
    return (
        f"the sample has no value of {_named(names)}: {'it is' if len(names) == 1 else 'they are'} text from the first "
        "run on, whatever comes later. Say now by `types` what else is to come"
    )


def _told(odd: Odd, *, nulls: bool) -> str:
    column, others = UNSHOWN if is_like_a_value(odd.column) else odd.column, odd.many - odd.fit
    settle = f"by `types` what it is: `{column}: {odd.kind}` quarantines what doesn't fit, `{column}: string` says text"
    do = f'Put what means no value into `null_values`, beside ""; or say {settle}' if nulls else f"Say {settle}"
    return (
        f"the column '{column}' is text by the sample: {odd.fit:,} of its {odd.many:,} values are of type {odd.kind}, "
        f"{others:,} {'is' if others == 1 else 'are'} not. {do}"
    )
