"""A file's columns, for the person who has the file: what they hold, and which may concern people."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from importers.core.model import PersonalData
from importers.core.names import few
from importers.pipeline.sample import opened, unreadable
from importers.privacy.detect import Suggestion, beside_each_other, suggest
from importers.privacy.leaves import Part, leaves
from importers.privacy.rules import is_data, told_path
from importers.privacy.spelling import looks_case_sensitive
from importers.quality.profile import ColumnProfile, Profile
from importers.quality.profiler import Profiler

_STEP = re.compile(r"[.\[{]")


@dataclass(frozen=True, slots=True)
class FileProfile:
    """What a file holds. `reasons` count lines or records that are no rows, by why.

    `personal` is by column why it may concern a person, `notes` are what somebody should look at.
    """

    importer: str
    rows: int
    reasons: Mapping[str, int]
    columns: tuple[ColumnProfile, ...]
    personal: Mapping[str, Suggestion]
    notes: tuple[str, ...] = ()

    @property
    def rejects(self) -> int:
        return sum(self.reasons.values())


def profile_file(path: str, said: Mapping[str, Any] = {}) -> FileProfile:
    """Read all of a file, or of what a pattern matches.

    Of a column that may be personal no value is in the profile, as far as guesses go.
    `said` are settings of the importer. Raises ConfigError for a file that isn't there or a setting that is wrong,
    ContractError for a file that can't be read, or that has records of which none is a row.
    """
    profiler, rows, reasons, first = Profiler(), 0, Counter[str](), None
    with opened(path, said) as sample:
        for batch in sample.batches():
            profiler.add(batch.rows)
            rows += batch.rows.num_rows
            reasons.update(reject.reason for reject in batch.rejects)
            first = batch if first is None and batch.rows.num_rows else first
        notes = sample.notes(first)
    if reasons and not rows:
        raise unreadable(path, sample.importer, reasons)
    stream = sample.stream
    profile = profiler.profile
    parts = leaves(stream.schema)
    keys = [leaf for leaf in parts if is_data(leaf)]
    told = [leaf for leaf in parts if not is_data(leaf)]
    guesses = beside_each_other(
        [(suggest(leaf.path, leaf.type, _sampled(profile, leaf.path)), leaf.type) for leaf in told]
    )
    personal = {guess.path: guess for guess in guesses if guess.personal is not PersonalData.NONE}
    without = {path for leaf in personal for path in _around(leaf)}
    without |= {path for leaf in keys for path in _around(told_path(leaf))}
    untold = {leaf.path for leaf in keys}
    shown = (one for one in profile.told() if one.path not in untold)
    columns = tuple(_without_values(one) if one.path in without else one for one in shown)
    notes = (*notes, *_untold(keys), *_case_counts(profile, guesses))
    return FileProfile(sample.importer, rows, dict(reasons.most_common()), columns, personal, notes)


def _untold(keys: Sequence[Part]) -> Iterator[str]:
    """A key may be a person's: the page is made to be sent."""
    for where, many in Counter(map(told_path, keys)).items():
        what = "names of columns" if where == "…" else f"keys of {where.removesuffix('.…')}"
        yield f"{what} that look like values aren't shown: {many:,}"


def _case_counts(profile: Profile, guesses: Sequence[Suggestion]) -> Iterator[str]:
    """A pseudonym doesn't keep it unless its domain says so."""
    paths = [guess.path for guess in guesses if guess.treatment == "pseudonymise"]
    mixed = [path for path in paths if looks_case_sensitive(_sampled(profile, path))]
    if mixed:
        yield (
            f"upper and lower case seem to tell values of {few(mixed)} apart: to pseudonymise them, say"
            " `domains: {DOMAIN: {case_sensitive: true}}` in the tenant's file"
        )


def _sampled(profile: Profile, path: str) -> pa.Array | None:
    values = profile.values(path)
    return values.to_arrow() if values.len() else None


def _around(leaf: str) -> Iterator[str]:
    """The leaf and all that may hold it: what has something personal inside is told without values, too."""
    yield leaf
    yield from (leaf[: step.start()] for step in _STEP.finditer(leaf))


def _without_values(column: ColumnProfile) -> ColumnProfile:
    return ColumnProfile(column.path, column.type, column.rows, column.nulls, column.distinct, column.distinct_exact)
