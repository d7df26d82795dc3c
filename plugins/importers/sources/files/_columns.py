"""Which columns files have, and whether they are those that a plan took them to have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from importers.core.model import Stream
from importers.core.names import UNSHOWN, few, is_given, is_like_a_value, told
from importers.core.parts import Place, beside, first, may_lack, settled
from importers.core.widening import is_readable
from importers.exceptions import ContractError
from importers.sources._types import loadable
from importers.transport.files import File

APART = "a pipeline of their own, with a `load.table` of its own, or `load.shared: true` on each"


def as_asked(schema: pa.Schema, stream: Stream) -> pa.Schema:
    """The schema in which columns whose type is the sample's word, or nobody's, have the type that they are asked for
    with.
    """
    asked = {column.name: column.type for column in stream.columns if is_readable(column.readable_as, column.type)}
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


class Growth:
    """Files that are read one after the other: a later one may have columns that none before it had. It may lack those
    alone that nobody wants, or that `may_lack` says; and not if it may have one of them under another name.

    `since` says of each column the first file that has it, or had it when the stream was read before. `everything`: who
    reads all files knows the first one also where no older run has said it.
    """

    def __init__(self, schema: pa.Schema, stream: Stream, *, everything: bool = False) -> None:
        self._names, self._seen = schema.names, set[str]()
        self._asked = {column.name: column for column in stream.columns}
        known = (*stream.columns, *stream.unread)
        self._settled, self._shapes = settled(known), dict[frozenset[str], str]()
        self._known = {column.name: column.since for column in known if column.since is not None}
        self.since = {name: since for name, since in self._known.items() if since or not everything}

    def lacking(self, part: Place, shown: str, got: Sequence[str]) -> list[str]:
        """Which of the schema's columns the next file may and does lack. Raises ContractError for any other that it
        lacks, and for one that the schema hasn't.
        """
        there = frozenset(got)
        lacking = [name for name in self._names if name not in there]
        more = not there - self._settled <= self._known.keys()
        missed = frozenset(name for name in lacking if not self._may_lack(name, part, more=more))
        if missed or not there.issubset(self._names):
            before = self._seen or there
            expected = [name for name in self._names if name in before or name in missed]
            than = "the files before it" if missed <= self._seen else "it or a file before it had"
            raise _others(shown, got, expected, than, unseen=not missed)
        self._seen |= there
        self._shapes.setdefault(there, shown)
        self.since |= {name: first(part.name, self.since.get(name)) or "" for name in there}
        return lacking

    def compared(self) -> None:
        """Raises ContractError for a file that may have a column which it lacks under another name. Once all are seen:
        the first to have the column may come after it.
        """
        free = {got: loose for got in self._shapes if (loose := got.difference(self._asked, self._settled))}
        wanted = self._seen.intersection(self._asked) - self._settled
        always = {name: beside(name, self._shapes) for name in wanted if any(name not in got for got in free)}
        for got, loose in free.items():
            others = {name: found for name in sorted(always.keys() - got) if (found := loose - always[name])}
            if others:
                raise self._renamed(got, others)

    def _renamed(self, got: frozenset[str], others: Mapping[str, frozenset[str]]) -> ContractError:
        """`others`: of columns that the file lacks what each may be called there, which a file that has it lacks."""
        missed, found = few(others), sorted(frozenset().union(*others.values()))
        first = next(iter(others))
        other = next(names for names in self._shapes if first in names and not others[first] <= names)
        what = "it may be the same" if len(others) == len(found) == 1 else "some may be the same"
        shapes = [(self._shapes[names], [name for name in self._names if name in names]) for names in (got, other)]
        said = told(got | other, self._asked)  # a file without its header may have anything in their place
        drops = few(dict.fromkeys(f"`{said[name] if said[name] != UNSHOWN else 'NAME'}: drop`" for name in found), 30)
        return ContractError(
            f"the file '{self._shapes[got]}' lacks {missed}, and has {_listed([said[name] for name in found])}, which "
            f"a file with {missed} lacks: {what} under another name",
            got="; ".join(f"{path}: {_listed([said[name] for name in names])}" for path, names in shapes),
            do=f"correct the file; or, if it is something else, say {drops} in `privacy.columns`; or name {missed} in "
            "`load.optional`: null then, where a file lacks it",
        )

    def _may_lack(self, name: str, part: Place, *, more: bool) -> bool:
        asked = self._asked.get(name)
        since = first(self.since.get(name), self._known.get(name))
        return asked is None or may_lack(replace(asked, since=since), part, more=more)


def mark(file: File) -> str:
    """What a plan calls a file where it tells files by their columns (`Column.since`)."""
    return f"{file.lane}!{file.member}" if file.member else file.lane


def filled(rows: pa.RecordBatch, target: pa.Schema) -> pa.RecordBatch:
    """The rows with nulls in the columns of the target that they lack, in its order; what it lacks is left out."""
    there, many = frozenset(rows.schema.names), rows.num_rows
    columns = [rows[f.name] if f.name in there else pa.nulls(many, f.type) for f in target]
    return pa.RecordBatch.from_arrays(columns, names=target.names)


def akin(path: str, got: Sequence[str], expected: Sequence[str]) -> None:
    """Raises ContractError for a file that has none of the names, or others that look like values: they may be data."""
    new = set(got).difference(expected)
    if len(new) == len(got) or any(map(is_like_a_value, new)):
        raise _others(path, got, expected)


def same_columns(path: str, got: Sequence[str], expected: Sequence[str]) -> None:
    """Raises ContractError unless both name the same columns, in whatever order."""
    if set(got) != set(expected):
        raise _others(path, got, expected)


def _others(
    path: str, got: Sequence[str], expected: Sequence[str], than: str = "the files before it", *, unseen: bool = False
) -> ContractError:
    """`unseen`: the file has all that it should, and what neither the first nor the last file of a run has."""
    known = [name for name in expected if name in got]
    odd = [name.casefold() for name in {*got} ^ {*expected}]
    every = {name.casefold() for name in got} & {name.casefold() for name in expected}
    cased = not every.isdisjoint(odd)
    extra = [name for name in told(got, expected).values() if name not in expected]
    lacking = [name for name in expected if name not in got]
    return ContractError(
        f"the file '{path}' has other columns than {than}: "
        + "; ".join(f"{what} {_listed(names)}" for what, names in (("more:", extra), ("fewer:", lacking)) if names),
        got=f"{len(got)} columns, of which {len(known)} are known; expected {few(expected, 30)}",
        do=("upper and lower case differ, and count: " if cased else "")
        + f"correct the file, or give files of another shape {APART}"
        + ("; a column that files may lack goes into `load.optional`, and is null then" if known and lacking else "")
        + (f"; or, if it is right, {_ALONE}" if unseen else ""),
    )


_ALONE = (
    "read it in a run of its own, by a `path` that matches no other: the first and the last file of a run say which "
    "columns there are. What later files lack goes into `load.optional`, or is dropped by the policy"
)


def shown(name: str) -> str:
    """The name if it looks like one that somebody gave to a column. Others may be data and aren't told."""
    return name if is_given(name) else UNSHOWN


def _listed(names: Sequence[str]) -> str:
    given = [name for name in names if name != UNSHOWN]
    untold, given = len(names) - len(given), [few(given, 30)] if given else []
    return ", ".join([*given, f"{untold} that {'isn' if untold == 1 else 'aren'}'t shown"] if untold else given)
