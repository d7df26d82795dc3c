"""What sampled objects of JSON hold, told by their values. Each of them tells its keys, also one that is no row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from math import isfinite
from operator import not_
from typing import Any, NamedTuple

import pyarrow as pa

from importers.core.model import Why
from importers.core.widening import levels
from importers.exceptions import ContractError
from importers.sources._text.json_keys import Twice
from importers.sources._text.json_misfits import is_told

MOST = 1600
"""Keys that the objects of one place may have among them, in the sample: as many as a table may have columns."""
SAMPLED = 16 << 20
"""Keys times records that a sample may have."""
DEEPEST = 120
"""Levels of nesting. Arrow reads no schema that has 125, which is in the plan though nobody wants the column."""
MAJORITY = 0.9
"""The part of the values in one place that has to be of one type, for the others to be odd."""
MOMENTS = (pa.timestamp("us", "UTC"), pa.timestamp("us"))
SECONDS = (pa.timestamp("s", "UTC"), pa.timestamp("s"))
BY_TYPES = ", or say by `types` which it is: what doesn't fit is quarantined then"
_CALLED = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "list"}


class Told(NamedTuple):
    """The columns, of type null where nothing is told (`core.untold`), and by path why; and where some values are `odd`
    how they are called, which go to quarantine.
    """

    schema: pa.Schema
    untold: Mapping[str, Why]
    odd: Mapping[str, str]


def told(
    rows: Sequence[Mapping[str, Any]],
    said: Mapping[str, pa.DataType] | None = None,
    *,
    called: Callable[[str], str] = str,
    fractions: bool = False,
) -> Told:
    """What the objects hold. Text stays text, but for columns that are all times, with a zone or all without: with
    `fractions` also such as 12:00:00.5, of up to six digits.

    What is of several types is of the one that is `said` of its path, such as `items[].price`, or of what that is
    `called`; else of that of the `MAJORITY`; else nothing is told. Objects that are no rows so, as they don't fit that,
    or have a key `Twice`, tell nothing but keys that no other has. Nor is anything told of an object with more than
    `MOST` keys.
    Raises ContractError for what can't be held.
    """
    root, telling, odd = _told_by(rows, said or {}, called)
    if len(root.fields) * len(rows) > SAMPLED:
        raise ContractError(
            f"the {len(rows):,} records of the sample have {len(root.fields):,} different keys, of which each would be "
            "a column",
            do="let the writer put what differs from record to record into an object of its own, and drop that; or "
            "read fewer as a sample, by `sample_rows`",
        )
    types = _Types(said, called)
    fields = [pa.field(name, types.of(name, node)) for name, node in root.fields.items()]
    for field in fields:
        if levels(field.type) > DEEPEST:
            raise ContractError(
                f"'{shown(field.name)}' is nested in more than {DEEPEST} levels", do="have it written in fewer"
            )
    moments = MOMENTS if fractions else SECONDS
    kinds = [_settled(field, telling, moments) for field in fields]
    schema = pa.schema([field.with_type(kind) for field, kind in zip(fields, kinds, strict=True)])
    return Told(schema, types.untold, odd)


def textual(kind: pa.DataType) -> pa.DataType:
    """The type with text where there were only nulls, or times inside of objects."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(textual(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(textual(kind.value_type)))
    return pa.string() if pa.types.is_null(kind) or pa.types.is_timestamp(kind) else kind


def shown(path: str) -> str:
    """The path, if its keys look like names. They may be data."""
    return path if is_told(path) else "a key that isn't shown"


class _Node:
    """The values of one place: how many are of which type, and what is in those that are objects and lists."""

    __slots__ = ("counts", "fields", "items", "unsound")

    def __init__(self) -> None:
        self.counts: dict[type, int] = {}
        self.fields: dict[str, _Node] = {}
        self.items: _Node | None = None
        self.unsound = False  # whether something in one of them is no JSON, or none that a row can be made of

    def take(self, record: Mapping[str, Any], depth: int = 0, *, keys: bool = False) -> None:
        """Of a record, or of an object in one; with `keys` only what no other record tells."""
        fields = self.fields
        self.unsound |= type(record) is Twice
        for key, value in record.items():
            node = fields.get(key)
            if node is None:
                if not _is_text(key):
                    self.unsound = True
                    continue
                if depth and len(fields) > MOST:
                    continue
                node = fields[key] = _Node()
            if value is not None:
                node.count(value, depth + 1, keys=keys)

    def count(self, value: Any, depth: int, *, keys: bool) -> None:
        kind = type(value)
        if kind is int and not -(2**63) <= value < 2**63:
            kind = float
        elif kind is float and not isfinite(value):  # 1e400, NaN
            self.unsound = True
            return
        elif kind is Twice:
            kind = dict
        if keys and self.counts:
            if kind not in self.counts:
                return
        else:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        if depth > DEEPEST:
            return
        if kind is dict:
            self.take(value, depth, keys=keys)
        elif kind is list:
            self._count_each(value, depth + 1, keys=keys)

    def _count_each(self, values: Iterable[Any], depth: int, *, keys: bool) -> None:
        items = self.items = self.items or _Node()
        for value in values:
            if value is not None:
                items.count(value, depth, keys=keys)

    @property
    def groups(self) -> dict[str, int]:
        """How many values there are by what they are called."""
        found: dict[str, int] = {}
        for kind, many in self.counts.items():
            found[_CALLED[kind]] = found.get(_CALLED[kind], 0) + many
        return found

    @property
    def majority(self) -> str | None:
        """What nearly all values are called, though not all."""
        groups = self.groups
        most = max(groups.values(), default=0)
        few = len(groups) - 1 > 0 and most >= MAJORITY * sum(groups.values())
        return next(group for group in groups if groups[group] == most) if few else None

    def places(self, path: str = "") -> Iterator[tuple[str, _Node]]:
        """All that are within it, by path."""
        for key, node in self.fields.items():
            here = f"{path}.{key}" if path else key
            yield here, node
            yield from node.places(here)
        if self.items is not None:
            yield f"{path}[]", self.items
            yield from self.items.places(f"{path}[]")


def _is_text(key: str) -> bool:
    """Whether it is no half of a character, which Arrow doesn't take."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def _told_by(
    rows: Sequence[Mapping[str, Any]], said: Mapping[str, pa.DataType], called: Callable[[str], str]
) -> tuple[_Node, Sequence[Mapping[str, Any]], Mapping[str, str]]:
    """What is in which place; the rows that tell the types; and the places in which some others have odd values."""
    every = _sum(rows)
    if not every.unsound and all(len(node.groups) < 2 and not node.unsound for _, node in every.places()):
        return every, rows, {}
    alone = [_sum([row]) for row in rows]
    fit = [_is_sound(one) and _is_as_said(one, said, called) for one in alone]
    alike = [fits and _is_of_one_type(one, said, called) for one, fits in zip(alone, fit, strict=True)]
    tell = alike if sum(alike) >= MAJORITY * sum(fit) else fit
    root = _sum(compress(rows, tell))
    usual = {path: group for path, node in root.places() if called(path) not in said and (group := node.majority)}
    odd = {called(path): _listed(node.groups) for path, node in root.places() if path in usual}
    tell = [
        tells and all(path not in usual or node.groups.keys() <= {usual[path]} for path, node in one.places())
        for tells, one in zip(tell, alone, strict=True)
    ]
    if not any(tell):
        return every, rows, {}
    telling = list(compress(rows, tell))
    root = _sum(telling)
    for row in compress(rows, map(not_, tell)):
        root.take(row, keys=True)
    return root, telling, odd


def _is_sound(record: _Node) -> bool:
    return not record.unsound and not any(node.unsound for _, node in record.places())


def _sum(rows: Iterable[Mapping[str, Any]]) -> _Node:
    root = _Node()
    for row in rows:
        root.take(row)
    return root


def _is_as_said(record: _Node, said: Mapping[str, pa.DataType], called: Callable[[str], str]) -> bool:
    kinds = ((node.groups, said.get(called(path))) for path, node in record.places())
    return all(kind is None or groups.keys() <= _taken(kind) for groups, kind in kinds)


def _is_of_one_type(record: _Node, said: Mapping[str, pa.DataType], called: Callable[[str], str]) -> bool:
    """Whether in no place of it are values of several types, of which none is said."""
    return all(len(node.groups) < 2 or called(path) in said for path, node in record.places())


def _taken(kind: pa.DataType) -> set[str]:
    """What of JSON's values can be of the type."""
    if pa.types.is_boolean(kind):
        return {"boolean"}
    if pa.types.is_decimal(kind):
        return {"number", "string"}
    return {"number"} if pa.types.is_integer(kind) or pa.types.is_floating(kind) else {"string"}


class _Types:
    """The types of places; and why some have none."""

    def __init__(self, said: Mapping[str, pa.DataType] | None, called: Callable[[str], str]) -> None:
        self._said, self._called = said, called
        self.untold: dict[str, Why] = {}

    def of(self, path: str, node: _Node) -> pa.DataType:
        groups, name = node.groups, self._called(path)
        if not groups:
            return pa.string()
        usual = next(iter(groups))
        if len(groups) > 1:
            if self._said and name in self._said:
                return textual(self._said[name])
            usual = node.majority or ""
            if not usual:
                do = f"drop it, or let the writer settle on one{'' if self._said is None else BY_TYPES}"
                self.untold[name] = Why(f"it is {_listed(groups)}, in the sample", do, settled=True)
                return pa.null()
        if usual == "object":
            return self._object(path, node)
        if usual == "list":
            return pa.list_(self.of(f"{path}[]", node.items or _Node()))
        if usual == "number":
            return pa.float64() if float in node.counts else pa.int64()
        return pa.bool_() if usual == "boolean" else pa.string()

    def _object(self, path: str, node: _Node) -> pa.DataType:
        if len(node.fields) > MOST:
            what = f"it has more than {MOST:,} different keys in the sample"
            do = "drop it, or let the writer make a list of it, with a key and a value in each item"
            self.untold[self._called(path)] = Why(what, do)
            return pa.null()
        return pa.struct([(key, self.of(f"{path}.{key}", inner)) for key, inner in node.fields.items()])


def _listed(groups: Mapping[str, int]) -> str:
    most = sorted(groups, key=lambda group: -groups[group])
    of = {group: f"{'an' if group == 'object' else 'a'} {group}" for group in most}
    return " and ".join(f"{of[group]} in {groups[group]:,} places" for group in most).replace(" 1 places", " one place")


def _settled(field: pa.Field, rows: Sequence[Mapping[str, Any]], moments: Sequence[pa.DataType]) -> pa.DataType:
    if not pa.types.is_string(field.type):
        return field.type
    texts = [text for row in rows if isinstance(text := row.get(field.name), str)]
    # words cost a cast of one of them, not of all
    fit = (number for number, kind in enumerate(moments) if texts and _are(texts[:1], kind) and _are(texts, kind))
    return next((MOMENTS[number] for number in fit), pa.string())


def _are(texts: Sequence[str], kind: pa.DataType) -> bool:
    """As blocks are read: no digit is cut, a moment with a zone is none without, and the other way round."""
    try:
        pa.array(texts, pa.string()).cast(kind)
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return False
    return True
