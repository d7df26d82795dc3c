"""Rules on the run as a whole. Each partition gives a state; states merge; the gate judges the merged one.

Every row that was read counts, as in Great Expectations. But of a run that brought no rows only the rules on numbers of
rows and of distinct values speak: an incremental run that found nothing new isn't a failure.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial
from operator import add
from typing import Any, ClassVar

import numpy as np
import polars as pl

from importers.core.tenant import Period, period
from importers.quality.columns import MOMENTS, PLAIN, Columns, Family, Operand, exact
from importers.quality.rowwise import Bounds, ManyColumns, Rule, number

State = dict[str, Any]
"""`rows`, `count` (of values that aren't missing), `sum`, `min`, `max` (times as µs since 1970), `kinds`, `moments`
(number, mean, sum of squared distances from it), `steps` and `leaps` (first, last, how many between are out of order,
to `leaps` if equal, too), which alone hang on what comes after what; `found` of a shape; of members of sets and of
ranks see there. What follows a colon in a name tells several of a kind apart.
"""


def _pooled(a: State, b: State) -> State:
    """Moments of both together, without the cancellation that sums of squares suffer (Chan, Golub, LeVeque 1979)."""
    n = a["n"] + b["n"]
    if not a["n"] or not b["n"]:
        return a if a["n"] else b
    apart = b["mean"] - a["mean"]
    mean = a["mean"] + apart * b["n"] / n
    return {"n": n, "mean": mean, "m2": a["m2"] + b["m2"] + apart * apart * a["n"] * b["n"] / n}


def moments(values: pl.Expr) -> pl.Expr:
    return pl.struct(
        values.count().alias("n"), values.mean().alias("mean"), (values.var(ddof=0) * values.count()).alias("m2")
    )


def _joined(a: State, b: State, *, strictly: bool) -> State:
    """Steps of both, `b` after `a`, and the one between them."""
    if a["last"] is None or b["first"] is None:
        return b if a["last"] is None else a
    between = b["first"] <= a["last"] if strictly else b["first"] < a["last"]
    return {"first": a["first"], "last": b["last"], "broken": a["broken"] + b["broken"] + between}


def _union(a: Iterable[Any], b: Iterable[Any]) -> list[Any]:
    return sorted({*a, *b})


_MERGE: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(("rows", "count", "sum", "outside", "left"), add),
    **dict.fromkeys(("min", "over"), min),
    **dict.fromkeys(("max", "under"), max),
    **dict.fromkeys(("kinds", "members", "found"), _union),
    "moments": _pooled,
    "steps": partial(_joined, strictly=False),
    "leaps": partial(_joined, strictly=True),
}


def merged(states: Iterable[State]) -> State:
    """One state of several. A minimum of nothing (None) gives way."""
    total: State = {}
    for state in states:
        for name, value in state.items():
            old = total.get(name)
            total[name] = old if value is None else value if old is None else _MERGE[name.partition(":")[0]](old, value)
    return total


class MeasuredRule(Rule):
    """A rule that is judged by the merged state of all partitions."""

    wrong: ClassVar[str]
    """What a failure means, without values."""

    @abstractmethod
    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        """Scalars of a batch, named as in `State`. Raises ConfigError if the rule doesn't fit the columns."""


class CountedRule(MeasuredRule):
    """A rule on values that the whole run judges by how many break it; `count` is measured."""

    needs_order: ClassVar[bool] = False
    """Whether it hangs on what comes after what."""

    @abstractmethod
    def broken(self, state: State) -> int:
        """How many values break it, as far as the merged state tells."""

    def is_beyond(self, run: State, part: State) -> bool:  # noqa: ARG002 - what the state tells needs no second look
        """Whether some of a part's values break it that only a second look can count."""
        return False

    def beyond(self, run: State, at: Columns) -> pl.Expr:
        """How many of a batch's values those are."""
        raise NotImplementedError


class Tells(Enum):
    """What is known of a column by what a rule observes: how many rows, something of all values, one row's value."""

    COUNTS = "counts"
    AGGREGATE = "aggregate"
    EXTREME = "extreme"


class RunRule(MeasuredRule):
    """A rule that fails a run by itself."""

    tells: ClassVar[Tells] = Tells.COUNTS

    @abstractmethod
    def holds(self, state: State, at: Columns) -> bool:
        """Whether the merged state is as expected."""

    @abstractmethod
    def observation(self, state: State, at: Columns, *, shown: bool) -> str | None:
        """What is held against the rule, in words; None if there is nothing to tell. Not asked of no rows, and one that
        tells more than counts not of no values.

        `shown`: values of the column may be told. Of a rule that tells more than counts nothing is asked without.
        """


class RowCountBetween(Bounds, RunRule):
    """How many rows the run brought."""

    wrong = "the number of rows is outside the range"

    def measures(self, _at: Columns) -> dict[str, pl.Expr]:
        self.inside(0, number)
        return {}

    def holds(self, state: State, _at: Columns) -> bool:
        return bool(self.inside(state["rows"], number))

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str:  # noqa: ARG002 - rows are no values
        return f"{state['rows']:,} rows"


class RowCountEqual(RunRule):
    """Exactly how many rows the run brought."""

    value: int
    wrong = "the number of rows is another one"

    def measures(self, _at: Columns) -> dict[str, pl.Expr]:
        return {}

    def holds(self, state: State, _at: Columns) -> bool:
        return bool(state["rows"] == self.value)

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str:  # noqa: ARG002 - rows are no values
        return f"{state['rows']:,} rows"


class _Aggregate(Bounds, RunRule):
    """A number (or the least or greatest value) of one column, within bounds."""

    column: str
    tells = Tells.AGGREGATE

    @abstractmethod
    def measure(self, x: Operand) -> dict[str, pl.Expr]: ...

    @abstractmethod
    def observed(self, state: State) -> Any:
        """What is held against the bounds; None if there is nothing."""

    def bound(self, _x: Operand, raw: Any) -> Any:
        """A bound in the state's terms."""
        return number(raw)

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        x = at(self.column)
        measured = self.measure(x)
        self.ends(lambda raw: self.bound(x, raw))  # a wrong bound is told before anything is read
        return {"count": pl.len() - x.expr.null_count(), **measured}

    def holds(self, state: State, at: Columns) -> bool:
        if not state["rows"]:
            return True
        seen = self.observed(state)
        return seen is not None and bool(self.inside(seen, lambda raw: self.bound(at(self.column), raw)))

    def observation(self, state: State, at: Columns, *, shown: bool) -> str | None:  # noqa: ARG002 - not asked without
        seen = self.observed(state)
        return "no number" if seen is None else self.said(at(self.column), seen)

    def said(self, _x: Operand, seen: Any) -> str | None:
        """What is held against the bounds, in their terms."""
        if isinstance(seen, Decimal):
            return f"{seen:,f}"
        return f"{seen:,}" if isinstance(seen, int) else f"{seen:,.10g}"


class _Extreme(_Aggregate):
    which: ClassVar[str]
    tells = Tells.EXTREME
    numeric = False

    def measure(self, x: Operand) -> dict[str, pl.Expr]:
        x = x.within(MOMENTS | {Family.NUMBER, Family.TEXT})
        expr = x.microseconds if x.family in MOMENTS else x.expr
        return {self.which: expr.min() if self.which == "min" else expr.max()}

    def observed(self, state: State) -> Any:
        return state.get(self.which)

    def bound(self, x: Operand, raw: Any) -> Any:
        read = x.value(raw)
        return _microseconds(read) if isinstance(read, date) else read

    def said(self, x: Operand, seen: Any) -> str | None:
        if x.family in MOMENTS:
            unit = "D" if x.family is Family.DATE else "us"  # as the column has it, or in UTC; the year may be any
            return (
                str(np.datetime64(seen, "us").astype(f"datetime64[{unit}]")).replace("T", " ").removesuffix(".000000")
            )
        return None if isinstance(seen, str) else super().said(x, seen)


class MinBetween(_Extreme):
    """The least value."""

    which = "min"
    wrong = "the least value is outside the range"


class MaxBetween(_Extreme):
    """The greatest value."""

    which = "max"
    wrong = "the greatest value is outside the range"


_SHORT = 28
"""Digits of decimals whose units 128 bits add up, however many rows a batch has."""
_DAYS = 3
"""From which age on hours are too fine."""


class MaxRecent(RunRule):
    """The latest moment read is no older than `within` (none to come is), bad rows included; without a zone it's UTC.

    So a placeholder such as 2999-12-31 holds the rule for good, also where it is in quarantine.
    """

    column: str
    within: Period
    """The greatest age, as an ISO 8601 duration: `P1D`, `PT6H`."""
    wrong = "the latest moment is too old"
    tells = Tells.AGGREGATE  # an age in hours or days is nobody's moment

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        x = at(self.column).within(MOMENTS)
        return {"count": pl.len() - x.expr.null_count(), "max": x.expr.cast(pl.Datetime("us")).to_physical().max()}

    def holds(self, state: State, _at: Columns) -> bool:
        if not state["rows"]:
            return True
        oldest = datetime.now(UTC) - period(self.within)
        return state.get("max") is not None and bool(state["max"] >= _microseconds(oldest))

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str:  # noqa: ARG002 - not asked without
        hours = (_microseconds(datetime.now(UTC)) - state["max"]) // (3600 * 10**6)
        if hours < 0:
            return "a moment to come"
        return f"an age of {hours // 24} days" if hours >= _DAYS * 24 else f"an age of {hours} hours"


class _Summed(_Aggregate):
    """What is exact but of floats: integers are summed, of decimals their units, as `sum:EXPONENT`."""

    def measure(self, x: Operand) -> dict[str, pl.Expr]:
        expr = x.within([Family.NUMBER]).expr
        if not isinstance(x.dtype, pl.Decimal):
            return {"sum": expr.cast(pl.Int128 if x.dtype.is_integer() else pl.Float64).sum()}
        units, exponent = expr.to_physical(), -x.dtype.scale
        if x.dtype.precision <= _SHORT:
            return {f"sum:{exponent}": units.sum()}
        part = 10**_SHORT
        return {f"sum:{exponent}": (units % part).sum(), f"sum:{exponent + _SHORT}": (units // part).sum()}

    def total(self, state: State) -> int | float | Decimal:
        """The sum of what all partitions had, whose types may differ."""
        sums = {name: value for name, value in state.items() if name.partition(":")[0] == "sum" and value is not None}
        exponents = {name: int(name.partition(":")[2] or 0) for name in sums}
        if any(isinstance(value, float) for value in sums.values()):
            return math.fsum(value * 10.0 ** exponents[name] for name, value in sums.items())
        least = min(exponents.values(), default=0)
        units = sum(value * 10 ** (exponents[name] - least) for name, value in sums.items())
        return Decimal(f"{units}e{least}") if least else units


class SumBetween(_Summed):
    """The sum, of integers and decimals exactly; of nothing it is 0."""

    wrong = "the sum is outside the range"

    def observed(self, state: State) -> Any:
        return self.total(state)

    def bound(self, x: Operand, raw: Any) -> Any:
        return exact(number(raw)) if x.dtype.is_decimal() else number(raw)


class MeanBetween(_Summed):
    """The mean of the values that aren't missing, as a double."""

    wrong = "the mean is outside the range"

    def observed(self, state: State) -> Any:
        if not state["count"]:
            return None
        total = self.total(state)
        return float(Fraction(total) / state["count"]) if isinstance(total, Decimal) else total / state["count"]


class StdevBetween(_Aggregate):
    """The standard deviation of a sample: of n values it divides by n - 1, and of one there is none."""

    wrong = "the standard deviation is outside the range"

    def measure(self, x: Operand) -> dict[str, pl.Expr]:
        return {"moments": moments(x.within([Family.NUMBER]).expr.cast(pl.Float64))}

    def observed(self, state: State) -> Any:
        found = state.get("moments") or {"n": 0}
        deviation = math.sqrt(found["m2"] / (found["n"] - 1)) if found["n"] > 1 else math.nan
        return None if math.isnan(deviation) else deviation


class NonNullProportionBetween(_Aggregate):
    """The share of rows in which the value isn't missing."""

    tells = Tells.COUNTS
    reads_values = False
    wrong = "the share of values that aren't missing is outside the range"

    def measure(self, _x: Operand) -> dict[str, pl.Expr]:
        return {}

    def observed(self, state: State) -> Any:
        return state["count"] / state["rows"]


def _microseconds(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    return (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class KeyRule(Rule):
    """A rule that needs to know which values are equal, over all partitions: it works on keyed hashes."""

    good_rows_only: ClassVar[bool]

    @abstractmethod
    def key(self, at: Columns) -> tuple[list[Operand], pl.Expr | None]:
        """The columns whose values together are the key, and which rows take part: None for those with all of them."""


class DistinctBetween(Bounds, KeyRule):
    """How many values are distinct. Counted by 64-bit hashes: of 10⁹ keys, one too few in three runs of a hundred."""

    column: str
    wrong: ClassVar[str] = "the number of distinct values is outside the range"
    good_rows_only = False

    def key(self, at: Columns) -> tuple[list[Operand], pl.Expr | None]:
        self.inside(0, number)
        x = at(self.column).within(PLAIN)
        return [x], None

    def holds(self, distinct: int, _count: int) -> bool:
        return bool(self.inside(distinct, number))

    def observation(self, distinct: int, count: int) -> str:
        """How many are distinct, of all that aren't missing."""
        return f"{distinct:,} distinct ones of {count:,}"


class DistinctProportionBetween(DistinctBetween):
    """Distinct values over values."""

    wrong = "the share of distinct values is outside the range"

    def holds(self, distinct: int, count: int) -> bool:
        return bool(self.inside(distinct / count if count else 0, number))

    def observation(self, distinct: int, count: int) -> str:
        return f"a share of {distinct / count if count else 0:.10g}, {super().observation(distinct, count)}"


class UniqueRule(KeyRule):
    """All rows that share a key are bad, the first one too. Rows that broke a row-level rule don't take part."""

    good_rows_only = True


class Unique(UniqueRule):
    """One column is the key; rows without a value don't take part."""

    column: str

    def key(self, at: Columns) -> tuple[list[Operand], pl.Expr | None]:
        x = at(self.column).within(PLAIN)
        return [x], None


class CompoundUnique(ManyColumns, UniqueRule):
    """Inside a compound key two missing values are equal."""

    def key(self, at: Columns) -> tuple[list[Operand], pl.Expr | None]:
        operands = [at(path).within(PLAIN) for path in self.column_list]
        return operands, self.domain(operands)
