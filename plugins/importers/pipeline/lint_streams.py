"""Where what a tenant says of a stream's keys, columns and rules contradicts itself: told before any data is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from importers.core.model import OURS, LoadMode
from importers.core.names import nearest
from importers.core.registry import destination_class, destinations
from importers.core.settings import StreamSettings, effective, importer_settings
from importers.core.tenant import NoSubject, Pipeline, Subject, Treat, Treatment
from importers.core.tenant_file import TenantFile
from importers.core.yaml_marks import KeyPath
from importers.exceptions import ConfigError
from importers.pipeline.connection import unconnected

STEP = re.compile(r"[.\[{]")
UNCLASSIFIED = frozenset({"files", "databases", "streaming"})
"""Families whose sources deliver whatever is there."""
BROKERS = ("message_", "entry_")
"""How columns begin that a broker adds, and whose class is known."""
UPSERTS = (LoadMode.MERGE, LoadMode.HISTORY)


def contradictions(file: TenantFile, name: str, pipeline: Pipeline, *, family: str | None) -> Iterator[ConfigError]:
    """Of each stream that the file knows of. Of `files` nobody but the tenant knows the keys and classes of columns."""
    files = family == "files"
    for stream in pipeline.streams or ("",):
        said = Said(file, name, stream)
        yield from said.modes(files)
        yield from said.keys()
        if family in UNCLASSIFIED:
            yield from said.accountability()
            yield from said.uncovered(known=BROKERS if family == "streaming" else ())


@dataclass(frozen=True)
class Said:
    """What holds for a stream, and where in the file that stands."""

    file: TenantFile
    pipeline: str
    stream: str

    @cached_property
    def settings(self) -> StreamSettings:
        return effective(self.file.tenant, self.pipeline, self.stream)

    def at(self, *keys: str) -> KeyPath:
        """Where a setting stands: with the stream, else with the pipeline, else with the tenant."""
        ours: KeyPath = ("pipelines", self.pipeline)
        places: tuple[KeyPath, ...] = ((*ours, "streams", self.stream, *keys), (*ours, *keys), keys)
        return next((place for place in places if place in self.file.lines), (*ours, *keys))

    def modes(self, files: bool) -> Iterator[ConfigError]:
        load = self.settings.load
        if load.mode is None:
            return
        allowed = frozenset[LoadMode]().union(*(destination_class(name).modes for name in destinations()))
        if load.mode not in allowed:
            yield self.file.error(
                self.at("load", "mode"),
                f"no destination loads in mode '{load.mode}' yet",
                do=f"allowed: {', '.join(sorted(allowed))}",
            )
        yield from self._unsuited(load.mode)
        if files and load.mode in UPSERTS and not load.primary_key:
            yield self.file.error(
                self.at("load", "mode"),
                f"load.mode {load.mode} needs a primary key, and files have none of their own",
                do="add `primary_key: …`, the columns that tell rows apart",
            )

    def _unsuited(self, mode: LoadMode) -> Iterator[ConfigError]:
        """What the importer itself has against the mode; of wrong settings something is said elsewhere."""
        source = unconnected(self.file.tenant, self.pipeline)
        if source is None:
            return
        try:
            source.suits(mode)
        except ConfigError as error:
            yield self.file.error(self.at("load", "mode"), error.what, got=error.got, do=error.do)

    def keys(self) -> Iterator[ConfigError]:
        """A key that is treated so that it tells no rows apart, a cursor that isn't in clear."""
        load = self.settings.load
        keys = load.primary_key or () if load.mode in UPSERTS else ()
        for key in keys:
            how = self.treatment(key)
            if how and not (how.treat in (Treat.KEEP, Treat.PSEUDONYMISE) or how.deterministic):
                yield self._spoilt("primary key", key, how, "keep, pseudonymise, or encrypt it with `deterministic`")
        how = self.treatment(load.cursor) if load.cursor else None
        if load.cursor and how and how.treat is not Treat.KEEP:
            yield self._spoilt("cursor", load.cursor, how, "keep it, or choose another cursor")

    def _spoilt(self, role: str, column: str, how: Treatment, do: str) -> ConfigError:
        named = column if column in self.settings.privacy.columns else "*"
        what = f"the {role} '{column}' can't be one any more when it is treated"
        return self.file.error(self.at("privacy", "columns", named), what, got=str(how.mask or how.treat), do=do)

    def treatment(self, column: str) -> Treatment | None:
        columns = self.settings.privacy.columns
        return columns.get(column) or columns.get("*")

    def accountability(self) -> Iterator[ConfigError]:
        """What a plan would refuse of personal columns, as far as that is sure before the columns are known."""
        privacy = self.settings.privacy
        personal = sorted(name for name, how in self.certain.items() if how.treat not in (Treat.KEEP, Treat.DROP))
        if not personal or (privacy.subject is not None and privacy.lawful_basis != "none"):
            return
        # Brings pyarrow: only where there may be something to say.
        from importers.privacy.checks import baseless, nobody_s

        if privacy.subject is None:
            path, error = self.at("privacy", "columns", personal[0]), nobody_s(personal)
        elif isinstance(privacy.subject, NoSubject):
            return
        else:
            path, error = self.at("privacy", "lawful_basis"), baseless(personal)
        yield self.file.error(path, error.what, got=error.got, do=error.do)

    @property
    def certain(self) -> dict[str, Treatment]:
        """What is said of columns that the stream must have: a tenant's, or a pipeline's of several, may be others'."""
        pipeline = self.file.tenant.pipelines[self.pipeline]
        refined = pipeline.streams.get(self.stream)
        said = dict(pipeline.privacy.columns) if len(pipeline.streams) < 2 else {}
        said |= refined.privacy.columns if refined else {}
        return said if set(said) == {"*"} else {name: how for name, how in said.items() if name != "*"}

    def uncovered(self, *, known: tuple[str, ...]) -> Iterator[ConfigError]:
        """Columns that the file names and its policy forgets: the first run would stop at them.

        `known` is how columns begin whose class the source's author knows.
        """
        privacy = self.settings.privacy
        if not privacy.columns or privacy.unclassified != "stop":
            return
        for what, column, path in self._named():
            if not self.covers(column) and column not in OURS and not column.startswith(known):
                meant = nearest(column, privacy.columns)
                hint = f"did you mean '{meant}'? If not, " if meant else ""
                yield self.file.error(
                    path,
                    f"{what} '{column}', which privacy.columns doesn't name: the run would stop",
                    do=f"{hint}add `{column}: …` to privacy.columns, with what happens to it",
                )

    def _named(self) -> Iterator[tuple[str, str, KeyPath]]:
        load, subject = self.settings.load, self.settings.privacy.subject
        if isinstance(subject, Subject):
            yield "privacy.subject names", subject.column, self.at("privacy", "subject", "column")
        for key in load.primary_key or ():
            yield "load.primary_key names", key, self.at("load", "primary_key")
        if load.cursor:
            yield "load.cursor names", load.cursor, self.at("load", "cursor")
        ours: KeyPath = ("pipelines", self.pipeline)
        pipeline = self.file.tenant.pipelines[self.pipeline]
        cursor = importer_settings(self.file.tenant, self.pipeline)[1].get("cursor")
        if isinstance(cursor, str) and len(pipeline.streams) < 2:  # of several, some may lack it
            place: KeyPath = (*ours, "config") if "cursor" in pipeline.config else ("importers", pipeline.importer)
            yield "the source's cursor is", cursor, (*place, "cursor")
        refined = pipeline.streams.get(self.stream)
        places = [((*ours, "expect"), pipeline.expect)]
        places += [((*ours, "streams", self.stream, "expect"), refined.expect)] if refined else []
        for at, rules in places:
            for number, rule in enumerate(rules):
                for column in rule.columns:
                    yield f"{rule.type} names", column, (*at, number)

    def covers(self, path: str) -> bool:
        """Whether the policy says something of the path, of what it is in, or of something in it."""
        columns = self.settings.privacy.columns
        around = {path, *(path[: step.start()] for step in STEP.finditer(path))}
        return "*" in columns or any(
            name in around or (name.startswith(path) and STEP.match(name, len(path))) for name in columns
        )
