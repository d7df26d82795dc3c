"""What no record of the sample of what a run reads has, though the last run knew it.

Records of JSON needn't have each field, so that a key with a new name is a column of nulls (decision 0014): it is told.
"""

from __future__ import annotations

import pyarrow as pa

from importers.core.model import Column, Stream
from importers.core.names import few, told
from importers.core.settings import StreamSettings
from importers.core.tenant import Subject
from importers.privacy.leaves import leaves
from importers.privacy.rules import drops, drops_by_name

_NAME_IT = (
    "If it has a new name, have the source give it the old one, or say the new one in the tenant's file; if it may be "
    "missing, name the column in `load.optional`"
)


def notes(known: Stream, seen: pa.Schema, settings: StreamSettings) -> tuple[str, ...]:
    """What to say of a run, the subject first. `known` is what the last run was planned with, `seen` what the sampled
    records of this one have.
    """
    columns = [column for column in known.columns if column.name not in settings.load.optional]
    subject = settings.privacy.subject
    said = list[str]()
    whose = subject.column if isinstance(subject, Subject) else ""
    there = {leaf.path for leaf in leaves(seen)}
    of = next((column for column in columns if whose in _paths(column)), None)
    if of is not None and whose not in there:
        renamed = "" if of.name in seen.names else _renamed(of, known, seen, settings)
        said.append(
            f"no record of the sample says whose it is: none has '{whose}', the subject{renamed}. A row without it is "
            f"nobody's: it is loaded, no erasure finds it, and whoever was erased isn't kept out. {_NAME_IT}"
        )
    gone = [c for c in columns if c.name not in seen.names and c is not of and not drops(settings.privacy, c)]
    if gone:
        each = few(f"{column.name}{_renamed(column, known, seen, settings)}" for column in gone)
        said.append(f"no record of the sample has {each}, which the last run knew: missing, it is null. {_NAME_IT}")
    return tuple(said)


def _paths(column: Column) -> set[str]:
    return {column.name, *(leaf.path for leaf in leaves([pa.field(column.name, column.type)]))}


def _renamed(gone: Column, known: Stream, seen: pa.Schema, settings: StreamSettings) -> str:
    """The one new column of the same type, or the one that nobody wants and nobody named."""
    before, policy, optional = {column.name for column in known.columns}, settings.privacy, settings.load.optional
    alike = [Column(f.name, f.type, None) for f in seen if f.type == gone.type and f.name not in optional]
    open_ = [column for column in alike if not drops_by_name(policy, column)]  # of others the tenant says what they are
    new = [column for column in open_ if column.name not in before]
    safe = told(seen.names, before)
    likely = [safe[c.name] for c in new or open_ if c.name not in before or drops(policy, c)]
    return f" (it may be {likely[0]} now)" if len(likely) == 1 else ""
