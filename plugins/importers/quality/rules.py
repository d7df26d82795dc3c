"""A pipeline's expectations, compiled against a stream's schema."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import polars as pl
import pyarrow as pa

from importers.core.tenant import Expectation
from importers.exceptions import ConfigError
from importers.quality.binding import Labelled, bind, naming
from importers.quality.checker import Checker
from importers.quality.columns import root
from importers.quality.drift import Drift, DriftLess, Earlier, drift
from importers.quality.gx import GxRule
from importers.quality.profile import Profile
from importers.quality.typewise import ShapeRule
from importers.quality.vocabulary import check_order, rule_of


@dataclass(frozen=True, slots=True)
class Rules:
    """What the rows of a stream must be like. `columns` is what has to be read to judge them."""

    schema: pa.Schema
    rules: tuple[Labelled, ...]
    fingerprint: str

    @classmethod
    def compile(cls, expectations: Sequence[Expectation], schema: pa.Schema) -> Self:
        """Raises ConfigError for a type, setting, value or column that doesn't work; its message begins with the rule.

        MissingExtraError if a rule needs Great Expectations itself and it isn't installed.
        """
        seen: Counter[str] = Counter()
        rules = []
        for expectation in expectations:
            seen[expectation.label] += 1
            again = f" #{seen[expectation.label]}" if seen[expectation.label] > 1 else ""
            rules.append(_labelled(expectation, expectation.label + again))
        bound = bind(rules, schema, schema)
        said = json.dumps([e.model_dump() for e in expectations], sort_keys=True, default=str)
        if any(isinstance(x.dtype, pl.Decimal | pl.UInt64) for operands, _ in bound.keys.values() for x in operands):
            said += " exact"  # hashes of their doubles, as they once were, are no use beside these
        return cls(schema, tuple(rules), hashlib.sha256(said.encode()).hexdigest()[:16])

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(root(self.schema, path) for labelled in self.rules for path in labelled.paths)

    def check_order(self, source: str, *, ordered: bool) -> None:
        """Raises ConfigError for a rule on the order of rows that have none."""
        for labelled in self.rules:
            with naming(labelled.label):
                check_order(labelled.rule, source, ordered=ordered)

    def allow(self, column: str, kind: pa.DataType) -> bool:
        """Whether they judge the column alike if some of its rows have this type, wider than the schema's."""
        concerned = [labelled for labelled in self.rules if column in labelled.paths]
        if not concerned:  # else each column of a wide table would be bound beside all others
            return True
        if any(isinstance(labelled.rule, ShapeRule | GxRule) for labelled in concerned):
            return False
        place = self.schema.get_field_index(column)
        schema = self.schema.set(place, self.schema.field(place).with_type(kind))
        try:
            bind(concerned, schema, schema)
        except ConfigError:
            return False
        return True

    @property
    def drifting(self) -> Mapping[str, str]:
        """By label of a rule on drift its column."""
        return {labelled.label: labelled.rule.column for labelled in self.rules if isinstance(labelled.rule, DriftLess)}

    def drifts(self, profile: Profile, earlier: Sequence[Earlier]) -> dict[str, Drift]:
        """By rule how far a run has drifted from the `earlier` ones, the newest first."""
        return {label: drift(column, profile, earlier) for label, column in self.drifting.items()}

    def checker(self, key: bytes) -> Checker:
        """A checker for one partition. `key`: the tenant's 32 bytes for the hashes of keys."""
        return Checker(self, key)


def _labelled(expectation: Expectation, label: str) -> Labelled:
    with naming(label):
        rule, where = rule_of(expectation)
    named = () if isinstance(rule, ShapeRule) and not rule.named else expectation.columns
    return Labelled(
        label, rule, expectation.mostly, tuple(dict.fromkeys((*named, *(where.paths if where else ())))), where
    )
