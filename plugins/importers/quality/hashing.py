"""64-bit keyed hashes of values: the eight bytes of a key that travel to the gate.

XXH3 with a secret seed: about 0.01 µs a key, and stable across processes and versions, which polars' own `hash`
doesn't promise. It isn't a MAC: who holds hashes of values they know could find the seed. So hashes stay inside the
sealed verdict; the seed only makes sure that they join nothing outside their tenant and rule.
Equal values hash equally whatever their width, scale or unit, but a fraction or more than 64 bits as a decimal and as a
float; unequal ones may collide, which the second look sorts out.
"""

from __future__ import annotations

import hashlib
from functools import reduce
from operator import add

import polars as pl
import polars_hash  # noqa: F401 - registers `nchash` and `bytes` on expressions

from importers.quality.columns import MOMENTS, PLAIN, Family, Operand

_DIGITS = 18  # that 64 bits hold, whichever they are
_NONE = pl.lit(0, dtype=pl.UInt64)


def seed(key: bytes, label: str) -> int:
    """The 64-bit seed of a rule, from the tenant's 32 bytes."""
    return int.from_bytes(hashlib.blake2b(label.encode(), key=key, digest_size=8, person=b"importers-unique").digest())


def keyed(operands: list[Operand], domain: pl.Expr | None, seed: int) -> pl.Expr:
    """One uint64 a row; null where the row is outside the rule's domain. A missing part of a key counts as a value.

    The parts' hashes, each under a seed of its own, are added (wrapping): as random as one of them. Without a domain
    the key of a row with a missing part is null, for a third less time.
    """
    seeds = [(seed + place) % 2**64 for place in range(len(operands))]
    parts = [_hashed(operand, own) for operand, own in zip(operands, seeds, strict=True)]
    if domain is None:
        return reduce(add, parts)
    filled = [part.fill_null(pl.lit(own, dtype=pl.UInt64)) for part, own in zip(parts, seeds, strict=True)]
    return pl.when(domain).then(reduce(add, filled))


def kind(operand: Operand) -> str:
    """What of a type must stay the same in all partitions for its hashes to be comparable; "" for nothing but nulls."""
    if operand.family is Family.NOTHING:
        return ""
    return Family.DATETIME.value if operand.family is Family.DATE else operand.family.value


def _hashed(operand: Operand, seed: int) -> pl.Expr:
    """Null where the value is missing."""
    x = operand.within(PLAIN)
    if isinstance(x.dtype, pl.Decimal):
        return _decimal_hashed(x.expr, x.dtype, seed)
    if x.dtype == pl.UInt64:
        return _int128_hashed(x.expr.cast(pl.Int128), _DIGITS + 2, seed)
    return _hash(_canonical(x), seed)


def _hash(canonical: pl.Expr, seed: int) -> pl.Expr:
    return canonical.nchash.xxh3_64(seed=seed)  # type: ignore[attr-defined,no-any-return]


def _decimal_hashed(x: pl.Expr, dtype: pl.Decimal, seed: int) -> pl.Expr:
    """The whole part as an integer's. To that are added hashes of 18 digits of a fraction, and of the twenty after."""
    units, scale = x.to_physical(), dtype.scale
    if not scale:
        return _int128_hashed(units, dtype.precision, seed)
    whole, fraction = units // 10**scale, units % 10**scale
    further = max(scale - _DIGITS, 0)
    parts = [(fraction // 10**further * 10 ** (_DIGITS - scale + further), _DIGITS)]
    if further:
        parts.append((fraction % 10**further * 10 ** (_DIGITS + 2 - further), _DIGITS + 2))
    hashed = _int128_hashed(whole, dtype.precision - scale, seed)
    for place, (part, digits) in enumerate(parts, start=1):
        more = _int128_hashed(part, digits, (seed + (place << 33)) % 2**64)
        hashed += pl.when(part != 0).then(more).otherwise(_NONE)
    return hashed


def _int128_hashed(x: pl.Expr, digits: int, seed: int) -> pl.Expr:
    """As an Int64's where it fits in one, as it does for sure with few digits."""
    low = _hash(_bytes(x.cast(pl.Int64, wrap_numerical=True)), seed)
    if digits <= _DIGITS:
        return low
    high = _hash(_bytes((x // 2**64).cast(pl.Int64)), (seed + (1 << 32)) % 2**64)
    return low + pl.when(x.is_between(-(2**63), 2**63 - 1)).then(_NONE).otherwise(high)


def _canonical(operand: Operand) -> pl.Expr:
    """Text or bytes that are equal where values are, in whatever type a partition has them."""
    x = operand.expr
    if operand.family in (Family.TEXT, Family.BINARY):
        return x
    if operand.family is Family.NOTHING:
        return x.cast(pl.String)
    if operand.family in MOMENTS:
        return _bytes(operand.microseconds)
    if operand.dtype.is_float():
        x = x.cast(pl.Float64)
        whole = (x == x.floor()) & (x.abs() < 2**63)
        return pl.when(whole).then(_bytes(x.cast(pl.Int64, strict=False))).otherwise(_bytes(x))
    return _bytes(x.cast(pl.Int64))


def _bytes(x: pl.Expr) -> pl.Expr:
    return x.bytes.to_le()  # type: ignore[attr-defined,no-any-return]
