"""Rules that judge each row by itself: Great Expectations' words, as polars expressions.

Each class is one expectation type; its fields are the type's kwargs, its `judged` the rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from itertools import combinations
from operator import add, and_, or_
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from importers.exceptions import ConfigError
from importers.quality.columns import ORDERED, PLAIN, Columns, Family, Operand


class Rule(BaseModel, ABC):
    """The kwargs of one expectation type. Unknown ones are errors: a typo must not become a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
    reads_values: ClassVar[bool] = True
    """Whether more is asked of its columns than which values are missing and which are in a set."""

    def check_arguments(self) -> None:
        """Raises ConfigError for arguments that suit no column, whatever its type."""
        for value in getattr(self, "value_set", ()):
            plain(value, "a member of the set")


def plain(value: Any, what: str) -> None:
    """Raises ConfigError for what no column has as one value."""
    if isinstance(value, list | tuple | dict | set):
        raise ConfigError(f"{what} must be one value", got=f"a {type(value).__name__}", do="write a number or a text")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a rule says of a batch: which rows violate it (no nulls), and how many rows it had a say in."""

    violated: pl.Expr
    evaluated: pl.Expr


class RowRule(Rule):
    """A rule whose violation makes a row bad."""

    @abstractmethod
    def judged(self, at: Columns) -> Judged:
        """Raises ConfigError if the rule doesn't fit the columns."""


def known(operand: Operand, holds: pl.Expr) -> Judged:
    """As Great Expectations has it: a rule on one column's values says nothing of missing ones."""
    return Judged((~holds).fill_null(value=False), pl.len() - operand.expr.null_count())


def inside(domain: pl.Expr, holds: pl.Expr) -> Judged:
    """A rule on several columns: in its domain, a comparison with a missing value doesn't hold."""
    return Judged(domain & ~holds.fill_null(value=False), domain.sum())


class NotBeNull(RowRule):
    """Missing values are bad: null, and NaN."""

    column: str
    reads_values = False

    def judged(self, at: Columns) -> Judged:
        return Judged(at(self.column).expr.is_null(), pl.len())


class BeNull(RowRule):
    """Any value is bad."""

    column: str
    reads_values = False

    def judged(self, at: Columns) -> Judged:
        return Judged(at(self.column).expr.is_not_null(), pl.len())


class Bounds(Rule):
    """`min_value` and `max_value`, either of which may be absent but not both."""

    min_value: Any = None
    max_value: Any = None
    strict_min: bool = False
    strict_max: bool = False
    numeric: ClassVar[bool] = True
    """Whether the bounds are numbers, whatever the column holds."""

    def check_arguments(self) -> None:
        bounds = [bound for bound in (self.min_value, self.max_value) if bound is not None]
        numbers = [isinstance(bound, int | float | Decimal) for bound in bounds]
        if self.numeric or all(numbers):
            self.ends(number)
            return
        for bound in bounds:
            plain(bound, "the bound")
        if any(numbers):
            kinds = " and ".join(type(bound).__name__ for bound in bounds)
            raise ConfigError("no column has values between a number and a text", got=kinds, do="write two of one kind")

    def ends(self, read: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Both bounds as `read` has them, None for one that is absent. Raises ConfigError if they make no range."""
        low, high = (None if bound is None else read(bound) for bound in (self.min_value, self.max_value))
        if low is None and high is None:
            raise ConfigError("a range needs an end", got="neither min_value nor max_value", do="give one of them")
        if low is not None and high is not None and low > high:
            raise ConfigError(
                "min_value is greater than max_value",
                got=f"min_value: {self.min_value}, max_value: {self.max_value}",
                do="swap them",
            )
        return low, high

    def inside(self, x: Any, read: Callable[[Any], Any]) -> Any:
        """Whether `x` (an expression or a number) is inside; `read` turns a bound into what compares with it."""
        low, high = self.ends(read)
        holds = []
        if low is not None:
            holds.append(x > low if self.strict_min else x >= low)
        if high is not None:
            holds.append(x < high if self.strict_max else x <= high)
        return reduce(and_, holds)


def number(raw: Any) -> int | float | Decimal:
    """A bound on counts, lengths and sums."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal):
        raise ConfigError("the bound must be a number", got=f"a value of type {type(raw).__name__}")
    return raw


class Between(Bounds, RowRule):
    """Values in a range: numbers, text by code point, dates and times."""

    column: str
    numeric = False

    def judged(self, at: Columns) -> Judged:
        x = at(self.column).within(ORDERED)
        return known(x, self.inside(x.expr, x.bound))


class BeInSet(RowRule):
    """Values that the set has."""

    column: str
    value_set: list[Any]
    reads_values = False

    def judged(self, at: Columns) -> Judged:
        x = at(self.column).within(PLAIN - {Family.BINARY})
        return known(x, x.among(self.value_set))


class NotBeInSet(BeInSet):
    """Values that the set hasn't."""

    def judged(self, at: Columns) -> Judged:
        x = at(self.column).within(PLAIN - {Family.BINARY})
        return known(x, ~x.among(self.value_set))


class LengthsBetween(Bounds, RowRule):
    """Lengths in characters (code points), as Python counts them."""

    column: str

    def judged(self, at: Columns) -> Judged:
        x = at(self.column)
        length = x.text().str.len_chars()
        low, high = self.ends(number)
        if isinstance(low, int) and isinstance(high, int):  # characters are counted once, not for each end
            return known(x, length.is_between(low + self.strict_min, high - self.strict_max))
        return known(x, self.inside(length, number))


class LengthsEqual(RowRule):
    """One length in characters (code points)."""

    column: str
    value: int

    def judged(self, at: Columns) -> Judged:
        x = at(self.column)
        return known(x, x.text().str.len_chars() == self.value)


class PairRule(RowRule):
    """Two columns of comparable types."""

    a: Annotated[str, Field(alias="column_A")]
    b: Annotated[str, Field(alias="column_B")]
    ignore_row_if: Literal["both_values_are_missing", "either_value_is_missing", "neither"] = "both_values_are_missing"

    def pair(self, at: Columns, families: frozenset[Family]) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
        """A, B and the domain. Raises ConfigError for types that don't compare."""
        a, b = at(self.a).within(families), at(self.b).within(families)
        if a.family is not Family.NOTHING:
            b.within([a.family])
        return a.expr, b.expr, self.domain(a, b)

    def domain(self, a: Operand, b: Operand) -> pl.Expr:
        """The rows that the rule has a say in."""
        missing = {
            "both_values_are_missing": a.expr.is_null() & b.expr.is_null(),
            "either_value_is_missing": a.expr.is_null() | b.expr.is_null(),
            "neither": a.expr.is_null() & False,
        }
        return ~missing[self.ignore_row_if]


class GreaterPair(PairRule):
    """A > B, or A ≥ B with `or_equal`."""

    or_equal: bool | None = None

    def judged(self, at: Columns) -> Judged:
        a, b, domain = self.pair(at, ORDERED)
        return inside(domain, a >= b if self.or_equal else a > b)


class EqualPair(PairRule):
    """A = B."""

    def judged(self, at: Columns) -> Judged:
        a, b, domain = self.pair(at, PLAIN)
        return inside(domain, a == b)


class PairInSet(PairRule):
    """The two values together are one of the pairs; `null` in a pair stands for a missing value."""

    value_pairs_set: list[Annotated[tuple[Any, Any], Field(strict=False)]]

    def judged(self, at: Columns) -> Judged:
        a, b = at(self.a).within(PLAIN - {Family.BINARY}), at(self.b).within(PLAIN - {Family.BINARY})
        partners: dict[Any, list[Any]] = defaultdict(list)
        for first, second in self.value_pairs_set:
            partners[first].append(second)
        allowed = [_is(a, [first]) & _is(b, seconds) for first, seconds in partners.items()]
        return inside(self.domain(a, b), reduce(or_, allowed, pl.lit(value=False)))


def _is(x: Operand, members: list[Any]) -> pl.Expr:
    found = x.among(members).fill_null(value=False)
    return found | x.expr.is_null() if None in members else found


class ManyColumns(Rule):
    """Several columns, and which rows the rule leaves out."""

    column_list: Annotated[list[str], Field(min_length=2)]
    ignore_row_if: Literal["all_values_are_missing", "any_value_is_missing", "never"] = "all_values_are_missing"

    def domain(self, operands: list[Operand]) -> pl.Expr:
        missing = [operand.expr.is_null() for operand in operands]
        if self.ignore_row_if == "all_values_are_missing":
            return ~reduce(and_, missing)
        return ~reduce(or_, missing) if self.ignore_row_if == "any_value_is_missing" else ~(missing[0] & False)


class UniqueWithinRecord(ManyColumns, RowRule):
    """No two of the columns are equal; two missing values are."""

    def judged(self, at: Columns) -> Judged:
        operands = [at(path).within(PLAIN) for path in self.column_list]
        equal = [_same(a, b) for a, b in combinations(operands, 2)]
        return inside(self.domain(operands), ~reduce(or_, equal))


def _same(a: Operand, b: Operand) -> pl.Expr:
    if a.family is b.family or Family.NOTHING in (a.family, b.family):
        return a.expr.eq_missing(b.expr)
    return a.expr.is_null() & b.expr.is_null()


class AllEqual(ManyColumns, RowRule):
    """All of the columns are equal; two missing values are."""

    def judged(self, at: Columns) -> Judged:
        operands = [at(path).within(PLAIN) for path in self.column_list]
        return inside(self.domain(operands), reduce(and_, [_same(operands[0], x) for x in operands[1:]]))


class SumEqual(ManyColumns, RowRule):
    """The columns add up to `sum_total`: exactly, unless one is a float. With a missing value there is no sum: bad."""

    sum_total: int | float | Decimal

    def judged(self, at: Columns) -> Judged:
        operands = [at(path).within([Family.NUMBER]) for path in self.column_list]
        total = reduce(add, [x.expr.cast(_wide(operands)) for x in operands])
        wanted = self.sum_total
        if isinstance(wanted, float) and wanted.is_integer():
            wanted = int(wanted)
        elif not any(x.dtype.is_float() for x in operands):
            wanted = Decimal(str(wanted))
        return inside(self.domain(operands), total == wanted)


def _wide(operands: list[Operand]) -> pl.DataType:
    """A type in which numbers add up without overflow, and exactly where they are exact."""
    if any(x.dtype.is_float() for x in operands):
        return pl.Float64()
    scales = [x.dtype.scale for x in operands if isinstance(x.dtype, pl.Decimal)]
    return pl.Decimal(38, max(scales)) if scales else pl.Int128()
