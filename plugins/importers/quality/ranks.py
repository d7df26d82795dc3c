"""Median and quantiles of a run, exactly, in one pass and without keeping a value but the two beside each bound.

A bound cuts the values in two. How many lie left of it, the greatest of those and the least of the others merge over
partitions; and they are all that it takes to say on which side of the bound a given rank lies, or a point between two
ranks. No sketch, no sort.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from importers.core.names import few
from importers.exceptions import ConfigError
from importers.quality.columns import Columns, Family, Operand, exact
from importers.quality.rowwise import Bounds, number
from importers.quality.runwide import RunRule, State


@dataclass(frozen=True, slots=True)
class Cut:
    """A bound; with `right`, values that equal it are left of the cut, else right of it."""

    name: str
    at: float | Decimal
    right: bool

    def measures(self, x: Operand) -> dict[str, pl.Expr]:
        """What merges: `left:NAME`, `under:NAME`, `over:NAME`."""
        at = x.bound(self.at)
        left = x.expr <= at if self.right else x.expr < at
        return {
            f"left:{self.name}": left.sum(),
            f"under:{self.name}": x.expr.filter(left).max(),
            f"over:{self.name}": x.expr.filter(~left).min(),
        }

    def is_left(self, state: State, rank: float) -> bool:
        """Whether the value at `rank` (from 0), or between two ranks in proportion, is left of the cut."""
        left, first = state[f"left:{self.name}"], math.floor(rank)
        if first >= left:
            return False
        if math.ceil(rank) < left:
            return True
        under, over, at = _alike(state[f"under:{self.name}"], state[f"over:{self.name}"], self.at)
        between = under + (over - under) * type(under)(rank - first)
        return bool(between <= at if self.right else between < at)

    def said(self, state: State) -> str:
        return f"{state[f'left:{self.name}']:,} {'at most' if self.right else 'less than'} {self.at:.10g}"


class _Ranked(RunRule):
    """A rule on values at ranks of a numeric column."""

    @abstractmethod
    def cuts(self) -> Iterator[Cut]: ...

    @abstractmethod
    def rank(self, cut: Cut, state: State) -> float:
        """The rank whose value the cut bounds."""

    def fits(self, cut: Cut, state: State) -> bool:
        return cut.is_left(state, self.rank(cut, state)) == cut.name.endswith("max")

    def holds(self, state: State, _at: Columns) -> bool:
        if not state["rows"]:
            return True
        return state["count"] > 0 and all(self.fits(cut, state) for cut in self.cuts())

    def observation(self, state: State, _at: Columns, *, shown: bool) -> str:  # noqa: ARG002 - no value is kept
        if not state["count"]:
            return "no number"
        cuts = list(self.cuts())
        said = [cut.said(state) for cut in cuts if not self.fits(cut, state)] or [cut.said(state) for cut in cuts]
        return few(said, 4)

    def measured(self, x: Operand) -> dict[str, pl.Expr]:
        x = x.within([Family.NUMBER])
        found = {"count": pl.len() - x.expr.null_count()}
        for cut in self.cuts():
            found |= cut.measures(x)
        return found


class MedianBetween(Bounds, _Ranked):
    """The median; of an even number of values the mean of the middle two."""

    column: str
    wrong = "the median is outside the range"

    def cuts(self) -> Iterator[Cut]:
        self.ends(number)  # tells what is wrong with them
        if self.min_value is not None:
            yield Cut("min", self.min_value, right=self.strict_min)
        if self.max_value is not None:
            yield Cut("max", self.max_value, right=not self.strict_max)

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        return self.measured(at(self.column))

    def rank(self, _cut: Cut, state: State) -> float:
        return float((state["count"] - 1) / 2)


class QuantileRanges(BaseModel):
    """Quantiles, and for each the least and the greatest value that it may have (null: any)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    quantiles: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1)]
    """Which quantiles: 0.5 is the median."""
    value_ranges: list[Annotated[list[float | None], Field(min_length=2, max_length=2)]]
    """`[least, greatest]` for each of them."""


_RANK: dict[str, Callable[[float], float]] = {
    "linear": float,
    "lower": math.floor,
    "higher": math.ceil,
    "nearest": round,  # half to even, as numpy has it
    "midpoint": lambda rank: (math.floor(rank) + math.ceil(rank)) / 2,
}


class QuantilesBetween(_Ranked):
    """Each of the quantiles is in its range, give or take a ten-thousandth, as Great Expectations has it."""

    column: str
    quantile_ranges: QuantileRanges
    allow_relative_error: Literal[False, "linear", "lower", "higher", "nearest", "midpoint"] = False
    wrong = "a quantile is outside its range"

    def cuts(self) -> Iterator[Cut]:
        ranges = self.quantile_ranges
        if len(ranges.quantiles) != len(ranges.value_ranges):
            raise ConfigError(
                "each quantile needs a range",
                got=f"{len(ranges.quantiles)} quantiles, {len(ranges.value_ranges)} ranges",
                do="write as many value_ranges as quantiles",
            )
        for place, (least, greatest) in enumerate(ranges.value_ranges):
            if least is not None:
                yield Cut(f"{place} min", least - _tolerance(least), right=False)
            if greatest is not None:
                yield Cut(f"{place} max", greatest + _tolerance(greatest), right=True)

    def check_arguments(self) -> None:
        list(self.cuts())
        for least, greatest in self.quantile_ranges.value_ranges:
            if least is not None and greatest is not None and least > greatest:
                raise ConfigError("a range ends before it begins", got=f"[{least:g}, {greatest:g}]", do="swap the two")

    def measures(self, at: Columns) -> dict[str, pl.Expr]:
        return self.measured(at(self.column))

    def rank(self, cut: Cut, state: State) -> float:
        quantile = self.quantile_ranges.quantiles[int(cut.name.split()[0])]
        return _RANK[self.allow_relative_error or "nearest"]((state["count"] - 1) * quantile)


def _tolerance(bound: float) -> float:
    return 1e-8 + 1e-4 * abs(bound)


def _alike(under: Any, over: Any, at: float | Decimal) -> tuple[Any, Any, Any]:
    """As fractions where no value is a float, and the bound as what it was written as; else as floats."""
    if isinstance(under, float) or isinstance(over, float) or abs(at) == math.inf:
        return float(under), float(over), at
    return Fraction(under), Fraction(over), Fraction(exact(at))
