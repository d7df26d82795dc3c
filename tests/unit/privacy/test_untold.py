"""What a plan may hold of what is dropped: it is stored, and stays, where no erasure looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from tests.unit.privacy.test_policy import build, stream

from importers.core.model import PersonalData, Why
from importers.core.untold import FIELD
from importers.exceptions import ConfigError

N, S, NULL = pa.int64(), pa.string(), pa.null()
PERSONS = pa.struct([("anna@example.org", N), ("bob", N)])
USER = pa.struct([("n", N), ("town", S), ("scores", PERSONS)])
KEEP = {"id": "keep"}


def told(columns: dict[str, Any], kinds: dict[str, Any], *, parts: bool = True, **spec: Any) -> dict[str, Any]:
    read = spec.pop("read", ())
    names, needed = spec.pop("names", ()), spec.pop("needed", ())
    of = stream({"id": N, **kinds})
    policy = build({"columns": KEEP | columns, **spec}, of, needed=needed)
    found = policy.told(of, read=read, names=names, parts=parts)
    return {column.name: column.type for column in found.columns if column.name != "id"}


@pytest.mark.parametrize(
    ("columns", "spec"), [({"m": "drop"}, {}), ({"*": "drop"}, {}), ({}, {"unclassified": "drop"})]
)
@pytest.mark.parametrize("kind", [PERSONS, pa.list_(PERSONS), pa.struct([("in", pa.large_list(PERSONS))])])
@pytest.mark.parametrize("parts", [True, False])
def test_of_an_object_that_is_dropped_no_key_is_told(columns: Any, spec: Any, kind: Any, parts: bool) -> None:
    assert told(columns, {"m": kind}, parts=parts, **spec) == {"m": NULL}


def test_what_the_policy_names_is_told() -> None:
    columns = {"m": "drop", "m.bob": "drop", "user": "drop", "user.scores": "drop", "user.n": "keep"}
    rest = pa.struct([("n", N), ("scores", NULL), FIELD])
    assert told(columns, {"m": PERSONS, "user": USER}) == {"m": pa.struct([("bob", N), FIELD]), "user": rest}


def test_what_a_rule_needs_or_the_table_may_have_is_told() -> None:
    assert told({"user": "drop", "user.n": "keep"}, {"user": USER}, needed=["user.town"]) == {
        "user": pa.struct([("n", N), ("town", S), FIELD])
    }
    assert told({"m": "drop"}, {"m": PERSONS}, names=["m.bob"]) == {"m": pa.struct([("bob", N), FIELD])}


def test_a_source_that_reads_objects_whole_is_told_those_that_are_read() -> None:
    columns, kinds = {"*": "drop", "user.n": "keep"}, {"user": USER, "m": PERSONS}
    assert told(columns, kinds, read=["id", "user"], parts=False) == {"user": USER, "m": NULL}
    assert told(columns, kinds, read=["id", "user"]) == {"user": pa.struct([("n", N), FIELD]), "m": NULL}


def test_what_the_source_documents_is_told() -> None:
    assert told({}, {"m": (PERSONS, PersonalData.CONTACT)}) == {"m": PERSONS}


def test_columns_are_told_but_those_that_records_call_like_values() -> None:
    kinds = {"anna@example.org": N, "bob@example.org": PERSONS, "named@example.org": N, "town": S}
    columns = {"*": "drop", "named@example.org": "drop"}
    assert told(columns, kinds) == {"named@example.org": N, "town": S, "…": NULL}
    assert told(columns, kinds, parts=False) == kinds | {"bob@example.org": NULL}


def test_what_is_not_known_can_be_dropped_alone() -> None:
    kinds = {"m": NULL, "user": pa.struct([("n", N), FIELD])}
    build(
        {"columns": KEEP | {"m": "drop", "user": "drop", "user.n": "keep", "m.gone": "drop"}}, stream({"id": N} | kinds)
    )
    for columns in ({"m": "keep", "user": "drop"}, {"m": "drop", "user": "keep"}, {"*": "drop", "m.total": "keep"}):
        with pytest.raises(ConfigError, match=r"'(m|user\.…)' can't be loaded: the sample doesn't tell what it is"):
            build({"columns": KEEP | columns}, stream({"id": N} | kinds))


def test_what_the_source_says_of_what_is_not_known_is_told() -> None:
    of, why = stream({"id": N, "user": pa.struct([("n", NULL)])}), Why("it is this and that", "say which")
    of = replace(of, columns=(of.columns[0], replace(of.columns[1], untold={"user.n": why})))
    with pytest.raises(ConfigError, match=r"'user\.n' can't be loaded: it is this and that\. Say which"):
        build({"columns": KEEP | {"user": "keep"}}, of)
