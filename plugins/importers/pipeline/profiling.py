"""A file's columns, for the person who has the file: what they hold, and which may concern people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from importers.core.model import PersonalData, Window
from importers.core.registry import source_class
from importers.pipeline.draft import recognise
from importers.privacy.detect import Suggestion, beside_each_other, suggest
from importers.privacy.leaves import leaves
from importers.quality.profile import ColumnProfile
from importers.quality.profiler import Profiler


@dataclass(frozen=True, slots=True)
class FileProfile:
    """`rejects` are lines or records that are no rows; `personal` is by column why it may concern a person."""

    importer: str
    rows: int
    rejects: int
    columns: tuple[ColumnProfile, ...]
    personal: Mapping[str, Suggestion]


def profile_file(file: Path) -> FileProfile:
    """Read all of a file. Of a column that may be personal no value is in the profile, as far as guesses go.

    Raises ConfigError for a file that isn't there, ContractError for one that can't be read.
    """
    importer, config = recognise(str(file))
    cls = source_class(importer)
    source = cls(cls.config_model.model_validate(config), tenant="profile")
    (stream,) = source.streams()
    profiler, rows, rejects = Profiler(), 0, 0
    for partition in source.plan(stream, Window(), {}).partitions:
        for batch in source.read(stream, partition):
            profiler.add(batch.rows)
            rows += batch.rows.num_rows
            rejects += len(batch.rejects)
    found = [(suggest(leaf.path, leaf.type, profiler.sample(leaf.path)), leaf.type) for leaf in leaves(stream.schema)]
    guesses = beside_each_other(found)
    personal = {guess.path: guess for guess in guesses if guess.personal is not PersonalData.NONE}
    columns = tuple(_without_values(one) if _is_in(one.path, personal) else one for one in profiler.finish())
    return FileProfile(importer, rows, rejects, columns, personal)


def _is_in(path: str, personal: Mapping[str, Suggestion]) -> bool:
    """Whether the column, or something inside it, may be personal."""
    return any(leaf == path or leaf.startswith((f"{path}.", f"{path}[", f"{path}{{")) for leaf in personal)


def _without_values(column: ColumnProfile) -> ColumnProfile:
    return ColumnProfile(column.path, column.type, column.rows, column.nulls, column.distinct, column.distinct_exact)
