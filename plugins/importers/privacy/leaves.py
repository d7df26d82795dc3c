"""Takes nested columns apart into leaves, and puts them together again around the treated ones.

A leaf's path says how to reach it: `payload.user.email`, `items[].id` (of each item of a list), `attrs{key}` and
`attrs{value}` (of a map). One walk both finds leaves and treats them, so that none is treated that wasn't found, and
none found that isn't treated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.exceptions import PrivacyError


@dataclass(frozen=True, slots=True)
class Part:
    """A column or something inside one; `parents` are the paths of what it is in, nearest first."""

    path: str
    type: pa.DataType
    parents: tuple[str, ...] = ()

    def child(self, step: str, kind: pa.DataType) -> Part:
        return Part(self.path + step, kind, (self.path, *self.parents))

    @property
    def many(self) -> bool:
        """Whether a row may hold several: it is in a list or a map."""
        steps = (inner[len(outer) :] for outer, inner in pairwise([*reversed(self.parents), self.path]))
        return any(not step.startswith(".") for step in steps)

    @property
    def column(self) -> str:
        return self.parents[-1] if self.parents else self.path

    @property
    def opaque(self) -> bool:
        """Whether it may hold fields that nobody can address, so that no treatment but dropping is honest."""
        kind = self.type.storage_type if isinstance(self.type, pa.BaseExtensionType) else self.type
        return bool(t.is_nested(kind))


@dataclass(frozen=True, slots=True)
class Treated:
    """How a part leaves: its type, and the function from array to array. `kept` if that is the identity."""

    type: pa.DataType
    apply: Callable[[pa.Array], pa.Array]
    kept: bool = False


Decide: TypeAlias = Callable[[Part], Treated | None]
"""What happens to a leaf; None drops it."""


def keep(kind: pa.DataType) -> Treated:
    return Treated(kind, lambda values: values, kept=True)


def leaves(fields: Iterable[pa.Field]) -> list[Part]:
    """Every leaf of the columns, in order. Raises PrivacyError if two couldn't be told apart by their paths."""
    columns = list(fields)
    found: list[Part] = []
    for field in columns:
        treat(Part(field.name, field.type), found.append)
    for names in ([field.name for field in columns], [leaf.path for leaf in found]):
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise PrivacyError("a policy can't tell columns of one name apart", got=", ".join(twice), do="rename one")
    return found


def treat(part: Part, decide: Decide) -> Treated | None:
    """What becomes of a part when `decide` has treated its leaves. What has no leaf left vanishes."""
    kind = part.type
    if t.is_struct(kind):
        return _struct(kind, [part.child(f".{field.name}", field.type) for field in kind], decide)
    if t.is_map(kind):
        return _map(part, decide)
    if isinstance(kind, _LISTS):
        return _list(kind, treat(part.child("[]", kind.value_type), decide))
    if t.is_dictionary(kind) and t.is_nested(kind.value_type):
        return _decoded(part, decide)
    return decide(part)


_LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType, pa.LargeListViewType)


def _struct(kind: pa.StructType, parts: Iterable[Part], decide: Decide) -> Treated | None:
    results = [treat(part, decide) for part in parts]
    left = [(number, result) for number, result in enumerate(results) if result is not None]
    if not left:
        return None
    if len(left) == len(results) and all(result.kept for _, result in left):
        return keep(kind)
    made = [pa.field(kind.field(number).name, result.type) for number, result in left]

    def apply(values: pa.Array) -> pa.Array:
        children = [result.apply(values.field(number)) for number, result in left]
        return pa.StructArray.from_arrays(children, fields=made, mask=values.is_null())

    return Treated(pa.struct(made), apply)


def _list(kind: pa.DataType, item: Treated | None) -> Treated | None:
    if item is None or item.kept:
        return item and keep(kind)
    large = isinstance(kind, (pa.LargeListType, pa.LargeListViewType))
    made = pa.large_list(item.type) if large else pa.list_(item.type)
    offset = pa.int64() if large else pa.int32()

    def apply(values: pa.Array) -> pa.Array:
        # Offsets are counted anew: those of a sliced array, and items hidden beneath a null, belong to nobody here.
        lengths = pc.list_value_length(values).fill_null(0)
        offsets = pa.concat_arrays([pa.array([0], offset), pc.cumulative_sum(lengths).cast(offset)])
        of = pa.LargeListArray if large else pa.ListArray
        return of.from_arrays(offsets, item.apply(values.flatten()), type=made, mask=values.is_null())

    return Treated(made, apply)


def _map(part: Part, decide: Decide) -> Treated | None:
    """A map of which anything is treated becomes a list of entries: a treated key may be null, or not be there."""
    entry = pa.struct([("key", part.type.key_type), ("value", part.type.item_type)])
    parts = [part.child("{key}", part.type.key_type), part.child("{value}", part.type.item_type)]
    listed = _list(pa.list_(entry), _struct(entry, parts, decide))
    if listed is None or listed.kept:
        return listed and keep(part.type)
    return Treated(listed.type, lambda values: listed.apply(values.cast(pa.list_(entry))))


def _decoded(part: Part, decide: Decide) -> Treated | None:
    inner = treat(Part(part.path, part.type.value_type, part.parents), decide)
    if inner is None:
        return None
    return Treated(inner.type, lambda values: inner.apply(values.dictionary_decode()))
