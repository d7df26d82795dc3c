"""A first tenant file from a sample file: what can be inferred is written down, what can't is a TODO that lint refuses.

Suggestions are guesses by names and by the shape of values, for a person to confirm. No value of the sample is written.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from importers.core.model import PersonalData, Stream, Window
from importers.core.names import as_name
from importers.core.registry import source_class
from importers.core.source import Source
from importers.exceptions import ConfigError
from importers.privacy.detect import Suggestion, beside_each_other, suggest
from importers.privacy.hints import words
from importers.privacy.leaves import Part, leaves
from importers.privacy.rules import is_data, told_path
from importers.transport.files import Files, absolute, is_pattern

TODO = "TODO"
SAMPLE = 1000
HEAD = 64 * 1024
"""Bytes by which a file is recognised."""
_BY_SUFFIX = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson"), "jsonl"),
    **dict.fromkeys((".xlsx", ".xls", ".ods"), "excel"),
    ".parquet": "parquet",
    ".avro": "avro",
}
_DELIMITERS = ",;\t|"
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
_PERSON = re.compile(r"(?:^|_)(user|account|customer|client|member|person|listener|subscriber|employee|patient|player)")


@dataclass(frozen=True, slots=True)
class Draft:
    """A tenant file's text, and what it is called by."""

    text: str
    importer: str
    stream: str


def draft(path: str, tenant: str, pipeline: str | None = None) -> Draft:
    """Read the columns and first rows of a file, or of those that a pattern matches, and write a tenant file for them.

    Raises ConfigError for a file that isn't there, ContractError for one that can't be read.
    """
    importer, config = recognise(path)
    cls = source_class(importer)
    source = cls(cls.config_model.model_validate(config), tenant=tenant)
    (stream,) = source.streams()
    values = _first_rows(source, stream)
    found = leaves(stream.schema)
    named = (leaf for leaf in found if not is_data(leaf))  # a key may be a person's: it isn't written down
    guesses = [(suggest(leaf.path, leaf.type, _sample(values, leaf)), leaf.type) for leaf in named]
    suggestions = tuple(beside_each_other(guesses))
    lines = [
        f"# Drafted by `importers init` from {Path(path).name}. Each guess says why: confirm or change it, then run",
        "# `importers lint`.",
        f"tenant: {tenant}",
        "",
        "pipelines:",
        f"  {pipeline or stream.name}:",
        f"    importer: {importer}",
        "    config:",
        *(f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in config.items()),
        "    privacy:",
        *_privacy(found, suggestions),
        "    streams:",
        f"      {stream.name}: {{}}  # its rows are appended to the table {tenant}.{stream.name}",
    ]
    return Draft("\n".join(lines) + "\n", importer, stream.name)


def recognise(path: str) -> tuple[str, dict[str, Any]]:
    """The importer that reads such a file, and its settings: by the file's extension, else by how it begins.

    Of a pattern the first file that matches counts. Raises ConfigError if there is none, ContractError.
    """
    sample = _first(path)
    try:
        with sample.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ConfigError(
            f"the file '{sample}' can't be read", got=str(error.strerror), do="name a sample file"
        ) from None
    importer = _BY_SUFFIX.get(sample.suffix.lower()) or _by_content(head, sample.suffix.lower())
    config: dict[str, Any] = {"path": path}
    if importer == "csv":
        delimiter = _delimiter(head)
        config |= {"delimiter": delimiter} if delimiter != "," else {}
        config |= _notation(config, _blanks(head, delimiter))
    return importer, config


def _first(path: str) -> Path:
    """The file, or the first that the pattern matches."""
    if Path(path).exists() or not is_pattern(absolute(path)):
        return Path(path)
    found = Files(None).find([path])
    if not found:
        raise ConfigError(f"no file matches '{path}'", do="name a sample file, or a pattern that matches one")
    return Path(found[0].path)


def _blanks(head: bytes, delimiter: str) -> Mapping[str, Any]:
    """The setting for cells that say that they are none, if there are any."""
    cells = set(re.split(rf"[{re.escape(delimiter)}\r\n]", head.decode(errors="replace")))
    found = [word for word in _NOT_AVAILABLE if word in cells]
    return {"null_values": ["", *found]} if found else {}


def _notation(config: Mapping[str, Any], blanks: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by which columns of text are numbers or dates, and no other column becomes anything else."""
    chosen: dict[str, Any] = {}
    types = _types(config)
    for one in (*_NOTATIONS, *([blanks, *({**one, **blanks} for one in _NOTATIONS)] if blanks else ())):
        new = _types({**config, **chosen, **one})
        changed = {name for name in types if new[name] != types[name]}
        if changed and all(pa.types.is_string(types[name]) for name in changed):
            chosen, types = {**chosen, **one}, new
    return chosen


def _types(config: Mapping[str, Any]) -> dict[str, pa.DataType]:
    cls = source_class("csv")
    (stream,) = cls(cls.config_model.model_validate(config), tenant="draft").streams()
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


def _first_rows(source: Source[Any], stream: Stream) -> pa.RecordBatch:
    for partition in source.plan(stream, Window(), {}).partitions:
        for batch in source.read(stream, partition):
            if batch.rows.num_rows:
                return batch.rows.slice(0, SAMPLE)
    return pa.RecordBatch.from_pylist([], stream.schema)


def _sample(rows: pa.RecordBatch, leaf: Part) -> pa.Array | None:
    return None if leaf.parents else rows.column(leaf.path)


def _privacy(found: Sequence[Part], suggestions: Sequence[Suggestion]) -> Iterator[str]:
    personal = [one for one in suggestions if one.personal is not PersonalData.NONE]
    yield f"      purpose: {TODO} say what the data is processed for"
    basis = f"lawful_basis: {TODO}  # one of consent, contract, legal_obligation, vital_interests, public_task,"
    yield f"      {basis} legitimate_interests; `none` only if no column concerns a person"
    yield from (f"      {line}" for line in _subject(found, suggestions, bool(personal)))
    yield "      columns:"
    kinds: Mapping[str, str] = {leaf.path: str(leaf.type) for leaf in found}
    for one in suggestions:
        line, _, why = str(one).partition("  # ")
        yield f"        {line}  # {kinds[one.path]}; {why}"
    around = dict.fromkeys(told_path(leaf).rstrip(".…") for leaf in found if is_data(leaf))
    yield from (f"        {name}: drop  # its keys look like values" for name in around if name)


def _subject(found: Sequence[Part], suggestions: Sequence[Suggestion], personal: bool) -> Iterator[str]:
    """Whose rows these are: the first pseudonym of a person's identifier, if there is any."""
    single = {leaf.path for leaf in found if not leaf.many}
    for one in suggestions:
        person = _PERSON.search(words(one.path))
        if one.treatment == "pseudonymise" and one.path in single and person:
            column = json.dumps(one.path, ensure_ascii=False)
            yield f"subject: {{column: {column}, domain: {as_name(person[1])}}}  # a guess by the column's name"
            return
    if personal:
        yield f"subject: {TODO}  # {{column: NAME, domain: KIND_OF_PERSON}}: whose row it is; erasure goes by it"
    else:
        reason = f"{TODO} say why no row concerns a person"
        yield f"subject: {{none: true, reason: {reason}}}  # or {{column: NAME, domain: KIND_OF_PERSON}}"
