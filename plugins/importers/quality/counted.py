"""Rules on values that only the whole run can judge: which is out of order, which lies far from the others.

What breaks them is counted, over all partitions, and no row is bad by itself: an outlier is one among these rows, and a
row that is smaller than the one before it may be right where that one is wrong. The run fails if fewer values than
`mostly` hold; without `mostly`, all must.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import polars as pl
import pyarrow as pa

from importers.quality.binding import Labelled, bind
from importers.quality.checker import living
from importers.quality.columns import MOMENTS, Columns, Family, Operand
from importers.quality.duplicates import Read
from importers.quality.runwide import CountedRule, State, moments
from importers.quality.verdict import Tally, Verdict


class _Ordered(CountedRule):
    """No value is out of order: in the order of the source, where it has one. Missing values don't take part."""

    column: str
    strictly: bool = False
    """Whether equal neighbours are out of order, too."""
    needs_order = True
    sign: ClassVar[int]

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        values = _comparable(at(self.column)).drop_nulls() * self.sign
        before = values.shift(1)
        broken = (values <= before) if self.strictly else (values < before)
        steps = pl.struct(
            values.first().alias("first"), values.last().alias("last"), broken.sum().cast(pl.Int64).alias("broken")
        )
        return {"count": at(self.column).expr.count(), "leaps" if self.strictly else "steps": steps}

    def broken(self, state: State) -> int:
        steps = state.get("leaps" if self.strictly else "steps")
        return steps["broken"] if steps else 0


class Increasing(_Ordered):
    """No value is less than the one before it, or with `strictly` equal: in the source's order, if it has one."""

    sign = 1
    wrong = "values are less than the ones before them"


class Decreasing(_Ordered):
    """No value is greater than the one before it, or with `strictly` equal: in the source's order, if it has one."""

    sign = -1
    wrong = "values are greater than the ones before them"


def _comparable(x: Operand) -> pl.Expr:
    """Numbers that have the values' order, and may be negated."""
    x = x.within(MOMENTS | {Family.NUMBER})
    expr = x.microseconds if x.family in MOMENTS else x.expr
    return expr if x.dtype.is_decimal() else expr.cast(pl.Float64 if x.dtype.is_float() else pl.Int128)


class ZScoresLess(CountedRule):
    """Values nearer to the run's mean than `threshold` standard deviations; where these don't differ, all are.

    Mean and deviation are known at the gate. Only where a partition's extremes lie beyond are its rows read again.
    """

    column: str
    threshold: float
    double_sided: bool = True
    """Whether values far below the mean count, too."""
    wrong = "values lie too far from the mean"

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        values = _floats(at(self.column))
        return {"count": values.count(), "moments": moments(values), "min": values.min(), "max": values.max()}

    def broken(self, state: State) -> int:  # noqa: ARG002 - extremes tell that there are some, not how many
        return 0

    def is_beyond(self, run: State, part: State) -> bool:
        scored = _score(run)
        return scored is not None and any(
            part.get(end) is not None and self._breaks(scored[0], scored[1], part[end]) for end in ("min", "max")
        )

    def beyond(self, run: State, at: Columns) -> pl.Expr:
        mean, deviation = _score(run) or (0.0, math.inf)
        score = (_floats(at(self.column)) - mean) / deviation
        return (score.abs() >= abs(self.threshold) if self.double_sided else score >= self.threshold).sum()

    def _breaks(self, mean: float, deviation: float, value: float) -> bool:
        score = (value - mean) / deviation
        return abs(score) >= abs(self.threshold) if self.double_sided else score >= self.threshold


def _floats(x: Operand) -> pl.Expr:
    return x.within([Family.NUMBER]).expr.cast(pl.Float64)


def _score(state: State) -> tuple[float, float] | None:
    """Mean and deviation of a sample; None where they tell nothing: of one value, of equal ones, of infinite ones."""
    found = state.get("moments") or {"n": 0}
    deviation = math.sqrt(found["m2"] / (found["n"] - 1)) if found["n"] > 1 else 0.0
    return None if math.isnan(deviation) or deviation == 0 else (found["mean"], deviation)


def broken(
    rules: Sequence[Labelled], verdicts: Mapping[int, Verdict], tally: Tally, read: Read | None
) -> dict[str, int]:
    """By rule how many values break it. Without `read`, as of rows that are gone, at least one where there are some."""
    counted: dict[str, int] = {}
    look: dict[str, State] = {}
    for label, rule in _counted(rules):
        state = tally.states.get(label, {})
        counted[label] = rule.broken(state)
        if rule.is_beyond(state, state):
            look[label] = state
            counted[label] += read is None
    for partition, verdict in verdicts.items() if read is not None and look else ():
        here = [one for one in rules if one.label in look and _is_beyond(one, look[one.label], verdict)]
        for rows in read(partition) if read is not None and here else ():
            for label, number in _beyond(here, look, rows).items():
                counted[label] += number
    return counted


def _counted(rules: Sequence[Labelled]) -> list[tuple[str, CountedRule]]:
    return [(one.label, one.rule) for one in rules if isinstance(one.rule, CountedRule)]


def _is_beyond(one: Labelled, run: State, verdict: Verdict) -> bool:
    return isinstance(one.rule, CountedRule) and one.rule.is_beyond(run, verdict.tally.states.get(one.label, {}))


def _beyond(rules: Sequence[Labelled], look: Mapping[str, State], rows: pa.RecordBatch) -> dict[str, int]:
    alive = living(rows)
    rows = rows if alive is None else rows.filter(pa.array(alive))
    bound = bind(rules, rows.schema, rows.schema)
    frame = bound.frame(rows)
    found = {}
    for one in rules:
        chosen = bound.parts[one.rows].chosen
        about = frame if chosen is None else frame.filter(chosen)
        if isinstance(one.rule, CountedRule):
            found[one.label] = int(about.select(one.rule.beyond(look[one.label], bound.at)).item())
    return found
