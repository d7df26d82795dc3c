"""`row_condition`: the rows that a rule is about, in Great Expectations' words, as a polars expression.

As text: `col("total") > 5`, `col("paid") == date("2026-01-31")`, `col("email").notnull()`. As Great Expectations
writes a suite: `{type: and, conditions: [{type: comparison, column: {name: total}, operator: ">", parameter: 5}, …]}`.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import reduce
from operator import and_, or_
from typing import Annotated, Any, Literal, TypeAlias

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from importers.core.tenant import Expectation
from importers.exceptions import ConfigError
from importers.quality.columns import ORDERED, PLAIN, Columns, Family

SETTINGS = ("row_condition", "condition_parser")
_PARSERS = (None, "great_expectations", "great_expectations__experimental__")
_TEXT = re.compile(
    r"""\s* col\("(?P<column>[^"]+)"\) \s*
    (?: (?P<known>\.(?i:notnull)\(\))
      | (?P<operator>==|!=|<=|>=|<|>) \s*
        (?: (?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)
          | (?P<date>date\(\s*)? (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)') (?(date)\s*\)) ) ) \s*""",
    re.VERBOSE,
)
_DO = (
    'write one comparison, `col("total") > 5` or `col("email").notnull()`; several as'
    " `{type: and, conditions: [{type: comparison, column: {name: total}, operator: '>', parameter: 5}, …]}`"
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class _Column(_Part):
    name: str


class Nullity(_Part):
    """Whether the value is missing: null or NaN."""

    type: Literal["nullity"]
    column: _Column
    is_null: bool

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.column.name,)

    def holds(self, at: Columns) -> pl.Expr:
        value = at(self.column.name).expr
        return value.is_null() if self.is_null else value.is_not_null()


class Comparison(_Part):
    """A missing value has no order, equals nothing and is in no set: `!=` and `NOT_IN` hold for it."""

    type: Literal["comparison"]
    column: _Column
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN"]
    parameter: Any

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.column.name,)

    def holds(self, at: Columns) -> pl.Expr:
        x = at(self.column.name)
        if self.operator in ("==", "!=", "IN", "NOT_IN"):
            members = self.parameter if self.operator.endswith("IN") else [self.parameter]
            if not isinstance(members, list) or None in members:
                raise ConfigError(
                    f"`{self.operator}` compares with no such value", do="say `nullity` of missing values"
                )
            x = x.within(PLAIN - {Family.BINARY})
            found = x.among(members).fill_null(value=False)
            return found if self.operator in ("==", "IN") else ~found
        x = x.within(ORDERED)
        bound = x.bound(self.parameter)
        compared = {"<": x.expr < bound, "<=": x.expr <= bound, ">": x.expr > bound, ">=": x.expr >= bound}
        holds: pl.Expr = compared[self.operator].fill_null(value=False)
        return holds


class _Several(_Part):
    conditions: Annotated[list[Condition], Field(min_length=1, max_length=100)]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for condition in self.conditions for path in condition.paths)


class All(_Several):
    """Each of them holds."""

    type: Literal["and"]

    def holds(self, at: Columns) -> pl.Expr:
        return reduce(and_, [condition.holds(at) for condition in self.conditions])


class Some(_Several):
    """One of them holds."""

    type: Literal["or"]

    def holds(self, at: Columns) -> pl.Expr:
        return reduce(or_, [condition.holds(at) for condition in self.conditions])


AnyCondition: TypeAlias = Nullity | Comparison | All | Some
Condition = Annotated[AnyCondition, Field(discriminator="type")]
_CONDITION: TypeAdapter[AnyCondition] = TypeAdapter(Condition)


def conditional(expectation: Expectation) -> tuple[Expectation, AnyCondition | None]:
    """The expectation without its `row_condition`, and that. Raises ConfigError for one that isn't understood."""
    said, parser = (expectation.kwargs.get(name) for name in SETTINGS)
    if parser not in _PARSERS:
        raise ConfigError("`condition_parser` names another language than Great Expectations' own", got=parser, do=_DO)
    condition: AnyCondition | None = None
    if said is not None:
        condition = _parsed(said) if isinstance(said, str) else _validated(said)
    kwargs = {name: value for name, value in expectation.kwargs.items() if name not in SETTINGS}
    return expectation.model_copy(update={"kwargs": kwargs}), condition


def _parsed(text: str) -> Nullity | Comparison:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ConfigError("`row_condition` isn't understood", do=_DO)
    column = _Column(name=found["column"])
    if found["known"]:
        return Nullity(type="nullity", column=column, is_null=False)
    if found["number"]:
        whole = found["number"].lstrip("+-").isdigit()
        parameter: Any = int(found["number"]) if whole else Decimal(found["number"])
    else:
        parameter = found["double"] if found["double"] is not None else found["single"]
    return Comparison.model_validate(
        {"type": "comparison", "column": column, "operator": found["operator"], "parameter": parameter}
    )


def _validated(said: Any) -> AnyCondition:
    try:
        return _CONDITION.validate_python(said)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(step) for step in ("row_condition", *first["loc"]))
        raise ConfigError(f"'{place}' is wrong: {first['msg']}", do=_DO) from None
