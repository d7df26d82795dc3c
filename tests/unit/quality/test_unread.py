"""Of texts that are only counted or looked up Arrow answers, and polars isn't given them: with what Python finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from importers.core.tenant import Expectation
from importers.quality import Rules
from importers.quality.binding import bind
from importers.quality.typewise import ShapeRule
from importers.quality.vocabulary import COMPILED

TEXTS = ["DE", None, "", "de", "DE", "Ωμέγα", "a text of more than twelve bytes", "FR", None, "F"]
PLACES = [0, 3, None, 6, 1, 5, 2, 0]
SETS = [[], ["DE"], ["FR", "", "Ωμέγα"], ["a text of more than twelve bytes", *(f"no {n}" for n in range(20))]]
UNREADING = {rule for rule in COMPILED.values() if not rule.reads_values and not issubclass(rule, ShapeRule)}


def _arrays() -> dict[str, pa.Array]:
    coded = pa.DictionaryArray.from_arrays(pa.array(PLACES, pa.int16()), pa.array(TEXTS[:7]))
    return {
        "string": pa.array(TEXTS, pa.string()),
        "large_string": pa.array(TEXTS, pa.large_string()),
        "string_view": pa.array(TEXTS, pa.string_view()),
        "sliced": pa.array(["x", None, *TEXTS, "DE"], pa.string()).slice(2, len(TEXTS)),
        "without nulls": pa.array([text for text in TEXTS if text is not None]),
        "coded, with nulls in both": coded,
        "none": pa.array([], pa.string()),
    }


def _rules(schema: pa.Schema, **kwargs_of: dict[str, Any]) -> Rules:
    expectations = [Expectation(type=f"expect_column_{type_}", kwargs=kwargs) for type_, kwargs in kwargs_of.items()]
    return Rules.compile(expectations, schema)


@pytest.mark.parametrize("of", _arrays())
@pytest.mark.parametrize("members", SETS, ids=len)
def test_what_python_finds(of: str, members: list[str]) -> None:
    rows = pa.record_batch({"text": _arrays()[of]})
    texts = rows.column("text").to_pylist()
    rules = _rules(
        pa.schema({"text": pa.string()}),
        values_to_be_in_set={"column": "text", "value_set": members},
        values_to_not_be_in_set={"column": "text", "value_set": members},
        values_to_not_be_null={"column": "text"},
        values_to_be_null={"column": "text"},
        proportion_of_non_null_values_to_be_between={"column": "text", "min_value": 0.5},
    )
    assert {type(labelled.rule) for labelled in rules.rules} == UNREADING
    within, without, present, missing, share = (labelled.label for labelled in rules.rules)
    checker = rules.checker(bytes(32))
    checked = checker.check(rows)
    there = [text is not None for text in texts]
    wanted = {
        within: [text is not None and text not in members for text in texts],
        without: [text is not None and text in members for text in texts],
        present: [text is None for text in texts],
        missing: there,
    }
    broken = [[label for label, found in wanted.items() if found[row]] for row in range(len(texts))]
    assert checked.broken.to_pylist() == [labels for labels in broken if labels]
    assert np.flatnonzero(checked.bad).tolist() == [row for row, labels in enumerate(broken) if labels]
    tally = checker.verdict(0).tally
    assert {label: tally.evaluated[label] for label in (within, without)} == dict.fromkeys(
        (within, without), sum(there)
    )
    assert tally.states.get(share, {}).get("count", 0) == sum(there)


def test_what_polars_is_given() -> None:
    rows = pa.record_batch({"text": pa.array(TEXTS), "read": pa.array(TEXTS)})
    rules = _rules(
        rows.schema,
        values_to_be_in_set={"column": "text", "value_set": ["DE"]},
        values_to_not_be_in_set={"column": "read", "value_set": ["DE"]},
        value_lengths_to_equal={"column": "read", "value": 2},
    )
    frame = bind(rules.rules, rows.schema, rows.schema).frame(rows)
    assert frame["text"].dtype == pl.Boolean
    assert frame["read"].dtype == pl.String
