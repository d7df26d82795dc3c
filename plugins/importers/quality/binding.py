"""Rules meet a schema: what to ask of a batch that has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import and_

import polars as pl
import pyarrow as pa

from importers.exceptions import ConfigError
from importers.quality.columns import Columns, Operand
from importers.quality.conditions import AnyCondition
from importers.quality.drift import DriftLess
from importers.quality.gx import GxRule
from importers.quality.rowwise import Judged, RowRule, Rule
from importers.quality.runwide import KeyRule, MeasuredRule
from importers.quality.typewise import ShapeRule


@dataclass(frozen=True, slots=True)
class Labelled:
    """A rule, how reports name it, the least fraction that must hold if it has one, the columns it reads, and which
    rows it is about: all, without a condition.
    """

    label: str
    rule: Rule
    mostly: float | None
    paths: tuple[str, ...]
    where: AnyCondition | None = None

    @property
    def rows(self) -> str:
        """Equal for rules that are about the same rows."""
        return self.where.model_dump_json() if self.where else ""


@dataclass
class Part:
    """Rules that are about the same rows, `chosen` or all: by label violations of rows, and measures of the run."""

    chosen: pl.Expr | None
    judged: dict[str, Judged] = field(default_factory=dict)
    measures: dict[str, dict[str, pl.Expr]] = field(default_factory=dict)

    @cached_property
    def questions(self) -> list[pl.Expr]:
        """All that is asked of a batch at once, in columns named after what is asked and the rule's label."""
        asked = []
        for label, judged in self.judged.items():
            asked += [judged.violated.alias(f"violated {label}"), judged.evaluated.alias(f"evaluated {label}")]
        for label, measures in self.measures.items():
            asked += [expr.alias(f"{name} {label}") for name, expr in measures.items()]
        return asked


@dataclass(slots=True)
class Bound:
    """By label: whether the shape fits and what it is, keys and the rows that have one; the other rules by the rows
    they are about.
    """

    at: Columns
    parts: dict[str, Part] = field(default_factory=dict)
    fits: dict[str, bool] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    keys: dict[str, tuple[list[Operand], pl.Expr | None]] = field(default_factory=dict)

    def frame(self, rows: pa.RecordBatch) -> pl.DataFrame:
        """The columns that the rules read, as polars has them."""
        return self.at.frame(rows)


def bind(rules: Iterable[Labelled], schema: pa.Schema, declared: pa.Schema) -> Bound:
    """Raises ConfigError, which begins with the rule's label, where a rule doesn't fit the schema."""
    rules = tuple(rules)
    for labelled in rules:
        with naming(labelled.label):
            Columns(schema, labelled.paths)
    paths = {path for labelled in rules for path in labelled.paths}
    read = {path for labelled in rules if labelled.rule.reads_values or labelled.where for path in labelled.paths}
    bound = Bound(Columns(schema, paths, paths - read))
    for labelled in rules:
        with naming(labelled.label):
            _bind(bound, labelled, schema, declared)
    return bound


def _bind(bound: Bound, labelled: Labelled, schema: pa.Schema, declared: pa.Schema) -> None:
    label, rule = labelled.label, labelled.rule
    chosen = labelled.where.holds(bound.at) if labelled.where else None
    if isinstance(rule, RowRule | MeasuredRule | GxRule):
        part = bound.parts.setdefault(labelled.rows, Part(chosen))
    if isinstance(rule, RowRule):
        part.judged[label] = rule.judged(bound.at)
    elif isinstance(rule, MeasuredRule):
        part.measures[label] = rule.measures(bound.at)
    elif isinstance(rule, ShapeRule):  # whether a column exists is a question to the stream, not to what was read of it
        shape = schema if labelled.paths else declared
        bound.fits[label], bound.found[label] = rule.fits(shape), rule.found(shape)
    elif isinstance(rule, KeyRule):
        operands, domain = rule.key(bound.at)
        if chosen is not None:
            domain = reduce(and_, [x.expr.is_not_null() for x in operands]) if domain is None else domain
            domain &= chosen
        bound.keys[label] = operands, domain
    elif isinstance(rule, DriftLess):
        rule.check(bound.at)
    elif isinstance(rule, GxRule):
        for path in labelled.paths:
            bound.at(path)


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Put the rule before what is wrong with it."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{label}: {error.what}", got=error.got, do=error.do) from None
