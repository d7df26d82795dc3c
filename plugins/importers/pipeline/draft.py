"""A first tenant file from a sample file: what can be inferred is written down, what can't is a TODO that lint refuses.

Suggestions are guesses by names and by the shape of values, for a person to confirm. No value of the sample is written.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from importers.core.model import PersonalData
from importers.core.names import few
from importers.pipeline.sample import Sample, opened, unreadable
from importers.privacy.detect import Suggestion, beside_each_other, suggest
from importers.privacy.hints import domain_by_name
from importers.privacy.leaves import Part, leaves
from importers.privacy.rules import is_data, told_path
from importers.privacy.spelling import looks_case_sensitive

TODO = "TODO"
SAMPLE = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """A tenant file's text, what it is called by, and `notes` of what somebody should look at."""

    text: str
    importer: str
    stream: str
    notes: tuple[str, ...] = ()


def draft(path: str, tenant: str, pipeline: str | None = None, said: Mapping[str, Any] = {}) -> Draft:
    """Read the columns and first rows of a file, or of those that a pattern matches, and write a tenant file for them.

    `said` are settings of the importer, over those that the file suggests. Raises ConfigError for a file that isn't
    there or a setting that is wrong, ContractError for a file that can't be read.
    """
    with opened(path, said, tenant) as sample:
        values, notes = _first_rows(path, sample)
    stream, importer = sample.stream, sample.importer
    found = leaves(stream.schema)
    named = (leaf for leaf in found if not is_data(leaf))  # a key may be a person's: it isn't written down
    guesses = [(suggest(leaf.path, leaf.type, _sample(values, leaf)), leaf.type) for leaf in named]
    suggestions = tuple(beside_each_other(guesses))
    lines = [
        f"# Drafted by `importers init` from {Path(path).name}. Each guess says why: confirm or change it, then run",
        "# `importers lint`.",
        f"tenant: {tenant}",
        *_domains(found, suggestions, values),
        "",
        "pipelines:",
        f"  {pipeline or stream.name}:",
        f"    importer: {importer}",
        "    config:",
        *(f"      {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sample.config.items()),
        "    privacy:",
        *_privacy(found, suggestions),
        "    streams:",
        f"      {stream.name}: {{}}  # its rows are appended to the table {tenant}.{stream.name}",
    ]
    return Draft("\n".join(lines) + "\n", importer, stream.name, notes)


def _first_rows(path: str, sample: Sample) -> tuple[pa.RecordBatch, tuple[str, ...]]:
    """Some rows, and what is to be noted of them. Raises ContractError if there are records, and none is a row."""
    reasons = Counter[str]()
    for batch in sample.batches():
        if batch.rows.num_rows:
            return batch.rows.slice(0, SAMPLE), sample.notes(batch)
        reasons.update(reject.reason for reject in batch.rejects)
    if reasons:
        raise unreadable(path, sample.importer, reasons)
    return pa.RecordBatch.from_pylist([], sample.stream.schema), sample.notes(None)


def _sample(rows: pa.RecordBatch, leaf: Part) -> pa.Array | None:
    return None if leaf.parents or leaf.path not in rows.schema.names else rows.column(leaf.path)


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


def _domains(found: Sequence[Part], suggestions: Sequence[Suggestion], values: pa.RecordBatch) -> Iterator[str]:
    """How pseudonyms are to be made, where some values look as if it mattered: all are of the subject's domain."""
    pseudonyms = [one.path for one in suggestions if one.treatment == "pseudonymise"]
    there = [path for path in pseudonyms if path in values.schema.names]
    mixed = [path for path in there if looks_case_sensitive(values.column(path))]
    if mixed:
        _, domain = _whose(found, suggestions) or ("", "")
        yield f"# Upper and lower case seem to tell values of {few(mixed)} apart; it holds for the whole domain."
        yield f"{'' if domain else '# '}domains: {{{domain or 'KIND_OF_PERSON'}: {{case_sensitive: true}}}}"


def _whose(found: Sequence[Part], suggestions: Sequence[Suggestion]) -> tuple[str, str] | None:
    """The first pseudonym of a person's identifier, and what kind of person its name says; None if there is none."""
    single = {leaf.path for leaf in found if not leaf.many}
    for one in suggestions:
        domain = domain_by_name(one.path)
        if one.treatment == "pseudonymise" and one.path in single and domain:
            return one.path, domain
    return None


def _subject(found: Sequence[Part], suggestions: Sequence[Suggestion], personal: bool) -> Iterator[str]:
    """Whose rows these are, as far as a name tells."""
    if whose := _whose(found, suggestions):
        path, domain = whose
        column = json.dumps(path, ensure_ascii=False)
        yield f"subject: {{column: {column}, domain: {domain}}}  # a guess by the column's name"
    elif personal:
        yield f"subject: {TODO}  # {{column: NAME, domain: KIND_OF_PERSON}}: whose row it is; erasure goes by it"
    else:
        reason = f"{TODO} say why no row concerns a person"
        yield f"subject: {{none: true, reason: {reason}}}  # or {{column: NAME, domain: KIND_OF_PERSON}}"
