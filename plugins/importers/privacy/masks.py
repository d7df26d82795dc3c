"""Masks: what keeps the use of a value and loses the person. All as column expressions; nulls stay null.

email      jo.doe@example.org   j***@example.org      not an address: ***
phone      +49 30 901820-99     +** ** ****20-99      up to four digits: none is shown
ip_prefix  203.0.113.9          203.0.113.0/24        IPv6: /48; not an address: null
initials   Ada Lovelace         A. L.
date       2024-02-29           2024-02-01            the first of its `unit`
band       37                   30                    the lower bound of its band of `width`
"""

from __future__ import annotations

from collections.abc import Mapping
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

import polars as pl
import pyarrow as pa
from pyarrow import types as t

from importers.core.exact import is_text
from importers.core.tenant import Mask, Treatment
from importers.privacy.distinct import OverDistinct, Values

_OLDEST = pl.CompatLevel.oldest()
_VALUE = pl.col("value")
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_EVERY = {"year": "1y", "month": "1mo", "week": "1w", "day": "1d", "hour": "1h"}


def masked_type(kind: pa.DataType, how: Treatment) -> pa.DataType | None:
    """The type of a masked column; None where the mask can't apply."""
    kind = kind.value_type if t.is_dictionary(kind) else kind
    if t.is_null(kind):
        return kind
    if how.mask is Mask.DATE:
        fits = t.is_timestamp(kind) or (t.is_date(kind) and how.unit != "hour")
        return kind if fits else None
    if how.mask is Mask.BAND:
        return _band_type(kind, how.width)
    return pa.string() if is_text(kind) else None


def mask(values: pa.Array, how: Treatment) -> pa.Array:
    """The values behind their mask, as `masked_type` says."""
    return masking(how)(values)


def masking(how: Treatment) -> Values:
    """`mask` in one way, for batch after batch."""
    expression = _TEXT_MASKS.get(how.mask) if how.mask else None
    text = None if expression is None else OverDistinct(lambda distinct: _run(distinct, expression, pa.string()))
    return lambda values: _mask(values, how, text)


def _mask(values: pa.Array, how: Treatment, text: Values | None) -> pa.Array:
    kind = masked_type(values.type, how)
    if kind is None:
        raise TypeError(f"{how.mask} doesn't mask {values.type}")
    if t.is_null(kind):
        return values
    if text is not None:
        return text(values)
    if t.is_dictionary(values.type):
        values = values.dictionary_decode()
    return _run(values, _date(how.unit) if how.mask is Mask.DATE else _band(kind, how.width), kind)


def _run(values: pa.Array, expression: pl.Expr, kind: pa.DataType) -> pa.Array:
    if t.is_decimal(values.type) or t.is_float16(values.type):
        values = values.cast(pa.float64())
    frame = pl.DataFrame({"value": pl.Series(values=values)})
    return frame.select(value=expression)["value"].to_arrow(compat_level=_OLDEST).cast(kind)


def _email() -> pl.Expr:
    # The domain must be nothing but a domain: in `Ada <ada@example.org> is ill` what follows the @ isn't.
    parts = _VALUE.str.strip_chars().str.splitn("@", 2)
    local, domain = parts.struct[0], parts.struct[1]
    address = domain.str.contains(r"^[\p{L}\p{N}.-]+$") & (local != "")
    shown = pl.concat_str(local.str.head(1), pl.lit("***@"), domain)
    return pl.when(_VALUE.is_null()).then(None).when(address).then(shown).otherwise(pl.lit("***"))


def _phone() -> pl.Expr:
    # What is neither digit nor punctuation of a number is hidden too: people write notes into telephone numbers.
    parts = _VALUE.str.extract_groups(r"(?s)^(.*[0-9].*?)((?:[0-9][^0-9]*){4})$")
    hidden = parts.struct[0].str.replace_all(r"[^+()./ -]", "*")
    shown = parts.struct[1].str.replace_all(r"[^0-9+()./ -]", "*")
    return pl.coalesce(hidden + shown, _VALUE.str.replace_all(r"[^+()./ -]", "*"))


def _initials() -> pl.Expr:
    letters = _VALUE.str.replace_all(r"[^\p{L}\s]+", "").str.to_uppercase()
    return letters.str.replace_all(r"(\p{L})\p{L}*\s*", "$1. ").str.strip_chars()


def _ip_prefix() -> pl.Expr:
    text = _VALUE.str.strip_chars()
    v4 = text.str.extract(rf"^((?:{_OCTET}\.){{3}}){_OCTET}$", 1) + "0/24"
    v6 = text.str.contains(":", literal=True)
    return pl.coalesce(v4, pl.when(v6).then(text).map_batches(_ipv6_prefixes, return_dtype=pl.String))


def _ipv6_prefixes(texts: pl.Series) -> pl.Series:
    if texts.null_count() == len(texts):
        return texts
    known = {text: _ipv6_prefix(text) for text in texts.drop_nulls().unique()}
    return texts.replace_strict(list(known), list(known.values()), default=None, return_dtype=pl.String)


def _ipv6_prefix(text: str) -> str | None:
    """By the system's parser: `ipaddress` takes ten times as long, which shows where a tenth of the rows are IPv6."""
    address, mark, zone = text.partition("%")
    if mark and not zone:
        return None
    try:
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):  # ValueError: characters that no address has
        return None
    if packed.startswith(_IPV4_MAPPED):
        return f"{inet_ntop(AF_INET, packed[12:15] + bytes(1))}/24"
    return f"{inet_ntop(AF_INET6, packed[:6] + bytes(10))}/48"


_IPV4_MAPPED = bytes(10) + b"\xff\xff"


def _date(unit: str) -> pl.Expr:
    return _VALUE.dt.truncate(_EVERY[unit])


def _band(kind: pa.DataType, width: float) -> pl.Expr:
    if t.is_floating(kind):
        return (_VALUE.cast(pl.Float64) / width).floor() * width
    # Wider while it is computed: the band of the least integer starts below it. Such a band is null.
    wide = _VALUE.cast(pl.Int128)
    step = pl.lit(int(width), dtype=pl.Int128)
    return (wide // step * step).cast(pl.UInt64 if t.is_uint64(kind) else pl.Int64, strict=False)


def _band_type(kind: pa.DataType, width: float) -> pa.DataType | None:
    if t.is_integer(kind) and float(width).is_integer():
        return pa.uint64() if t.is_uint64(kind) else pa.int64()
    return pa.float64() if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind) else None


_TEXT_MASKS: Mapping[Mask, pl.Expr] = {
    Mask.EMAIL: _email(),
    Mask.PHONE: _phone(),
    Mask.INITIALS: _initials(),
    Mask.IP_PREFIX: _ip_prefix(),
}
