"""What every format has in common: which files are new, who reads what, and that nothing changed meanwhile."""

from __future__ import annotations

import base64
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from math import ceil
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa

from importers.core.closing import close_kept
from importers.core.model import (
    JSON,
    VERSION,
    Batch,
    Column,
    LoadMode,
    Plan,
    Position,
    Reads,
    Reject,
    Stream,
    Why,
    Window,
)
from importers.core.names import as_name, did_you_mean, few
from importers.core.parts import Place, dated, in_order
from importers.core.source import Source
from importers.core.untold import is_untold
from importers.exceptions import ConfigError, ContractError, EmptySourceError
from importers.sources._text.cells import ARROW, arrow_type
from importers.sources._types import is_bare, leaves, loadable, retyped, storable, within
from importers.sources.files._again import Record, reread
from importers.sources.files._bucket import ENVIRONMENT, ENVIRONMENT_BESIDES, role_of
from importers.sources.files._columns import Growth, akin, as_asked, filled, mark, wanted
from importers.sources.files._interval import changed, covered, microseconds
from importers.sources.files._interval import within as is_within
from importers.sources.files._members import perhaps_beside
from importers.sources.files._moved import NOTHING, Moved, moved, values, was_loaded
from importers.sources.files._odd import NOTHING_UNTOLD, Inferred, told
from importers.sources.files._settings import OF_NO_RECORD, Compression, FilesT, OnChange
from importers.sources.files._slices import FilePart, FileSlice, Slice, in_parts, one_after_the_other
from importers.transport.files import (
    File,
    Files,
    absolute,
    differs_in_case,
    fixed_directory,
    is_pattern,
    is_remote,
    is_there,
    named,
)
from importers.transport.roots import Roots

TOLD = 10
"""Files that are named of those that a run reads again."""


class FileSource(Source[FilesT]):
    """Files of one format. A format says what its columns are, where it can be cut, and how a slice is read.

    Incremental by file: a lane is a path below the pattern's directory, its value size and time of change, or an ETag.
    A loaded file that is moved, and has them still, isn't read again.
    A window reads again every file that is of it, loaded or not, and moves nothing: by `interval`, else by the time of
    change. A format sees files through `self.files`, which also unpacks them: to a format a member of an archive is a
    file.
    """

    ordered: ClassVar[bool] = True
    partition_model: ClassVar[Any] = FilePart[FileSlice]
    connection_type: ClassVar[str | None] = "aws"
    environment: ClassVar[Mapping[str, str]] = ENVIRONMENT
    environment_besides: ClassVar[Mapping[str, str]] = ENVIRONMENT_BESIDES
    whole_below: ClassVar[int] = 16 << 20
    """Bytes of text under which a second partition costs more than it saves."""
    dense: ClassVar[int] = 1
    """How many bytes of text have as many rows as one byte of the format."""
    sampled: ClassVar[frozenset[pa.DataType]] = frozenset(ARROW.values())
    """Where types come from a sample: what a column can be read as that isn't what the sample says."""
    is_archive: ClassVar[bool] = False
    """Whether the format itself is a zip archive, as a workbook is: then no file's bytes are taken for compressed."""
    _inferred: tuple[list[File], Inferred] | None = None

    @classmethod
    def takes_connection(cls, settings: Mapping[str, Any]) -> bool:
        path = settings.get("path", ())
        return any(isinstance(each, str) and is_remote(each) for each in ([path] if isinstance(path, str) else path))

    @classmethod
    def from_hook(cls, hook: Any) -> Mapping[str, JSON]:
        return role_of(hook)

    @cached_property
    def files(self) -> Files:
        setting = self.config.compression
        plain = setting is Compression.NONE or (self.is_archive and setting is Compression.AUTO)
        ratio, members = self.config.max_ratio, self.config.members
        return Files(self.connection, codec=setting.codec, plain=plain, ratio=ratio, members=members, roots=self.roots)

    @cached_property
    def roots(self) -> Roots:
        """Where the tenant's files may lie."""
        return Roots.of(self.tenant)

    def close(self) -> None:
        close_kept(self, "files")

    @abstractmethod
    def inferred(self, files: Sequence[File]) -> Inferred:
        """The columns that the first or the last file has. Raises ContractError if they have nothing in common."""

    def shape(self, files: Sequence[File]) -> pa.Schema | None:  # noqa: ARG002 - for formats that are sparse
        """What the sampled records of the first and the last of the files have; None where all have all columns."""
        return None

    def completed(self, known: Inferred, files: Sequence[File]) -> Inferred:  # noqa: ARG002 - for formats that do
        """What the first and the last file tell, with what they leave open and others tell."""
        return known

    def notes(self, known: Inferred, stream: Stream) -> tuple[str, ...]:
        """What people should know of what is read, and of the types of the stream's columns."""
        return *known.notes, *told(known, stream, nulls="null_values" in type(self.config).model_fields)

    def names(self, file: File) -> Sequence[str] | None:  # noqa: ARG002 - for formats that do
        """The names of the file's columns; None if it declares none, and its records may lack any."""
        return None

    def fits(self, file: File, schema: pa.Schema) -> None:
        """Raises ContractError if the types of those columns that the schema has don't go with it."""

    def offered(self, schema: pa.Schema, stream: Stream) -> None:
        """Raises ContractError if files that came meanwhile have columns which nobody could classify."""

    def sealed(self, schema: pa.Schema, stream: Stream) -> pa.Schema:
        """What a plan holds of the schema, and `read_slice` is given: what is told of objects that aren't read."""
        types = {column.name: column.type for column in stream.unread if is_untold(column.type)}
        return pa.schema([field.with_type(types.get(field.name, field.type)) for field in schema], schema.metadata)

    @abstractmethod
    def cut(self, file: File, pieces: int) -> list[Slice]:
        """The file as about that many slices of equal weight, which together hold each record once."""

    @abstractmethod
    def read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        """The slice's records; `schema` is what the plan took the files to hold."""

    def reach(self) -> str:
        files = self._listed()
        self.settled(self._typed(self._ends(files[:1])).schema)
        return f"{len(files)} files, {sum(file.size for file in files):,} bytes"

    def readable(self, kind: pa.DataType) -> frozenset[pa.DataType]:  # noqa: ARG002 - for formats that do
        """What a column of that type can be read as, if it is asked to (`Column.readable_as`)."""
        return self.sampled

    types_within: ClassVar[bool] = False
    """Whether `types` reaches what is within objects and lists, by a path such as `items[].price`. What has no value is
    text in its schema then, and of type null is what isn't told (`core.untold`)."""

    def streams(self) -> Sequence[Stream]:
        known = self._known(self._listed())
        self.settled(known.schema)
        return [Stream(self._name(), self._columns(known.schema, known.untold), self.reads())]

    def settled(self, schema: pa.Schema) -> None:
        """Raises ConfigError for a column that settings name and no file has. Those that a run reads may lack it, if it
        is optional.
        """
        for name in self.config.types:
            known = self._addressed(schema)
            if name not in known:
                why = "which holds what has types" if name in schema.names else "that the files lack"
                raise ConfigError(f"`types` names a column '{name}' {why}", do=did_you_mean(name, known))

    def _addressed(self, schema: pa.Schema) -> Sequence[str]:
        """What `types` may name."""
        return leaves(schema) if self.types_within else schema.names

    def _columns(self, schema: pa.Schema, untold: Mapping[str, Why] = NOTHING_UNTOLD) -> tuple[Column, ...]:
        said = self.config.types
        kind = storable if self.types_within else loadable

        def readable(field: pa.Field) -> frozenset[pa.DataType]:
            if field.name in said:
                return frozenset()
            settled = any(why.settled for why in within(untold, field.name).values())
            return self.readable(field.type) | (frozenset({field.type}) if settled else frozenset())

        there = [field for field in schema if not is_bare(field.type)]
        return tuple(
            Column(f.name, kind(f.type), None, readable_as=readable(f), untold=within(untold, f.name)) for f in there
        )

    def reads(self) -> Reads:
        return Reads.WINDOW if self.config.interval else Reads.POSITION

    def named(self) -> Sequence[str]:
        return [self._name()]

    def delivered(self, stream: Stream, window: Window, position: Position) -> Stream:
        """Files that are loaded and not read again don't count: what comes may have more columns than they."""
        new = [] if self.sparse() else self._asked_for(window, position)
        if not new:
            return stream
        schema = self._known(new).schema
        akin(new[0].path, schema.names, [column.name for column in stream.columns])
        return replace(stream, columns=self._columns(schema))

    def parts(self, stream: Stream, window: Window, position: Position) -> Sequence[Place]:
        inside = (part for file in self._asked_for(window, position) for part in self.files.inside(file))
        return [self._place(file, stream) for file in inside]

    def _place(self, file: File, stream: Stream) -> Place:
        if self.config.interval:
            return Place(dated(self.config.interval.start(file), mark(file)), sure=True)
        return Place(mark(file), sure=was_loaded(file, stream.loaded.get(file.lane)))

    def plan(self, stream: Stream, window: Window, position: Position) -> Plan:
        listed = self.files.find(self.config.path)
        if not listed and any(named(lane, self.config.path) for lane in position):
            return Plan(partitions=[])  # all that was there is loaded, and somebody has taken it away
        listed = listed or self._listed()  # which says why there is none
        elsewhere = self._moved(listed, window, position)
        position = {**position, **elsewhere.position}
        new = [file for file in listed if self._wanted(file, stream, window, position)]
        if not new:
            return Plan(partitions=[], position=elsewhere.position, notes=elsewhere.notes)
        known = self._known(listed if self.sparse() else new)
        schema = as_asked(known.schema, stream)
        self.offered(schema, stream)
        inside = [part for file in new for part in self.files.inside(file)]
        everything = not window.bounded and not position
        lacking, since = self._lacking(inside, schema, stream, everything=everything)
        whole = any(lacking)  # any column may have to tell how many rows there are
        sealed = base64.b64encode((schema if whole else self.sealed(schema, stream)).serialize()).decode()
        said = {"schema": sealed, "read": self._way_of_reading}
        partitions: list[JSON] = [{"slices": part, **said} for part in self._packed(inside, lacking)]
        notes = (*self.notes(known, stream), *_in_another_case(self.files.beside(self.config.path, listed)))
        seen = self._seen(known, new) if stream.held_to else None
        if not window.bounded:
            again = [file.path for file in new if file.lane in position]
            position = {**elsewhere.position, **values(new, inside)}
            notes = (*elsewhere.notes, *_read_again(again), *notes)
            return Plan(partitions, position, notes=notes, since=since, seen=seen)
        replaces = self.config.interval is not None and stream.load_mode is LoadMode.APPEND
        return Plan(partitions, covers=covered(window) if replaces else None, notes=notes, since=since, seen=seen)

    def describe(self, partition: JSON) -> tuple[str, int | None]:
        slices = cast(Mapping[str, Any], partition)["slices"]
        paths = list(dict.fromkeys(part["path"] for part in slices))
        named = ", ".join(Path(path).name for path in paths[:3])
        more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
        return named + more, sum(part["weight"] for part in slices)

    def unchanging(self, partition: JSON) -> Mapping[str, JSON] | None:
        planned = cast(Mapping[str, Any], partition)
        files = map(File.of, planned["slices"])
        return {file.shown: {**file.identity, "read": planned["read"]} for file in files}

    @property
    def _way_of_reading(self) -> str:
        """Another one may find other records in the same file: another sheet, another array, other lines."""
        said = self.config.model_dump_json(exclude=OF_NO_RECORD)
        return sha256(said.encode()).hexdigest()[:16]

    def read(self, stream: Stream, partition: JSON) -> Iterator[Batch]:
        if not stream.columns:
            raise ConfigError("none of the file's columns is wanted", stream=stream.name, do="classify at least one")
        planned = cast(Mapping[str, Any], partition)
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(planned["schema"])))
        for part in planned["slices"]:
            file = File.of(part)
            self.files.unchanged(file)
            try:
                with perhaps_beside(file):
                    for batch in self._read_slice(stream, file, part, schema):
                        yield self.dated(batch, stream, part)
            except ContractError:
                self.files.unchanged(file)  # a file that is written to may look like anything but that
                raise
            self.files.unchanged(file)

    def _read_slice(self, stream: Stream, file: File, part: Slice, schema: pa.Schema) -> Iterator[Batch]:
        lacks = frozenset(part.get("lacks", ()))
        if lacks.isdisjoint(column.name for column in stream.columns):
            yield from self.read_slice(stream, file, part, schema)
            return
        target = wanted(stream, schema)
        there = tuple(column for column in stream.columns if column.name not in lacks)
        if not there:  # how many rows there are, one of the others tells
            there = tuple(column for column in self._columns(schema) if column.name not in lacks)[:1]
        for batch in self.read_slice(replace(stream, columns=there), file, part, schema):
            yield replace(batch, rows=filled(batch.rows, target))

    def record(self, stream: Stream, file: File, schema: pa.Schema) -> Record | None:
        """What reads one record of the file by itself, if a format can; `schema` is what the plan took it to hold."""

    def reread(self, stream: Stream, partition: JSON, rejects: Sequence[Reject]) -> Sequence[pa.RecordBatch | None]:
        return reread(self, stream, partition, rejects)

    def dated(self, batch: Batch, stream: Stream, part: Slice) -> Batch:
        """Rows are as new as the time that their file is of, unless a cursor says more: appended ones need no more."""
        mode = stream.load_mode
        if "from" not in part or not stream.versioned or (stream.cursor and mode is not LoadMode.APPEND):
            return batch
        versions = pa.array(np.full(batch.rows.num_rows, part["from"], dtype=np.int64))
        return replace(batch, rows=batch.rows.append_column(VERSION, versions))

    def _listed(self) -> list[File]:
        files = self.files.find(self.config.path)
        if files:
            return files
        close = [name for pattern in self.config.path for name in self.files.nearby(pattern)]
        cased = any(differs_in_case(name, Path(pattern).name) for name in close for pattern in self.config.path)
        do = f"correct `path`{'; nearby: ' + ', '.join(close) if close else ''}"
        do += ", whose name differs in upper and lower case" if cased else ""
        patterns = map(absolute, self.config.path)
        if any(is_pattern(pattern) and is_there(fixed_directory(pattern)) for pattern in patterns):
            raise EmptySourceError(
                f"no file matches {self._patterns}, though the directory is there: nothing tells its columns",
                do=f"start the pipeline when there is a file; if there never was one, {do}",
                stream=self._name(),
            )
        raise ConfigError(f"no file matches {self._patterns}", do=do)

    @property
    def _patterns(self) -> str:
        return " or ".join(repr(absolute(pattern)) for pattern in self.config.path)

    def _name(self) -> str:
        if self.config.stream:
            return self.config.stream
        stem = Path(self.config.path[0]).name.partition(".")[0]
        for char in "*?[":
            stem = stem.partition(char)[0]
        return as_name(stem) if stem.strip("_- ") else "rows"

    def _known(self, files: Sequence[File]) -> Inferred:
        """Files are sampled once for what they offer and for a run's plan, unless one has changed in between."""
        ends = self._ends(files)
        if self._inferred is None or self._inferred[0] != ends:
            self._inferred = ends, self.completed(self._typed(ends), files)
        return self._inferred[1]

    def _seen(self, known: Inferred, new: Sequence[File]) -> pa.Schema | None:
        """What the first and the last of the files have, as `shape`, in the types that are known."""
        try:
            found = self.shape(self._ends(new))
        except ContractError:  # beside others a file without a record is read as no rows
            return None
        flat = {f.name: f.type for f in known.schema if not pa.types.is_nested(f.type)}
        return None if found is None else pa.schema([(f.name, flat.get(f.name, f.type)) for f in found])

    def _typed(self, ends: Sequence[File]) -> Inferred:
        with perhaps_beside(*ends):
            found = self.inferred(ends)
        schema = found.schema
        for name, kind in self.config.types.items():
            if name in self._addressed(schema):
                schema = retyped(schema, name, arrow_type(kind))
        said = self.config.types
        odd, empty = [one for one in found.odd if one.column not in said], [n for n in found.empty if n not in said]
        return found._replace(schema=schema, odd=odd, empty=empty)

    def _ends(self, files: Sequence[File]) -> list[File]:
        """The first and the last that hold anything, looked into: they stand for all of them."""
        holding = [file for file in files if file.size] or list(files[:1])
        inside = [self.files.inside(file) for file in dict.fromkeys((holding[0], holding[-1]))]
        ends = [part for parts in inside for part in (*parts[:1], *parts[-1:])]
        if not ends:
            raise ContractError(f"the archive '{holding[0].path}' has no files", do="wait for one that has")
        return list(dict.fromkeys((ends[0], ends[-1])))

    def _asked_for(self, window: Window, position: Position) -> list[File]:
        listed = self.files.find(self.config.path)
        position = {**position, **self._moved(listed, window, position).position}
        return [file for file in listed if self._is_asked_for(file, window, position)]

    def _moved(self, listed: Sequence[File], window: Window, position: Position) -> Moved:
        return NOTHING if window.bounded or not position else moved(listed, position)

    def _is_asked_for(self, file: File, window: Window, position: Position) -> bool:
        if not window.bounded:
            return not file.is_still(position.get(file.lane))
        interval = self.config.interval
        return is_within(interval.start(file) if interval else changed(file), window)

    def _wanted(self, file: File, stream: Stream, window: Window, position: Position) -> bool:
        if not self._is_asked_for(file, window, position):
            return False
        known = file.lane in position and not (window.bounded and self.config.interval)
        if known and stream.load_mode is LoadMode.APPEND and self.config.on_change is OnChange.ERROR:
            raise ContractError(
                f"the file '{file.path}' was loaded before, and appending it again would double its rows",
                got=f"now {file.state}; loaded {file.state_then(position[file.lane])}",
                do=f"{file.as_then(position[file.lane])}put the old file back, and new rows into a file of their own; "
                "or set `load.mode: merge` with a `primary_key`, or `replace`, and a new `load.table`; "
                "or `on_change: reload` if the file has only new rows now",
                stream=stream.name,
            )
        return True

    def _begun(self, file: File) -> Slice:
        interval = self.config.interval
        return {"from": microseconds(interval.start(file))} if interval else {}

    def _lacking(
        self, files: Sequence[File], schema: pa.Schema, stream: Stream, *, everything: bool
    ) -> tuple[list[Slice], Mapping[str, str]]:
        """What a slice says of the columns that each file lacks, and a plan of the first file that has each.

        Raises ContractError for what a file may not lack.
        """
        growth, lacks = Growth(schema, stream, everything=everything), list[Sequence[str]]([()] * len(files))
        places = [self._place(file, stream) for file in files]
        for number in sorted(range(len(files)), key=lambda number: in_order(places[number].name)):
            file = files[number]
            with perhaps_beside(file):
                names = self.names(file)
                lacks[number] = () if names is None else growth.lacking(places[number], file.shown, names)
                self.fits(file, schema)
        growth.compared()
        return [{"lacks": names} if names else {} for names in lacks], growth.since

    def _packed(self, files: Sequence[File], lacking: Sequence[Slice]) -> list[list[Slice]]:
        """What is read of the files, in as many parts as pay."""
        total = sum(file.size for file in files)
        count = min(self.config.max_partitions, ceil(self.dense * total / self.whole_below) or 1)
        share = total / count or 1
        slices = [
            {**file.planned, **part, **self._begun(file), **lacks}
            for file, lacks in zip(files, lacking, strict=True)
            for part in self.cut(file, max(1, round(file.size / share)))
        ]
        one_after_the_other(slices)
        return in_parts(slices, count)


def _in_another_case(names: Sequence[str]) -> tuple[str, ...]:
    what = f"by `path` {few(names)} {'is' if len(names) == 1 else 'are'} left out: upper and lower case differ"
    return (f"{what}. Write both, as `*.[cC][sS][vV]`, to read {'it' if len(names) == 1 else 'them'}",) if names else ()


def _read_again(paths: Sequence[str]) -> tuple[str, ...]:
    """What is told of files that were loaded before and have changed since."""
    told = tuple(f"the file '{path}' has changed since it was loaded, and is read again" for path in paths[:TOLD])
    return told if len(paths) <= TOLD else (*told, f"and so are {len(paths) - TOLD:,} more files")
