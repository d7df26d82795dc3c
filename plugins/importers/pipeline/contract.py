"""The schema contract: what becomes of columns and types that the stream's last committed run didn't know.

What was agreed is what that run was planned with, and any that stood beside it; before the first one there is nothing
to hold a source to. A column that has gone, or has another name now, stops a run in every mode: nulls in its place
would look like data. `evolve` takes new columns, which the policy must classify, and wider types; `freeze` refuses both
at the gate, within objects too. `discard` doesn't read new columns, `quarantine` keeps out the rows that have something
in them; both keep the types, and rows whose values don't fit go to quarantine.

Where a type comes from a sample, one odd cell in it would say text. So what the last run took the column to be is asked
for again, and the odd cell's row is quarantined where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.coded import decoded_schema
from importers.core.destination import Mask
from importers.core.exact import akin, exactly, is_text, lost
from importers.core.model import OURS, Column, LoadMode, Plan, Stream
from importers.core.names import few, shown_type, told
from importers.core.parts import Place, may_lack
from importers.core.settings import StreamSettings
from importers.core.tenant import Load, Privacy
from importers.core.untold import is_untold, retold
from importers.core.widening import decided, is_readable, joined, undecided, wider
from importers.exceptions import ContractError
from importers.pipeline.nested import as_before
from importers.privacy.leaves import leaves
from importers.privacy.rules import covers, drops, drops_by_name, stricter
from importers.staging.manifest import joinable

_NOTHING = pa.schema([])
CLOSED = frozenset({"discard", "quarantine"})
"""The modes in which a table's columns and types stay as they are while rows are loaded."""
VERSION = 2
"""Of how it is decided what fits a closed contract: no run is judged by one version and loaded by another, whose nulls
would be values."""


def agreed(
    offered: Stream,
    known: Stream,
    load: Load,
    *,
    sparse: bool,
    dropped: Collection[str],
    settled: Collection[str] = (),
    parts: Callable[[], Collection[Place]] = tuple,
) -> Stream:
    """What is read of the stream that a source offers, `known` being that of the last committed run.

    `sparse`: records needn't have each field. `dropped`: columns that the policy takes out, which nobody will miss.
    `settled`: those that are what they are called, by the tenant's file. `parts`: asked for what the run reads. Raises
    ContractError for a column that has gone.
    """
    there = {column.name for column in offered.columns}
    gone = [replace(c, optional=c.name in load.optional) for c in known.columns if c.name not in there]
    gone = [column for column in gone if column.optional or column.name not in dropped]
    closed = load.schema_change in CLOSED
    # a contract that forgot a field which no record has today would take it for a new one tomorrow
    stays = sparse and load.schema_change != "evolve"
    absent = [column for column in gone if column.optional or stays]
    missed = [] if sparse else [column for column in gone if not column.optional]
    if missed:
        read, more = parts(), not there <= {*settled, *(column.name for column in known.columns)}
        # what only a replay has brought came from a delivery that nobody can name any more
        needed = _identifying(offered, missed)
        dated = [c for c in missed if read and c.since is not None and c.name not in needed]
        late = [column for column in dated if all(may_lack(column, part, more=more) for part in read)]
        absent, missed = [*absent, *late], [column for column in missed if column not in late]
    if missed:
        raise _vanished(offered, known, missed)
    names = tuple(column.name for column in absent)
    stream = replace(offered, columns=(*offered.columns, *absent), absent=names, held_to=known.held_to)
    types = {column.name: column.type for column in known.columns}
    if not closed:
        kinds = {name: kind for name, kind in types.items() if not t.is_null(kind)}
        return replace(stream, columns=tuple(_as_before(c, kinds.get(c.name), load) for c in stream.columns))
    # read as sampled: what doesn't fit is a row in quarantine, with its other columns under the policy; and the type of
    # what was dropped of an object isn't known any more
    columns = tuple(_held_to(c, retold(types[c.name], c.type)) for c in stream.columns if c.name in types)
    beyond = (*offered.beyond, *(c for c in offered.columns if c.name not in types))
    return replace(stream, columns=columns, beyond=beyond)


def _held_to(column: Column, known: pa.DataType) -> Column:
    """The column in the type that a closed contract knows. Text is asked for as such where a sample says something
    that is written in several ways, floats, moments or True: it would come out as another text. An integer has one.
    Where nothing has a value, any type is asked for.
    """
    again = (is_text(known) and not t.is_integer(column.type)) or undecided(column.readable_as) is not None
    readable = frozenset({known}) if again and is_readable(column.readable_as, known) else frozenset()
    if is_untold(known):
        readable = frozenset({known})
    return replace(column, type=known, readable_as=readable)


def replayed(offered: Stream, known: Stream, settings: StreamSettings, held: pa.Schema = _NOTHING) -> Stream:
    """The stream of a replay: rows of old deliveries, whatever the source has today in place of what was agreed on.

    What the source offers beside that, or the rows have that are `held`, columns and fields of nested ones, is for a
    replay only if the contract is open and the policy says something of it; else rows with something in it stay where
    they are. Types are as they were unless somebody has declared others; the class is the stricter of then and today.
    """
    load, policy = settings.load, settings.privacy
    evolves = load.schema_change == "evolve"
    kinds = {field.name: field.type for field in held}
    came = {column.name: column for column in (*offered.columns, *offered.beyond)}
    columns, beyond = [], []
    for column in known.columns:
        today = came.pop(column.name, column)
        kind = today.type if t.is_null(column.type) or (evolves and not today.readable_as) else column.type
        agreed = replace(column, type=kind, personal=stricter(today.personal, column.personal))
        whole = _with_fields(agreed, kinds.pop(column.name, kind))
        takes = whole == agreed or (evolves and covers(policy, whole))
        columns.append(whole if takes else agreed)
        beyond += [] if takes or load.schema_change in CLOSED else [whole]
    new = [_with_fields(column, kinds.pop(column.name, column.type)) for column in came.values()]
    for column in (*new, *(Column(name, kind, None) for name, kind in kinds.items())):
        # no delivery is known to have had it
        (columns if evolves and covers(policy, column) else beyond).append(replace(column, since=None))
    return replace(offered, columns=tuple(columns), beyond=tuple(beyond), held_to=known.held_to)


def _with_fields(column: Column, came: pa.DataType) -> Column:
    """The column with the fields that what came has beside its own."""
    return replace(column, type=joined(column.type, came))


def marked(stream: Stream, known: Stream | None, load: Load) -> Stream:
    """The stream in which it is said of each column which parts of what is delivered may lack it: none may lack what
    says whose row it is, and which.
    """
    since = {column.name: column.since for column in known.columns} if known else {}
    since |= dict.fromkeys(_identifying(stream, stream.columns), "")
    columns = (replace(c, since=since.get(c.name), optional=c.name in load.optional) for c in stream.columns)
    return replace(stream, columns=tuple(columns))


def _identifying(stream: Stream, columns: Iterable[Column]) -> set[str]:
    """The columns that say whose row it is, and which."""
    said = {*stream.primary_key, stream.cursor, stream.subject}
    there = leaves(pa.field(column.name, column.type) for column in columns)
    return {leaf.column for leaf in there if not said.isdisjoint((leaf.column, leaf.path))}


def remembering(stream: Stream, planned: Plan) -> Stream:
    """The stream as the next run is to know it, by what a plan has seen of its columns and of the parts of the source.

    What a run that replaces everything has read, no position says: it is kept where parts differ in their columns.
    """
    columns = tuple(replace(c, since=planned.since.get(c.name, c.since)) for c in stream.columns)
    differ = len({column.since for column in columns if column.since}) > 1
    loaded = planned.position if differ and stream.load_mode is LoadMode.REPLACE else {}
    return replace(stream, columns=columns, loaded=loaded)


def _as_before(column: Column, known: pa.DataType | None, load: Load) -> Column:
    """A sampled column with the type that it had; what really is wider comes as such, or is refused, nevertheless."""
    if known is not None and (nothing := undecided(column.readable_as)) is not None:
        column = replace(column, type=decided(nothing, known))
    sampled = column.type
    if load.schema_change == "freeze" and known is not None and t.is_nested(known):
        return as_before(column, known)
    if known is None or known == sampled or not is_readable(column.readable_as, known):
        return column
    if t.is_timestamp(known) and t.is_timestamp(sampled) and (known.tz is None) == (sampled.tz is None):
        return column  # of another unit
    if load.schema_change == "freeze" and wider(known) == sampled:
        return column  # for the gate to refuse
    return replace(column, type=known)


def widened(settled: Stream, offered: Stream, asked: Stream) -> Stream:
    """The stream in which the columns that the sample shows to be wider are so, if they may (see decision 0011)."""
    types = {column.name: column.type for column in offered.columns}
    free = {c.name for c in asked.columns if c.widens and c.readable_as and wider(c.type) == types[c.name]}
    columns = (replace(c, type=types[c.name]) if c.name in free else c for c in settled.columns)
    return replace(settled, columns=tuple(columns)) if free else settled


def _vanished(offered: Stream, known: Stream, missed: Collection[Column]) -> ContractError:
    names = {column.name for column in known.columns}
    safe = told((column.name for column in offered.columns), names)
    new = [replace(c, name=safe[c.name]) for c in offered.columns if c.name not in names]
    renamed = [
        f"{old.name} may be {likely[0].name} now"
        for old in missed
        if len(likely := [column for column in new if column.type == old.type]) == 1
    ]
    gone = few(column.name for column in missed)
    also = f", and what is new: {few(column.name for column in new)}" if new else ""
    named = f"privacy.columns has to name {gone} as before{also}"
    return ContractError(
        f"columns have gone that the last run had: {gone}" + (f" ({'; '.join(renamed)})" if renamed else ""),
        got=f"delivered: {_typed(offered, safe)}; agreed: {_typed(known)}",
        do=f"mend the source; or name them in load.optional, if they may be missing: then they are null, and {named}",
    )


def _typed(stream: Stream, safe: Mapping[str, str] | None = None) -> str:
    return few((f"{safe[c.name] if safe else c.name} {shown_type(c.type)}" for c in stream.columns), 30)


def dropped(policy: Privacy, known: Stream) -> set[str]:
    """The columns of which a policy leaves nothing."""
    return {column.name for column in known.columns if drops(policy, column)}


def settled(columns: Iterable[Column], settings: StreamSettings) -> set[str]:
    """The columns of which the tenant's file says, by name, that they may be missing or aren't wanted: none of them is
    one that is missed, under another name.
    """
    said = settings.load.optional
    return {column.name for column in columns if column.name in said or drops_by_name(settings.privacy, column)}


def whole(rows: pa.RecordBatch, stream: Stream) -> pa.RecordBatch:
    """The rows with nulls in the columns that the source doesn't have today."""
    for column in stream.columns:
        if column.name in stream.absent and column.name not in rows.schema.names:
            rows = rows.append_column(column.name, pa.nulls(rows.num_rows, column.type))
    return rows


def opened(agreed: pa.Schema, came: pa.Schema, beyond: Collection[str]) -> pa.Schema:
    """What came, as an open contract takes it: in wider types, but no text in place of what isn't any, nor the like,
    within objects neither.

    Only a replay brings such: what a closed contract kept out, as while a cell made its whole column text. A column
    that nobody has agreed on is still there, for the policy to stop at, unless it is `beyond` what is replayed: then
    it isn't, or without the fields of which the policy says nothing.
    """
    there = (field for field in came if field.name not in beyond or field.name in agreed.names)
    return pa.schema([agreed.field(f.name) if f.name in beyond else _meant(agreed, f) for f in there])


def _meant(agreed: pa.Schema, came: pa.Field) -> pa.Field:
    if came.name not in agreed.names:
        return came
    known = agreed.field(came.name)
    plain = _plain(known.type)
    if t.is_nested(came.type) and t.is_nested(plain):
        return came if joinable(plain, came.type) else known
    wider = akin(came.type, plain) and (is_text(plain) or not is_text(came.type))
    return came if wider else known


def fitted(rows: pa.RecordBatch, agreed: pa.Schema) -> pa.RecordBatch:
    """The rows in the columns and types that were agreed on, and our own; what doesn't fit is null."""
    came = decoded_schema(rows.schema)
    names = [name for name in came.names if name in agreed.names or name in OURS]
    if len(names) == len(came) and all(
        name in OURS or came.field(name).type == agreed.field(name).type for name in names
    ):
        return rows
    arrays = [rows[name] if name in OURS else exactly(rows[name], agreed.field(name).type) for name in names]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def unfit(rows: pa.RecordBatch, agreed: pa.Schema, known: Collection[str]) -> dict[str, Mask]:
    """The rows that the contract keeps out, by why: with something in a column beside `known`, or of another type."""
    found, came = {}, decoded_schema(rows.schema)
    for name in rows.schema.names:
        if name in agreed.names and came.field(name).type != agreed.field(name).type:
            unfit = lost(rows[name], exactly(rows[name], agreed.field(name).type))
            if unfit.any():
                found[f"{name}: not the {shown_type(agreed.field(name).type)} that the schema contract knows"] = unfit
        elif name not in known and name not in OURS:
            there = pc.is_valid(rows[name]).to_numpy(zero_copy_only=False)
            if there.any():
                found[f"{name}: a column that the schema contract doesn't know"] = there
    return found


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if t.is_dictionary(kind) else kind
