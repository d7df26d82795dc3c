"""Arbitrary nested tables against a treatment of Python values, one by one."""

import hashlib
import hmac
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.properties import examples

from importers.core.model import Column, Reads, Stream
from importers.core.tenant import Privacy
from importers.exceptions import PrivacyError
from importers.keys.keyring import Keyring
from importers.privacy.leaves import Part, keep, leaves, treat
from importers.privacy.policy import Policy

ACME = Keyring([hashlib.sha256(b"a test's key").digest()]).tenant("acme")
CANARY, NUMBER = "canary-7f3a", 0x7F3A7F3A7F3A7F3A
TREATMENTS = ["keep", "drop", "pseudonymise", "encrypt", {"mask": "email"}, {"mask": "band", "width": 1000}]
FITS = {pa.string(): [0, 1, 2, 3, 4], pa.int64(): [0, 1, 2, 3, 5]}


def containers(inner: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    fields = st.lists(inner, min_size=1, max_size=3).map(lambda kinds: list(zip("abc", kinds, strict=False)))
    return st.one_of(
        fields.map(pa.struct),
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        inner.map(lambda kind: pa.list_(kind, 2)),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    )


TYPES = st.recursive(st.sampled_from([pa.string(), pa.int64()]), containers, max_leaves=5)


def paths(kind: pa.DataType, path: str) -> list[tuple[str, pa.DataType]]:
    """The leaves, found another way than the package's."""
    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in paths(field.type, f"{path}.{field.name}")]
    if pa.types.is_map(kind):
        return paths(kind.key_type, path + "{key}") + paths(kind.item_type, path + "{value}")
    if pa.types.is_nested(kind):
        return paths(kind.value_type, path + "[]")
    return [(path, kind)]


def values(draw: st.DrawFn, kind: pa.DataType, path: str, rules: dict[str, Any], nullable: bool = True) -> Any:
    if nullable and draw(st.integers(0, 3)) == 0:
        return None
    if pa.types.is_struct(kind):
        return {field.name: values(draw, field.type, f"{path}.{field.name}", rules) for field in kind}
    if pa.types.is_map(kind):
        many = draw(st.integers(0, 2))
        return [
            (
                values(draw, kind.key_type, path + "{key}", rules, nullable=False),
                values(draw, kind.item_type, path + "{value}", rules),
            )
            for _ in range(many)
        ]
    if pa.types.is_nested(kind):
        many = 2 if isinstance(kind, pa.FixedSizeListType) else draw(st.integers(0, 3))
        return [values(draw, kind.value_type, path + "[]", rules) for _ in range(many)]
    secret = rules[path] != "keep"
    if pa.types.is_string(kind):
        return f"{CANARY if secret else 'kept'}{draw(st.integers(0, 2))}"
    return NUMBER if secret else draw(st.integers(0, 9))


GONE = object()


def by_hand(value: Any, kind: pa.DataType, path: str, rules: dict[str, Any]) -> Any:
    """What must become of a value; GONE where nothing is left of it; encrypted values are only marked."""
    under = {leaf: rules[leaf] for leaf, _ in paths(kind, path)}
    if all(rule == "drop" for rule in under.values()):
        return GONE
    if value is None or all(rule == "keep" for rule in under.values()):
        return value
    if pa.types.is_struct(kind):
        left = {f.name: by_hand(value[f.name], f.type, f"{path}.{f.name}", rules) for f in kind}
        return {name: inner for name, inner in left.items() if inner is not GONE}
    if pa.types.is_map(kind):
        entries = [
            {
                "key": by_hand(k, kind.key_type, path + "{key}", rules),
                "value": by_hand(v, kind.item_type, path + "{value}", rules),
            }
            for k, v in value
        ]
        return [{name: inner for name, inner in entry.items() if inner is not GONE} for entry in entries]
    if pa.types.is_nested(kind):
        return [by_hand(item, kind.value_type, path + "[]", rules) for item in value]
    return leaf_by_hand(value, rules[path])


def leaf_by_hand(value: Any, rule: Any) -> Any:
    if rule == "pseudonymise":
        key = ACME.pseudonym("default").hex().encode()
        return uuid.UUID(bytes=hmac.new(key, str(value).encode(), hashlib.sha256).digest()[:16])
    if rule == "encrypt":
        return "encrypted"
    return "***" if rule == {"mask": "email"} else value // 1000 * 1000


def marked(value: Any) -> Any:
    """The same with each encrypted value marked, whose bytes nobody can foretell."""
    if isinstance(value, bytes):
        return "encrypted"
    if isinstance(value, dict):
        return {name: marked(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [marked(inner) for inner in value]
    return tuple(marked(inner) for inner in value) if isinstance(value, tuple) else value


def policy_for(kinds: dict[str, pa.DataType], rules: dict[str, Any]) -> Policy:
    stream = Stream("s", tuple(Column(name, kind, None) for name, kind in kinds.items()), Reads.SNAPSHOT)
    spec = Privacy.model_validate({"columns": rules, "subject": {"none": True, "reason": "a test"}})
    return Policy.build(spec, stream, ACME, embedded=True)


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(data=st.data(), kind=TYPES)
def test_any_table_is_treated_as_its_values_are_one_by_one(data: st.DataObject, kind: pa.DataType) -> None:
    chosen = {path: data.draw(st.sampled_from(FITS[leaf]), label=path) for path, leaf in paths(kind, "c")}
    rules = {"row": "keep"} | {path: TREATMENTS[number] for path, number in chosen.items()}
    count, start = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 2))
    raw = [data.draw(st.composite(values)(kind, "c", rules)) for _ in range(count + 2)]
    whole = pa.record_batch({"row": pa.array(range(count + 2)), "c": pa.array(raw, kind)})
    rows = whole.slice(start, count)
    policy = policy_for({"row": pa.int64(), "c": kind}, rules)

    got = policy.apply(rows)

    got.validate(full=True)
    assert [(f.name, f.type) for f in got.schema] == [(c.name, c.type) for c in policy.table(rows.schema)]
    assert got["row"].to_pylist() == list(range(start, start + count))
    expected = [by_hand(value, kind, "c", rules) for value in raw[start : start + count]]
    if all(rules[path] == "drop" for path in chosen):
        assert got.schema.names == ["row"]
    else:
        assert [marked(value) for value in got["c"].to_pylist()] == expected
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, got.schema) as writer:
        writer.write_batch(got)
    written = sink.getvalue().to_pybytes()
    for secret in (CANARY.encode(), str(NUMBER).encode(), NUMBER.to_bytes(8, "little")):
        assert secret not in written


def test_what_a_null_hides_does_not_surface() -> None:
    hidden = pa.ListArray.from_arrays(
        pa.array([0, 1, 2], pa.int32()), pa.array([CANARY, "x"]), mask=pa.array([True, False])
    )
    policy = policy_for({"c": hidden.type}, {"c": "pseudonymise"})
    assert [value and len(value) for value in policy.apply(pa.record_batch({"c": hidden}))["c"].to_pylist()] == [
        None,
        1,
    ]


def test_dictionaries_of_structs_are_looked_into() -> None:
    people = pa.DictionaryArray.from_arrays(
        pa.array([1, 0, None]), pa.array([{"id": 1, "n": "x"}, {"id": 2, "n": "y"}])
    )
    policy = policy_for({"c": people.type}, {"c.id": "keep", "c.n": "drop"})
    assert policy.apply(pa.record_batch({"c": people}))["c"].to_pylist() == [{"id": 2}, {"id": 1}, None]


def test_paths() -> None:
    kind = pa.struct(
        [
            ("user", pa.struct([("email", pa.string())])),
            ("items", pa.list_(pa.struct([("id", pa.int8())]))),
            ("grid", pa.list_(pa.list_(pa.int8()))),
            ("attrs", pa.map_(pa.string(), pa.struct([("x", pa.int8())]))),
            ("nothing", pa.struct([])),
        ]
    )
    found = leaves([pa.field("p", kind)])
    assert [leaf.path for leaf in found] == [
        "p.user.email",
        "p.items[].id",
        "p.grid[][]",
        "p.attrs{key}",
        "p.attrs{value}.x",
    ]
    assert found[1].parents == ("p.items[]", "p.items", "p")
    assert [leaf.many for leaf in found] == [False, True, True, True, True]
    assert {leaf.column for leaf in found} == {"p"}


def test_paths_that_two_leaves_share_are_refused() -> None:
    inner = pa.struct([("b", pa.string())])
    for fields in (
        [pa.field("a.b", pa.string()), pa.field("a", inner)],
        [pa.field("a", pa.string()), pa.field("a", pa.int8())],
        [pa.field("a", inner), pa.field("a", pa.struct([("c", pa.string())]))],
        [pa.field("a", pa.struct([("b", pa.string()), ("b", pa.int8())]))],
    ):
        with pytest.raises(PrivacyError, match="of one name apart"):
            leaves(fields)


def test_a_dot_in_a_name_is_no_parent() -> None:
    assert leaves([pa.field("user.email", pa.string())])[0].parents == ()


def test_types_that_cannot_be_looked_into_are_known() -> None:
    union = pa.sparse_union([pa.field("email", pa.string())])
    assert Part("c", union).opaque
    assert Part("c", pa.run_end_encoded(pa.int32(), pa.string())).opaque
    assert not Part("c", pa.uuid()).opaque
    assert not Part("c", pa.dictionary(pa.int8(), pa.string())).opaque


def test_keeping_everything_touches_nothing() -> None:
    kind = pa.list_view(pa.struct([("a", pa.list_(pa.int8(), 2))]))
    treated = treat(Part("c", kind), lambda leaf: keep(leaf.type))
    assert treated is not None
    assert treated.kept
    assert treated.type == kind
