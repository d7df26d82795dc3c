"""Entries that are named texts, as a system has them that knows no types: rows of typed columns."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.model import Batch, Reject, Stream
from importers.core.names import shown
from importers.exceptions import ContractError
from importers.sources._text.cells import called, convert

_ESCAPE = "backslashreplace"
UNSAID, NAME = "the source's `columns` don't name", "name them there, with their types"
UNSAMPLED, SAMPLE = "the sample didn't show", "raise `sample_rows` until it does, or name all fields in `columns`"


def entries_batch(
    stream: Stream,
    entries: Sequence[Mapping[bytes, bytes]],
    known: Collection[str],
    own: Mapping[str, pa.Array],
    places: Sequence[str],
    *,
    sampled: bool,
) -> Batch:
    """A field that an entry lacks is null; an entry with one that isn't of its column's type is a Reject.

    `known` are the fields that the policy has seen, `own` the columns that no entry has, `places` where each entry
    stands. `sampled`: a sample told the fields, not `columns`. Raises ContractError for a field that isn't known.
    """
    new = {name for fields in entries for name in fields} - {name.encode() for name in known}
    if new:
        raise ContractError(
            f"entries have fields that {UNSAMPLED if sampled else UNSAID}, so that nobody has classified them",
            got=shown(name.decode(errors=_ESCAPE) for name in new),
            do=f"{SAMPLE if sampled else NAME}, and say in `privacy.columns` what happens to them: it takes both",
        )
    bad: dict[int, str] = {}
    columns = []
    for column in stream.columns:
        if column.name in own:
            columns.append(own[column.name].cast(column.type))
            continue
        values, unfit = _typed([fields.get(column.name.encode()) for fields in entries], column.type)
        columns.append(values)
        for at in unfit:
            bad.setdefault(at, f"field '{column.name}': not {called(column.type)}")
    rows = pa.RecordBatch.from_arrays(columns, schema=stream.schema)
    if bad:
        rows = rows.filter(pa.array([at not in bad for at in range(len(entries))]))
    return Batch(rows, tuple(Reject(_shown(entries[at]), places[at], why) for at, why in sorted(bad.items())))


def _typed(said: list[bytes | None], kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """The values, and which aren't of that type."""
    given = pa.array(said, pa.binary())
    try:
        text = given.cast(pa.string())
    except pa.ArrowInvalid:
        text = pa.array([_text(value) for value in said], pa.string())
    values, _ = convert(text, kind, ())
    unfit: list[int] = pc.indices_nonzero(pc.and_(pc.is_valid(given), pc.is_null(values))).to_pylist()
    return values, unfit


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _shown(fields: Mapping[bytes, bytes]) -> bytes:
    """As JSON; what isn't UTF-8 is escaped."""
    texts = {name.decode(errors=_ESCAPE): said.decode(errors=_ESCAPE) for name, said in fields.items()}
    return json.dumps(texts, ensure_ascii=False).encode()
