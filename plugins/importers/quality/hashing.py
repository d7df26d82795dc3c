"""64-bit keyed hashes of values: the eight bytes of a key that travel to the gate.

XXH3 with a secret seed: about 0.01 µs a key, and stable across processes and versions, which polars' own `hash`
doesn't promise. It isn't a MAC: who holds hashes of values they know could find the seed. So hashes stay inside the
sealed verdict; the seed only makes sure that they join nothing outside their tenant and rule.
Equal values hash equally whatever their width or unit; unequal ones may collide, which the second look sorts out.
"""

from __future__ import annotations

import hashlib
from functools import reduce
from operator import add

import polars as pl
import polars_hash  # noqa: F401 - registers `nchash` and `bytes` on expressions

from importers.quality.columns import PLAIN, Family, Operand


def seed(key: bytes, label: str) -> int:
    """The 64-bit seed of a rule, from the tenant's 32 bytes."""
    return int.from_bytes(hashlib.blake2b(label.encode(), key=key, digest_size=8, person=b"importers-unique").digest())


def keyed(operands: list[Operand], domain: pl.Expr, seed: int) -> pl.Expr:
    """One uint64 a row; null where the row is outside the rule's domain. A missing part of a key counts as a value.

    The parts' hashes, each under a seed of its own, are added (wrapping): as random as one of them.
    """
    parts = [_hashed(operand, (seed + place) % 2**64) for place, operand in enumerate(operands)]
    return pl.when(domain).then(reduce(add, parts))


def kind(operand: Operand) -> str:
    """What of a type must stay the same in all partitions for its hashes to be comparable; "" for nothing but nulls."""
    if operand.family is Family.NOTHING:
        return ""
    return Family.DATETIME.value if operand.family is Family.DATE else operand.family.value


def _hashed(operand: Operand, seed: int) -> pl.Expr:
    canonical = _canonical(operand.within(PLAIN))
    hashed: pl.Expr = canonical.nchash.xxh3_64(seed=seed)  # type: ignore[attr-defined]
    return hashed.fill_null(pl.lit(seed, dtype=pl.UInt64))


def _canonical(operand: Operand) -> pl.Expr:
    """Text or bytes that are equal where values are, in whatever type a partition has them."""
    x = operand.expr
    if operand.family in (Family.TEXT, Family.BINARY):
        return x
    if operand.family is Family.NOTHING:
        return x.cast(pl.String)
    if operand.family in (Family.DATE, Family.DATETIME, Family.INSTANT):
        zone = "UTC" if operand.family is Family.INSTANT else None
        return _bytes(x.cast(pl.Datetime("us", zone)).to_physical())
    if operand.dtype.is_float() or operand.dtype.is_decimal() or operand.dtype in (pl.Int128, pl.UInt128):
        x = x.cast(pl.Float64)
        whole = (x == x.floor()) & (x.abs() < 2**63)
        return pl.when(whole).then(_bytes(x.cast(pl.Int64, strict=False))).otherwise(_bytes(x))
    return _bytes(x if operand.dtype == pl.UInt64 else x.cast(pl.Int64))


def _bytes(x: pl.Expr) -> pl.Expr:
    return x.bytes.to_le()  # type: ignore[attr-defined,no-any-return]
