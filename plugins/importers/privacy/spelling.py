"""Whether letters' case tells a column's values apart, as far as some of them show: pseudonyms mostly don't keep it."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

from importers.core.exact import is_text
from importers.privacy.pseudonyms import normalised

_NO_IDENTIFIER = r"[@\s]"
"""Of e-mail addresses and names it is right that case doesn't count."""
_MIXED = re.compile(r"(?=[\w.~-]*[a-z])(?=[\w.~-]*[A-Z])(?=[\w.~-]*\d)[\w.~-]+", re.ASCII)
_SHORTEST = 6
_MOST = 0.8  # of the values must look so: some of base 62 have no digit


def folded(values: pa.Array | pa.ChunkedArray) -> int:
    """How many distinct texts, e-mail addresses and names aside, have another's pseudonym where case doesn't count."""
    texts = pa.chunked_array([values]) if isinstance(values, pa.Array) else values
    if not is_text(texts.type):
        return 0
    texts = texts.cast(pa.large_string()).unique()
    texts = texts.filter(pc.invert(pc.match_substring_regex(texts, _NO_IDENTIFIER)))
    exact = normalised(texts, case_sensitive=True).unique().drop_null()
    return len(exact) - len(normalised(exact).unique())


def looks_case_sensitive(values: pa.Array | None) -> bool:
    """Whether values are folded, or most look like identifiers of letters of both cases and digits."""
    if values is None or not is_text(values.type):
        return False
    texts = [text.strip() for text in values.drop_null().unique().to_pylist()]
    shared = _shared(texts)  # what all begin with, as `KdNr` of KdNr0001, is written in one way
    mixed = sum(1 for text in texts if len(text) >= _SHORTEST and _MIXED.fullmatch(text[shared:]))
    return bool(texts) and (mixed >= _MOST * len(texts) or folded(values) > 0)


def _shared(texts: list[str]) -> int:
    """How many characters all begin with; of one alone nothing is known."""
    if len(texts) < 2:
        return 0
    first, last = min(texts), max(texts)
    return next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def told(leaf: str, domain: str, count: int, *, settled: bool) -> str:
    """What to do where so many values of a leaf are folded; `settled` if the domain has pseudonyms already."""
    have = "has" if count == 1 else "have"
    of = "NAME" if settled else domain
    do = f"say `domains: {{{of}: {{case_sensitive: true}}}}` in the tenant's file"
    if settled:
        do = f"put them into another domain than '{domain}', which has pseudonyms already, and {do}"
    return (
        f"{leaf}: of the values read {count:,} {have} the pseudonym of another, as they differ by upper and lower case"
        f" alone: one key, and one person. If they are several, {do}"
    )
