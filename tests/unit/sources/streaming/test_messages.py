"""Values of messages as columns. What is expected is what the standard library's json makes of each alone."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from importers.exceptions import ContractError
from importers.sources._text.json_lines import UnknownKeys
from importers.sources.streaming._messages import VALUE, Json, Raw, infer_json

KNOWN = pa.schema([("id", pa.int64()), ("what", pa.string())])


def place(number: int) -> str:
    return f"message {number}"


def decoded(*values: bytes | None, unknown: UnknownKeys = UnknownKeys.STOP) -> tuple[list[object], list[object]]:
    """Rows and rejects by the number of their message."""
    found = Json(KNOWN, unknown).read(pa.array(values, pa.binary()), place)
    kept = range(len(values)) if found.kept is None else found.kept
    rows = list(zip(kept, found.rows.to_pylist(), strict=True))
    return rows, [(each.location, each.raw, each.reason) for each in found.rejects]  # type: ignore[return-value]


def test_good_values_become_rows() -> None:
    rows, rejects = decoded(b'{"id": 1, "what": "a\\nb"}', b' {"id": 2}\r')
    assert rows == [(0, {"id": 1, "what": "a\nb"}), (1, {"id": 2, "what": None})]
    assert rejects == []


def test_what_is_not_asked_for_may_be_of_any_type() -> None:
    values = pa.array([b'{"id": 1, "what": "a"}', b'{"id": 2, "what": 7}', b'{"id": "x", "what": []}'], pa.binary())
    found = Json(KNOWN.remove(1), UnknownKeys.STOP, KNOWN).read(values, place)
    assert (found.rows.column("id").to_pylist(), found.kept) == ([1, 2], [0, 1])
    assert [each.location for each in found.rejects] == ["message 2"]
    with pytest.raises(ContractError, match="got new; in 1 line"):
        Json(KNOWN.remove(1), UnknownKeys.STOP, KNOWN).read(pa.array([*values.to_pylist(), b'{"new": 1}']), place)


def test_each_poisonous_value_is_told_by_its_place_and_the_others_keep_theirs() -> None:
    values = [b'{"id": 1}', b"", None, b"[1]", b'{"id": "x"}', b'{"id": 2', b"\xff", b"null", b"  ", b'{"id": 9}']
    rows, rejects = decoded(*values)
    assert rows == [(0, {"id": 1, "what": None}), (9, {"id": 9, "what": None})]
    assert sorted(rejects) == [  # type: ignore[type-var]
        ("message 1", b"", "not a JSON object"),
        ("message 2", b"", "it has no value (a tombstone)"),
        ("message 3", b"[1]", "not a JSON object"),
        ("message 4", b'{"id": "x"}', "column 'id': not a whole number: see `types`"),
        ("message 5", b'{"id": 2', "not a JSON object"),
        ("message 6", b"\xff", "not UTF-8"),
        ("message 7", b"null", "not a JSON object"),
        ("message 8", b"  ", "not a JSON object"),
    ]


def test_newlines_between_tokens_are_json_and_one_within_a_string_is_not() -> None:
    rows, rejects = decoded(b'{\n "id": 1,\r\n "what": "x"\n}\n', b'{"what": "a\nb"}', b'{"id": 1}\n{"id": 2}')
    assert rows == [(0, {"id": 1, "what": "x"})]
    assert [where for where, _, _ in rejects] == ["message 1", "message 2"]  # type: ignore[misc]


def test_a_key_that_nobody_knows_stops_it_or_is_left_out() -> None:
    with pytest.raises(ContractError, match="message 1 has a key"):
        decoded(b'{"id": 1}', b'{"id": 2, "mail": "x"}')
    rows, rejects = decoded(b'{"id": 2, "mail": "x"}', unknown=UnknownKeys.IGNORE)
    assert rows == [(0, {"id": 2, "what": None})]
    assert rejects == []


@settings(deadline=None)  # the first call imports and compiles
@given(
    st.lists(
        st.none()
        | st.binary(max_size=6)
        | st.builds(
            lambda row, indent: json.dumps(row, indent=indent).encode(),
            st.fixed_dictionaries({"id": st.integers(0, 9), "what": st.text(max_size=4)}),
            st.sampled_from([None, 1]),
        )
    )
)
def test_every_value_is_a_row_or_a_reject(values: list[bytes | None]) -> None:
    rows, rejects = decoded(*values, unknown=UnknownKeys.IGNORE)
    assert len(rows) + len(rejects) == len(values)
    assert {f"message {number}" for number, _ in rows}.isdisjoint({where for where, _, _ in rejects})  # type: ignore[misc]
    for number, row in rows:  # type: ignore[misc]
        said = json.loads(values[number])  # type: ignore[arg-type]
        assert row == {"id": said.get("id"), "what": said.get("what")}


def test_text_that_isn_t_utf8_is_rejected_and_bytes_are_kept() -> None:
    values = pa.array([b"caf\xc3\xa9", b"\xff", None], pa.binary())
    text = Raw(pa.string()).read(values, place)
    assert (text.rows.column(VALUE).to_pylist(), list(text.kept or ())) == (["café", None], [0, 2])
    assert [(each.raw, each.location, each.reason) for each in text.rejects] == [(b"\xff", "message 1", "not UTF-8")]
    assert Raw(pa.binary()).read(values, place).rows.column(VALUE).equals(values)


def test_columns_come_from_the_objects_alone() -> None:
    assert infer_json([b"poison", b'{\n"id": 1, "who": {"name": "x"}}', b'{"id": null, "ok": true}']) == pa.schema(
        [("id", pa.int64()), ("who", pa.struct([("name", pa.string())])), ("ok", pa.bool_())]
    )
    assert infer_json([b"poison", b"7"]) is None
    several = [b'{"id": 1, "what": 1}', b'{"id": 2, "what": "x"}']
    assert infer_json(several) == pa.schema([("id", pa.int64()), ("what", pa.null())])
