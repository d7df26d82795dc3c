"""Pseudonyms: 16 bytes that stand for a value, equal wherever the value is equal inside a tenant's domain.

HMAC-SHA-256 of the normalised value, its first 128 bits. The HMAC's key is the *hex text* of the tenant's key for the
domain (that is what polars-hash takes), so SQL can reproduce it: `hmac(value, encode(key, 'hex'), 'sha256')`.

Normalised: NFKC, white space around it cut off, lower case. 42 and ' 42 ' are one person, 'ＡＤＡ' and 'ada' too.
Letters keep their case in a domain that is case-sensitive: there 'ＡＤＡ' and 'ADA' are one person, and 'ada' another.
An empty text is null: a pseudonym of "" would join everybody who has no identifier.
"""

from __future__ import annotations

import hmac
from binascii import unhexlify
from itertools import pairwise

import polars as pl
import polars_hash
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.exact import is_text
from importers.privacy.distinct import OverDistinct, Values

TYPE = pa.uuid()
STORAGE = pa.binary(16)
_HEX_DIGITS = 32
_FEW = 256
"""Values that have their pseudonyms sooner one by one than by columns, where each step must be fetched from memory
first: 20 of a micro-batch in 0.1 ms instead of 1.4.
"""
_BLANK = " \t\n\v\f\r"


def has_pseudonyms(kind: pa.DataType) -> bool:
    """Texts, integers and UUIDs. Not floats: 42.0 and 42 would be two persons."""
    kind = kind.value_type if t.is_dictionary(kind) else kind
    return bool(is_text(kind) or t.is_integer(kind) or t.is_null(kind) or kind == TYPE)


def pseudonyms(values: pa.Array, key: bytes, *, case_sensitive: bool = False) -> pa.Array:
    """A UUID for each value; null for nulls and empty texts."""
    return pseudonymising(key, case_sensitive=case_sensitive)(values)


def pseudonymising(key: bytes, *, case_sensitive: bool = False) -> Values:
    """`pseudonyms` under one key, for batch after batch."""
    digests = polars_hash.col("said").chash.hmac_sha256(key=key.hex()).str.head(_HEX_DIGITS)

    def made(distinct: pa.Array) -> pa.Array:
        if len(distinct) < _FEW:
            texts = distinct.cast(pa.string()).to_pylist()
            if all(text is None or text.isascii() for text in texts):
                return _one_by_one(texts, key.hex().encode(), case_sensitive)
        return _tokens(normalised(distinct, case_sensitive=case_sensitive), digests)

    tokens = OverDistinct(made)

    def apply(values: pa.Array) -> pa.Array:
        texts = uuid_text(values) if isinstance(values, pa.ExtensionArray) else values
        return pa.ExtensionArray.from_storage(TYPE, tokens(texts))

    return apply


def normalised(values: pa.Array, *, case_sensitive: bool = False) -> pa.Array:
    """Texts as they are hashed. What polars does to non-ASCII texts does to ASCII ones what Arrow does, but slower."""
    text = values.cast(pa.large_string())
    if pc.all(pc.string_is_ascii(text)).as_py() is not False:
        text = pc.ascii_trim_whitespace(text)
        text = text if case_sensitive else pc.ascii_lower(text)
    else:
        said = pl.col("said").str.normalize("NFKC").str.strip_chars()
        said = said if case_sensitive else said.str.to_lowercase().str.normalize("NFKC")
        text = pl.DataFrame({"said": pl.Series(values=text)}).select(said)["said"].to_arrow(compat_level=_OLDEST)
    empty = pc.equal(text, "")
    return pc.if_else(empty, pa.scalar(None, text.type), text) if pc.any(empty).as_py() else text


_OLDEST = pl.CompatLevel.oldest()


def _tokens(texts: pa.Array, digests: pl.Expr) -> pa.Array:
    """Of texts as they are hashed, by an expression that makes the first half of their digests from `said`."""
    said = pl.Series("said", texts.fill_null("") if texts.null_count else texts).to_frame()
    raw = _bytes(said.select_seq(digests).to_series().to_arrow(compat_level=_OLDEST))
    tokens = pa.FixedSizeBinaryArray.from_buffers(STORAGE, len(texts), [None, pa.py_buffer(raw)])
    return pc.if_else(texts.is_valid(), tokens, pa.scalar(None, STORAGE)) if texts.null_count else tokens


def _one_by_one(texts: list[str | None], key: bytes, case_sensitive: bool) -> pa.Array:
    """The tokens of ASCII texts that aren't normalised yet."""
    said = [(text or "").strip(_BLANK) for text in texts]
    said = said if case_sensitive else [text.lower() for text in said]
    return pa.array([hmac.digest(key, text.encode(), "sha256")[:16] if text else None for text in said], STORAGE)


def _bytes(digits: pa.LargeStringArray) -> bytes:
    """What the hexadecimal digits of each write, one after the other."""
    start = digits.offset * _HEX_DIGITS
    buffer = digits.buffers()[2]
    return unhexlify(memoryview(buffer)[start : start + len(digits) * _HEX_DIGITS]) if buffer else b""


def uuid_text(values: pa.ExtensionArray) -> pa.Array:
    """UUIDs as text, so that they join with a column that holds them as text."""
    digits = pl.col("raw").bin.encode("hex")
    cuts = (0, 8, 12, 16, 20, 32)
    parts = [digits.str.slice(start, stop - start) for start, stop in pairwise(cuts)]
    raw = pl.DataFrame({"raw": pl.Series(values=values.storage.cast(pa.large_binary()))})
    return raw.select(pl.concat_str(parts, separator="-").alias("raw"))["raw"].to_arrow(compat_level=_OLDEST)
