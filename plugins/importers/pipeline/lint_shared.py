"""Where pipelines that share a table contradict each other: as far as the file tells, before a run does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, permutations

from importers.core.names import few
from importers.core.registry import sources
from importers.core.settings import importer_settings
from importers.core.tenant import Subject, Treat
from importers.core.yaml_marks import KeyPath
from importers.exceptions import ConfigError
from importers.pipeline import alike
from importers.pipeline.lint_streams import BROKERS, STEP, UNCLASSIFIED, UPSERTS, Said


def unlike(table: str, owners: Sequence[tuple[KeyPath, Said]]) -> Iterator[ConfigError]:
    """What one of a table's writers says otherwise than another. Each is told with the place of the one that says it
    later, or lacks it.
    """
    for (_, first), (path, said) in combinations(owners, 2):
        yield from _treatments(table, path, said, first)
        yield from _subjects(table, path, said, first)
    for (_, other), (path, said) in permutations(owners, 2):
        yield from _columns(table, path, said, other)


def _treatments(table: str, path: KeyPath, said: Said, other: Said) -> Iterator[ConfigError]:
    ours, theirs = said.certain, other.certain
    for column in sorted(ours.keys() & theirs.keys()):
        here, there = (
            alike.worded(columns[column], each.settings.privacy) for columns, each in ((ours, said), (theirs, other))
        )
        if alike.mix(here, there, keyed=_keyed(said)):
            at = said.at("privacy", "columns", column)
            got = f"{column}: {here}; by pipeline {other.pipeline} {there}"
            yield said.file.error(
                at if at in said.file.lines else path, alike.OTHERWISE.format(table), got=got, do=alike.BE_ALIKE
            )


def _subjects(table: str, path: KeyPath, said: Said, other: Said) -> Iterator[ConfigError]:
    privacy = said.settings.privacy
    if privacy.subject is None:
        return
    ours = privacy.subject.domain if isinstance(privacy.subject, Subject) else None
    theirs = alike.other_subject(ours, other.settings.privacy, keyed=_keyed(said))
    if theirs:
        got = f"{alike.whose(ours)}; by pipeline {other.pipeline} {theirs}"
        at = said.at("privacy", "subject")
        at = at if at in said.file.lines else path
        yield said.file.error(at, alike.OTHERWISE.format(table), got=got, do=alike.BE_ALIKE)


def _columns(table: str, path: KeyPath, said: Said, other: Said) -> Iterator[ConfigError]:
    """Where rows have keys: columns that the other names, and this policy doesn't, so that it can't bring them."""
    if not _keyed(said) or not all(_names_all(each) for each in (said, other)):
        return
    loaded = (name for name, how in other.certain.items() if how.treat is not Treat.DROP)
    named = {STEP.split(name, maxsplit=1)[0] for name in loaded if not name.startswith(("*", *BROKERS))}
    lacking = sorted(name for name in named - set(said.settings.load.optional) if not said.covers(name))
    if lacking:
        got = f"{few(lacking)}, by pipeline {other.pipeline}"
        yield said.file.error(path, alike.LACKING.format(table), got=got, do=alike.BE_NULL)


def _keyed(said: Said) -> bool:
    return said.settings.load.mode in UPSERTS


def _names_all(said: Said) -> bool:
    """Whether the policy has to name each column that is loaded."""
    family = sources().get(importer_settings(said.file.tenant, said.pipeline)[0])
    return family in UNCLASSIFIED and bool(said.settings.privacy.columns)
