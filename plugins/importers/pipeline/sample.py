"""A file that somebody has before there is a pipeline for it: what reads it, by which settings, and what it holds."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.coded import decoded
from importers.core.model import Batch, Plan, Stream, Window
from importers.core.names import is_key
from importers.core.places import located
from importers.core.source import Source
from importers.core.tenant import Pipeline, Tenant
from importers.core.untold import told
from importers.exceptions import ConfigError, ContractError, ImporterError
from importers.pipeline.connection import RESOLVER
from importers.pipeline.job import open_source
from importers.transport.files import Files
from importers.transport.packed import SUFFIXES

HEAD = 64 * 1024
"""Bytes by which a file is recognised."""
_BY_SUFFIX = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
    ".parquet": "parquet",
    ".avro": "avro",
}
_DELIMITERS = ",;\t|"
_READ_OTHERWISE = frozenset(("delimiter", "encoding", "skip_lines", "comment", "quote", "escape"))
"""Settings by which the first line isn't what it looks like: the source itself finds the delimiter then."""
_PACKED_BY = frozenset(("compression", "members", "max_ratio"))
"""Settings that any format has, and that say what is in a packed file."""
_NOTATIONS: tuple[Mapping[str, str], ...] = (
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"date_format": "%d.%m.%Y"},
    {"timestamp_format": "%d.%m.%Y %H:%M"},
    {"timestamp_format": "%d.%m.%Y %H:%M:%S"},
)
"""What needs no knowledge of the country: between strokes nothing says whether the day or the month comes first."""
_NOT_AVAILABLE = ("n/a", "N/A", "#N/A")
"""No others: `NA` is Namibia, too, and `-` may be anything."""
_PIPELINE = "sample"
_TOLD = 5
"""Reasons that are told of those for which records are no rows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, or what a pattern matches, as its importer reads it."""

    importer: str
    config: Mapping[str, Any]
    source: Source[Any]
    stream: Stream
    plan: Plan

    def batches(self) -> Iterator[Batch]:
        """All of it, `decoded`."""
        columns = (
            replace(c, type=field.type) for c in self.stream.columns for field in told([pa.field(c.name, c.type)])
        )
        stream = replace(self.stream, columns=tuple(columns))
        for partition in self.plan.partitions:
            for batch in self.source.read(stream, partition):
                yield replace(batch, rows=decoded(batch.rows))

    def notes(self, first: Batch | None) -> tuple[str, ...]:
        """What somebody should look at: where the header may be, or the records of a document, by the `first` rows, and
        what the plan says.
        """
        found = (self._headless(first), self._records_within(first))
        return (*filter(None, found), *self.plan.notes)

    def _records_within(self, first: Batch | None) -> str:
        """Which lists of a JSON document may be the records, if it is read as one; else empty."""
        said = self.config
        if self.importer != "json" or said.get("records") or "nested" in said or not first or first.rows.num_rows > 1:
            return ""
        paths = [path for path in _lists(self.stream.schema) if self._has_records(path)]
        which = " or ".join(f"--set records={path}" for path in paths[:_TOLD])
        return (
            f"the document is one object, with lists of objects in it. Say which has the records: {which}"
            if which
            else ""
        )

    def _has_records(self, path: str) -> bool:
        """Whether a source finds some there: not in an array, nor by a key that has a dot in it."""
        try:
            with closing(_source(self.importer, {**self.config, "records": path}, self.source.tenant)) as source:
                source.streams()
        except ImporterError:
            return False
        return True

    def _headless(self, first: Batch | None) -> str:
        """Where the header may be, if most names are missing in what was taken for it; else empty.

        By the `first` rows: names stand where no cell is empty.
        """
        said, names = self.config, self.stream.schema.names
        spare = [number for number, name in enumerate(names, 1) if name == f"column_{number}"]
        apart = len([number for number in spare if number > 1])  # the first is an index, often, that has no name
        if said.get("header") is False or said.get("column_names") or 2 * apart <= len(names) - 1:
            return ""
        line = _first_full(first) if first else None
        where = {"excel": f"range=A{line or 3}", "csv": f"skip_lines={(line or 3) - 1}"}.get(self.importer)
        if where is None:
            return ""
        guess = "" if line else ", for example"
        what = f"{len(spare)} of {len(names)} columns have no name: the header may be further down"
        return f"{what}. Say where it is{guess}: --set {where}"


@contextmanager
def opened(path: str, said: Mapping[str, Any] = {}, tenant: str = "sample") -> Iterator[Sample]:
    """The file by what it looks like, with the settings that are `said`. A bucket's by the tenant's connection.

    Of a pattern the first file that matches counts. Raises ConfigError if there is none, for a setting that is wrong
    and for several streams, ContractError for what can't be read.
    """
    if "path" in said:
        raise ConfigError("`path` is the FILE that is named", do="leave it out of the settings")
    importer, config = _recognised(path, said, tenant)
    with closing(_source(importer, config, tenant)) as source:
        streams = source.streams()
        if len(streams) > 1:
            names = ", ".join(stream.name for stream in streams)
            raise ConfigError(f"{len(streams)} streams can't be looked at in one go", got=names, do="name one of them")
        yield Sample(importer, config, source, streams[0], source.plan(streams[0], Window(), {}))


def unreadable(path: str, importer: str, reasons: Counter[str]) -> ContractError:
    """Of a file none of whose records is a row."""
    example = ", such as --set encoding=cp1252" if importer == "csv" else ""
    return ContractError(
        f"'{path}': none of {reasons.total():,} lines or records is a row",
        got=", ".join(f"{number:,} × {reason}" for reason, number in reasons.most_common(_TOLD)),
        do=f"mend the file, or give the setting that reads it with --set KEY=VALUE{example}",
    )


def _tenant(importer: str, config: Mapping[str, Any], tenant: str) -> Tenant:
    return Tenant(tenant=tenant, pipelines={_PIPELINE: Pipeline(importer=importer, config=dict(config))})


def _source(importer: str, config: Mapping[str, Any], tenant: str) -> Source[Any]:
    described = _tenant(importer, config, tenant)
    with _plainly():
        return open_source(described, _PIPELINE, RESOLVER.get()(described, _PIPELINE))


@contextmanager
def _plainly() -> Iterator[None]:
    """Without the place, which would name a pipeline that there isn't."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(error.what, got=error.got, do=error.do) from None


def _recognised(path: str, said: Mapping[str, Any], tenant: str) -> tuple[str, dict[str, Any]]:
    """The importer that reads such a file, and its settings: by the file's extension, else by how it begins."""
    found = _BY_SUFFIX.get(PurePath(path).suffix.lower())
    if found and found != "csv":
        return found, {"path": path, **said}
    suffix, head = _head(path, said, tenant)
    importer = _BY_SUFFIX.get(suffix) or _by_content(head, suffix)
    config: dict[str, Any] = {"path": path}
    if importer != "csv":
        return importer, {**config, **said}
    delimiter = "," if _READ_OTHERWISE & said.keys() else _delimiter(head)
    config |= {"delimiter": delimiter} if delimiter != "," else {}
    config |= said
    return importer, config | _notation(config, _blanks(head), said, tenant)


def _head(path: str, said: Mapping[str, Any], tenant: str) -> tuple[str, bytes]:
    """The extension of the first file that the path names, and its first bytes, both without what it is packed in."""
    config = {"path": path, **{name: said[name] for name in _PACKED_BY & said.keys()}}
    with closing(_source("csv", config, tenant)) as source:
        files: Files = cast("Any", source).files
        found = files.find([path])
        if not found:
            raise ConfigError(f"no file matches '{path}'", do="name a sample file, or a pattern that matches one")
        first = next(iter(files.inside(found[0])), found[0])
        with files.front_to_back(first) as plain:
            head = plain.read(HEAD)
    names = PurePath(first.member or first.path)
    inner = names.with_suffix("") if names.suffix.lower() in SUFFIXES else names
    return inner.suffix.lower(), bytes(head)


def _blanks(head: bytes) -> Mapping[str, Any]:
    """The setting for cells that say that they are none, if there are any."""
    cells = set(re.split(rf"[{_DELIMITERS}\r\n]", head.decode(errors="replace")))
    found = [word for word in _NOT_AVAILABLE if word in cells]
    return {"null_values": ["", *found]} if found else {}


def _notation(
    config: Mapping[str, Any], blanks: Mapping[str, Any], said: Mapping[str, Any], tenant: str
) -> dict[str, Any]:
    """The settings by which columns of text are numbers or dates, and no other column becomes anything else."""
    chosen: dict[str, Any] = {}
    types = _types(config, tenant)
    for one in (*_NOTATIONS, *([blanks, *({**one, **blanks} for one in _NOTATIONS)] if blanks else ())):
        if one.keys() & said.keys():
            continue
        try:
            new = _types({**config, **chosen, **one}, tenant)
        except ConfigError:  # it doesn't go with what is said
            continue
        changed = {name for name in types if new[name] != types[name]}
        if changed and all(pa.types.is_string(types[name]) for name in changed):
            chosen, types = {**chosen, **one}, new
    return chosen


def _types(config: Mapping[str, Any], tenant: str) -> dict[str, pa.DataType]:
    with closing(_source("csv", config, tenant)) as source:
        (stream,) = source.streams()
    return {column.name: column.type for column in stream.columns}


def _by_content(head: bytes, suffix: str) -> str:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] not in (b"{", b"["):
        return "parquet" if head.startswith(b"PAR1") else "csv"
    first, _, rest = text.partition(b"\n")
    if text[:1] == b"[" or not _is_whole(first):
        return "json"
    return "jsonl" if rest.strip() or suffix != ".json" else "json"


def _is_whole(line: bytes) -> bool:
    """Whether it is a JSON value; a line that is longer than what was looked at may be one."""
    try:
        json.loads(line)
    except ValueError:
        return len(line) >= HEAD - 1024
    return True


def _delimiter(head: bytes) -> str:
    """What the first line has most of, outside of quotes."""
    first = re.sub(rb'"[^"]*"', b"", head.partition(b"\n")[0]).decode("utf-8", "replace")
    counts = Counter({char: first.count(char) for char in _DELIMITERS})
    return counts.most_common(1)[0][0] if counts.total() else ","


def _lists(fields: Iterable[pa.Field], above: str = "") -> Iterator[str]:
    """The keys that lead to lists of objects, outside of lists; no key that may be a person's."""
    for field in fields:
        if is_key(field.name) and pa.types.is_struct(field.type):
            yield from _lists(field.type, f"{above}{field.name}.")
        elif is_key(field.name) and pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            yield above + field.name


def _first_full(batch: Batch) -> int | None:
    """The number, in its file or sheet, of the first row none of whose cells is empty."""
    full = pa.array([True] * batch.rows.num_rows, pa.bool_())
    for column in batch.rows.columns:
        full = pc.and_(full, column.is_valid())
    row = full.index(True).as_py()
    if row < 0:
        return None
    place = located(batch.places, pa.array([row]).to_numpy()).to_pylist()[0]
    found = re.search(r":(?:row|line) (\d+)$", place or "")
    return int(found[1]) if found else None
