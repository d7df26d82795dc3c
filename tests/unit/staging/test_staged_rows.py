"""What is staged comes back: every type, every row, in order."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from importers.core.coded import decoded
from importers.core.model import Reject
from importers.exceptions import ConfigError, ContractError, StagingError
from importers.keys.keyring import RunKey
from importers.staging import Place, RunPlace, Staging
from importers.staging.frames import ROWS_A_BATCH
from importers.staging.manifest import widest

NOON = dt.datetime(2026, 11, 22, 12, 0, 1, tzinfo=dt.UTC)
ARRAYS = [
    pa.array([1, None], pa.int8()),
    pa.array([2**64 - 1, None], pa.uint64()),
    pa.array([1.5, None], pa.float16()),
    pa.array([float("nan"), -0.0]),
    pa.array([True, None]),
    pa.array([None, None], pa.null()),
    pa.array(["ä€𝄞\0", None]),
    pa.array(["ä", None], pa.large_string()),
    pa.array(["a string longer than twelve bytes", None], pa.string_view()),
    pa.array([b"\xff\x00", None]),
    pa.array([b"0" * 16, None], pa.binary(16)),
    pa.array([NOON, None], pa.timestamp("s", "UTC")),
    pa.array([NOON.replace(tzinfo=None), None], pa.timestamp("s")),
    pa.array([NOON, None], pa.timestamp("ns", "Europe/Berlin")),
    pa.array([NOON.date(), None]),
    pa.array([NOON.date(), None], pa.date64()),
    pa.array([dt.time(23, 59, 59), None], pa.time32("s")),
    pa.array([dt.timedelta(seconds=5), None], pa.duration("s")),
    pa.array([decimal.Decimal("-999.99"), None], pa.decimal128(5, 2)),
    pa.array([decimal.Decimal(10) ** 50, None], pa.decimal256(60, 3)),
    pa.array(["a", None]).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), ["z"]),
    pa.array([[1], [], None]),
    pa.array([[[["deep"]], None], None]),
    pa.array([[1, 2], None], pa.list_(pa.int32(), 2)),
    pa.array([[1], None], pa.list_view(pa.int64())),
    pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    pa.array([{"a": {"b": [1, None]}, "c": "x"}, {"a": None, "c": None}, None]),
    pa.array([[{"at": NOON}], None], pa.list_(pa.struct([("at", pa.timestamp("s", "UTC"))]))),
    pa.array([b"0" * 16, None], pa.uuid()),
    pa.array([{}, None], pa.struct([])),
]


def stage(staging: Staging, place: Place, key: RunKey, batches: Sequence[pa.RecordBatch], **finish: object):
    with staging.writer(place, key) as writer:
        for batch in batches:
            writer.write(batch)
        return writer.finish(**finish)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_every_type_comes_back_as_it_was(staging: Staging, place: Place, key: RunKey, array: pa.Array) -> None:
    batch = pa.record_batch([array], names=["ein Name, €"])
    staged = stage(staging, place, key, [batch])
    (back,) = staging.read(staged, key)
    assert back.schema == decoded(batch).schema == staged.schema
    assert repr(back.to_pylist()) == repr(batch.to_pylist())  # repr: NaN isn't itself
    assert staged.rows == len(array)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(
        st.lists(
            st.fixed_dictionaries({"n": st.none() | st.integers(-(2**63), 2**63 - 1), "t": st.none() | st.text()}),
            max_size=5,
        ),
        max_size=5,
    )
)
def test_rows_keep_their_order(staging: Staging, place: Place, key: RunKey, pages: list[list[dict]]) -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.string())])
    staged = stage(staging, place, key, [pa.RecordBatch.from_pylist(page, schema) for page in pages])
    rows = [row for batch in staging.read(staged, key) for row in batch.to_pylist()]
    assert rows == [row for page in pages for row in page]
    assert staged.rows == len(rows)


def test_many_rows_are_read_in_small_batches(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    rows = 4 * ROWS_A_BATCH + 3
    staged = stage(staging, place, key, pa.table({"n": range(rows)}).to_batches(max_chunksize=40_000))
    batches = list(staging.read(staged, key))
    assert max(batch.num_rows for batch in batches) <= ROWS_A_BATCH
    assert pa.Table.from_batches(batches)["n"].to_pylist() == list(range(rows))
    assert len(list(root.rglob("part-*"))) == 1


def test_small_batches_are_read_as_one(staging: Staging, place: Place, key: RunKey) -> None:
    words = pa.array(["a", "b"]).dictionary_encode()
    batches = [pa.record_batch({"n": [n], "word": words.slice(n % 2, 1)}) for n in range(1_000)]
    (back,) = staging.read(stage(staging, place, key, batches), key)
    assert back.to_pylist() == [{"n": n, "word": "ab"[n % 2]} for n in range(1_000)]
    small = pa.dictionary(pa.int8(), pa.string())
    batches = [pa.record_batch({"word": pa.array([f"w{n}"], small)}) for n in range(1_000)]  # all need a wider number
    (back,) = staging.read(stage(staging, place, key, batches), key)
    assert back["word"].to_pylist() == [f"w{n}" for n in range(1_000)]


def test_numbers_of_a_dictionary_come_back_as_their_values_and_lie_in_one_file(
    staging: Staging, place: Place, key: RunKey, root: Path
) -> None:
    """Whichever dictionary each batch has, if it has one."""
    words = pa.array(["a", None, "b"] * 10_000)
    other = pa.DictionaryArray.from_arrays(pa.array([1, 2, 0] * 10_000, pa.int8()), ["c", "d", None])
    few = words.slice(0, 3)
    each = (words, words.dictionary_encode(), few, other, few.dictionary_encode())
    batches = [pa.record_batch({"word": word}) for word in each]
    staged = stage(staging, place, key, batches)
    back = pa.Table.from_batches(staging.read(staged, key))
    assert back.schema == staged.schema == pa.schema([("word", pa.string())])
    assert back["word"].to_pylist() == ["a", None, "b"] * 20_001 + ["d", None, "c"] * 10_000 + ["a", None, "b"]
    assert len(list(root.rglob("part-*"))) == 1
    assert sum(path.stat().st_size for path in root.rglob("part-*")) < 30_000 * (4 + 1 + 4 + 1) + 10_000


def test_a_type_that_widens_starts_a_new_file_and_keeps_the_old_rows_types(
    staging: Staging, place: Place, key: RunKey, root: Path
) -> None:
    batches = [pa.record_batch({"n": values}) for values in ([1], [2], [2.5], [3])]
    staged = stage(staging, place, key, batches)
    assert [b.to_pylist() for b in staging.read(staged, key)] == [
        [{"n": 1}, {"n": 2}],
        [{"n": 2.5}],
        [{"n": 3}],
    ]
    assert [b.schema.field("n").type for b in staging.read(staged, key)] == [pa.int64(), pa.float64(), pa.int64()]
    assert staged.schema == pa.schema([("n", pa.float64())])
    assert len(list(root.rglob("part-*"))) == 3


def test_metadata_of_a_schema_neither_rolls_nor_stays(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    plain = pa.record_batch({"n": [1]})
    staged = stage(staging, place, key, [plain, plain.replace_schema_metadata({"origin": "/somewhere"})])
    assert len(list(root.rglob("part-*"))) == 1
    assert staged.schema.metadata is None


@pytest.mark.parametrize(
    ("types", "expected"),
    [
        ([pa.int64(), pa.float64()], pa.float64()),
        ([pa.null(), pa.list_(pa.int8())], pa.list_(pa.int8())),
        ([pa.int64(), pa.string()], pa.string()),
        ([pa.date32(), pa.int64(), pa.bool_()], pa.string()),
        ([pa.list_(pa.int32()), pa.list_(pa.float64())], pa.list_(pa.float64())),
        ([pa.int64(), pa.uint64()], pa.decimal128(20)),  # which holds 2⁶⁴ - 1, of 20 digits, and -2⁶³
        ([pa.uint64(), pa.int8(), pa.uint64()], pa.decimal128(20)),
        ([pa.uint64(), pa.int64(), pa.decimal128(38, 2)], pa.decimal128(38, 2)),
        ([pa.uint32(), pa.int64()], pa.int64()),
        ([pa.uint64(), pa.uint8()], pa.uint64()),
    ],
)
def test_the_widest_schema_holds_them_all(types: list[pa.DataType], expected: pa.DataType) -> None:
    assert widest(pa.schema([("c", each)]) for each in types).field("c").type == expected


def test_nested_data_that_turns_scalar_is_a_contract_error(staging: Staging, place: Place, key: RunKey) -> None:
    with staging.writer(place, key) as writer:
        writer.write(pa.record_batch({"c": [[1]]}))
        writer.write(pa.record_batch({"c": ["secret"]}))
        with pytest.raises(ContractError, match=r"acme\.listening/plays\[0\].*column 'c'") as caught:
            writer.finish()
    assert "secret" not in str(caught.value)
    assert staging.attempts(place, key) == []


def test_a_shape_that_changes_is_told_without_keys_that_may_be_data() -> None:
    shape = pa.struct([("ada@example.org", pa.int64())])
    with pytest.raises(ContractError, match=r"got struct<…: int64>, then int64\."):
        widest([pa.schema([("scores", shape)]), pa.schema([("scores", pa.int64())])])


def test_rows_without_columns_are_refused_rather_than_lost(staging: Staging, place: Place, key: RunKey) -> None:
    batch = pa.record_batch({"n": [1, 2]}).select([])
    with staging.writer(place, key) as writer, pytest.raises(ContractError, match="columns"):
        writer.write(batch)
    twice = pa.record_batch([pa.array([1]), pa.array([2])], names=["n", "n"])
    with staging.writer(place, key) as writer, pytest.raises(ContractError, match="different names"):
        writer.write(twice)


def test_an_empty_partition_has_a_schema_and_no_file(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    schema = pa.schema([("n", pa.int64()), ("t", pa.string())])
    staged = stage(staging, place, key, [pa.RecordBatch.from_pylist([], schema)])
    assert staging.attempts(place, key) == [staged]
    assert (staged.rows, staged.schema, list(staging.read(staged, key))) == (0, schema, [])
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["manifest"]


def test_nothing_written_at_all_is_an_attempt_too(staging: Staging, place: Place, key: RunKey) -> None:
    staged = stage(staging, place, key, [])
    assert (staged.rows, staged.schema.names, staged.position) == (0, [], {})


def test_the_position_and_the_rejects_travel_with_the_rows(staging: Staging, place: Place, key: RunKey) -> None:
    position = {"plays-0": 41, "ü": {"etag": None}}
    with staging.writer(place, key) as writer:
        writer.reject([Reject(b"\xff;;", "plays.csv:3", "3 fields, not 2"), Reject(b"", "plays.csv:9", "empty")])
        writer.write(pa.record_batch({"n": [1]}))
        writer.reject([])
        staged = writer.finish(position)
    assert (staged.rejected, staged.rows, staged.position) == (2, 1, position)
    assert staging.attempt(place, staged.attempt, key) == staged
    (rejects,) = staging.rejects(staged, key)
    assert rejects.to_pylist() == [
        {"_raw": b"\xff;;", "_location": "plays.csv:3", "_reason": "3 fields, not 2"},
        {"_raw": b"", "_location": "plays.csv:9", "_reason": "empty"},
    ]


def test_side_files_are_replaced_whole(staging: Staging, place: Place, key: RunKey) -> None:
    staged = stage(staging, place, key, [pa.record_batch({"n": [1]})])
    staging.put(staged, "verdict", b"first", key)
    staging.put(staged, "verdict", b"second", key)
    staging.put(staged, "hashes-07", bytes(100_000), key)
    assert staging.get(staged, "verdict", key) == b"second"
    assert staging.get(staged, "hashes-07", key) == bytes(100_000)
    assert [staging.has(staged, name) for name in ("verdict", "hashes-07", "hashes-08")] == [True, True, False]
    with pytest.raises(StagingError, match="gone"):
        staging.get(staged, "hashes-08", key)
    for name in ("../verdict", "a/b", "manifest.x", "", "A"):
        with pytest.raises(ConfigError):
            staging.put(staged, name, b"", key)


def test_each_attempt_has_a_place_of_its_own(staging: Staging, place: Place, key: RunKey) -> None:
    one = stage(staging, place, key, [pa.record_batch({"n": [1]})])
    two = stage(staging, place, key, [pa.record_batch({"n": [2]})])
    stage(staging, place.run.partition(10), key, [pa.record_batch({"n": [3]})])
    assert {staged.attempt for staged in staging.attempts(place, key)} == {one.attempt, two.attempt}
    assert one.digest != two.digest
    assert [b.to_pylist() for b in staging.read(one, key)] == [[{"n": 1}]]


def test_a_run_is_deleted_and_no_other(staging: Staging, place: Place, key: RunKey, root: Path) -> None:
    staged = stage(staging, place, key, [pa.record_batch({"n": [1]})])
    other = RunPlace("acme", "listening", "plays", 70).partition(0)
    kept = stage(staging, other, key, [pa.record_batch({"n": [2]})])
    assert staging.delete_run(place.run) == 2
    assert staging.delete_run(place.run) == 0
    assert not (root / place.run.path).exists()
    assert staging.attempts(other, key) == [kept]
    with pytest.raises(StagingError, match="gone"):
        list(staging.read(staged, key))


def test_what_lies_elsewhere_is_not_read(staging: Staging, place: Place, key: RunKey, tmp_path: Path) -> None:
    staged = stage(staging, place, key, [pa.record_batch({"n": [1]})])
    with pytest.raises(ConfigError, match="another place"):
        list(Staging(str(tmp_path / "other")).read(staged, key))


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "Acme", "a\n", "ä", "a" * 49, "7a"])
def test_a_name_that_is_no_safe_path_is_refused(name: str) -> None:
    for names in ((name, "p", "s"), ("t", name, "s"), ("t", "p", name)):
        with pytest.raises(ConfigError):
            RunPlace(*names, 1)


@pytest.mark.parametrize("number", [-1, True, "1", 1.0])
def test_runs_and_partitions_are_natural_numbers(number: int) -> None:
    with pytest.raises(ConfigError):
        RunPlace("t", "p", "s", number)
    with pytest.raises(ConfigError):
        RunPlace("t", "p", "s", 1).partition(number)


@pytest.mark.parametrize("attempt", ["../../x", "F" * 32, "a" * 31, "a" * 32 + "\n"])
def test_an_attempt_is_hexadecimal(attempt: str, place: Place) -> None:
    with pytest.raises(ConfigError):
        place.attempt(attempt)


def test_a_run_path_parses_back_and_nothing_else_does() -> None:
    run = RunPlace("acme", "listening", "plays", 7)
    assert RunPlace.parse(run.path) == run
    for path in ("acme/listening/plays", "acme/listening/plays/07", "Acme/a/b/1", "a/b/c/1/", "1/b/c/1", "a/b/c/-1"):
        assert RunPlace.parse(path) is None
