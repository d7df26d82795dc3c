"""Bad rows and rejects are kept where their tenant's key alone opens them, and a subject can be taken out."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from importers.core.model import Reject
from importers.exceptions import ConfigError, ContractError, PrivacyError, StagingError
from importers.keys.keyring import Keyring, RunKey, TenantKeys
from importers.staging import Place, Quarantine, Quarantined, QuarantineWriter, Staging

ATTEMPT = "ab" * 16
SCHEMA = pa.schema([("n", pa.int64()), ("t", pa.string())])
ANN, BOB = b"a" * 16, b"b" * 16


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(str(tmp_path / "quarantine"))


@pytest.fixture
def locked(keys: TenantKeys) -> RunKey:
    return keys.quarantine()


def add(writer: QuarantineWriter, rows: dict[int, bytes | None], batch: pa.RecordBatch | None = None) -> None:
    """Bad rows by number, each with its subject."""
    writer.rows(
        batch or pa.record_batch({"n": list(rows), "t": [f"row {number}" for number in rows]}),
        rules=pa.array([["positive(n)", "known(t)"]] * len(rows), pa.list_(pa.string())),
        rows=pa.array(list(rows), pa.int64()),
        subjects=pa.array(list(rows.values()), pa.binary(16)),
    )


def write(quarantine: Quarantine, place: Place, key: RunKey, rows: dict[int, bytes | None]) -> Quarantined:
    with quarantine.writer(place, ATTEMPT, SCHEMA, key) as writer:
        add(writer, rows)
        written = writer.finish()
    assert written
    return written


def among(*subjects: bytes) -> Callable[[pa.Array], pa.BooleanArray]:
    return lambda tokens: pc.is_in(tokens, value_set=pa.array(subjects, pa.binary(16)))


def test_which_of_many_are_there_is_one_listing(
    quarantine: Quarantine, place: Place, locked: RunKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    uris = [write(quarantine, place.run.partition(n), locked, {1: ANN}).uri for n in range(9)]
    quarantine.delete(uris[4])
    walk, asked = quarantine.store.walk, []
    monkeypatch.setattr(quarantine.store, "walk", lambda under: asked.append(under) or walk(under))
    monkeypatch.setattr(quarantine.store, "exists", None)
    assert quarantine.there(uris) == {*uris} - {uris[4]}
    assert asked == [place.run.above]
    assert quarantine.there([]) == frozenset()
    with pytest.raises(ConfigError, match="another place"):
        quarantine.there(["s3://elsewhere/acme/a/b/1/0.parquet"])


def test_rows_and_rejects_come_back_with_what_was_wrong(
    quarantine: Quarantine, staging: Staging, place: Place, key: RunKey, locked: RunKey, tmp_path: Path
) -> None:
    with staging.writer(place, key) as staged_writer:
        staged_writer.reject([Reject(b"\xff", "plays.csv:3", "not UTF-8")])
        staged = staged_writer.finish()
    with quarantine.writer(place, staged.attempt, SCHEMA, locked) as writer:
        add(writer, {5: ANN, 8: None})
        for rejects in staging.rejects(staged, key):
            writer.rejects(rejects)
        written = writer.finish()
    assert written == Quarantined(f"{quarantine.store.uri}/acme/listening/plays/7/0-{staged.attempt}.parquet", 3)
    rules = ["positive(n)", "known(t)"]
    nothing = dict.fromkeys(("_rules", "_location", "_reason", "_raw", "_row", "_subject", "_version", "n", "t"))
    assert quarantine.read(written.uri, locked).to_pylist() == [
        nothing | {"_rules": rules, "_row": 5, "_subject": ANN, "n": 5, "t": "row 5"},
        nothing | {"_rules": rules, "_row": 8, "n": 8, "t": "row 8"},
        nothing | {"_location": "plays.csv:3", "_reason": "not UTF-8", "_raw": b"\xff"},
    ]
    (file,) = (path for path in (tmp_path / "quarantine").rglob("*") if path.is_file())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_nothing_bad_makes_no_file(quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path) -> None:
    with quarantine.writer(place, ATTEMPT, SCHEMA, locked) as writer:
        add(writer, {})
        assert writer.finish() is None
    assert not (tmp_path / "quarantine").exists()


def test_a_writer_that_nobody_finished_leaves_nothing(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    with quarantine.writer(place, ATTEMPT, SCHEMA, locked) as writer:
        add(writer, {1: ANN})
        add(writer, {2: ANN}, pa.record_batch({"n": ["wider"], "t": ["x"]}))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_second_validation_replaces_the_first(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    first = write(quarantine, place, locked, {1: ANN, 2: BOB})
    assert write(quarantine, place, locked, {1: ANN}).uri == first.uri
    assert quarantine.read(first.uri, locked)["_row"].to_pylist() == [1]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_rows_of_wider_types_widen_the_file(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    with quarantine.writer(place, ATTEMPT, SCHEMA, locked) as writer:
        add(writer, {1: ANN})
        add(writer, {2: BOB}, pa.record_batch({"n": [2.5], "more": [[True]]}))
        add(writer, {3: None}, pa.record_batch({"n": ["three"], "t": ["x"]}))
        written = writer.finish()
    assert written is not None
    table = quarantine.read(written.uri, locked).select(["_row", "_subject", "n", "t", "more"])
    assert table.to_pylist() == [
        {"_row": 1, "_subject": ANN, "n": "1", "t": "row 1", "more": None},
        {"_row": 2, "_subject": BOB, "n": "2.5", "t": None, "more": [True]},
        {"_row": 3, "_subject": None, "n": "three", "t": "x", "more": None},
    ]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    assert written.rows == 3


HUGE = 2**53 + 1
FAR = 253_402_214_400_000_000  # 9999-12-31 in microseconds


@pytest.mark.parametrize(
    ("expected", "first", "second", "kept"),
    [
        (pa.float64(), pa.array([HUGE]), None, [HUGE]),  # as it came, though a double is expected
        (pa.list_(pa.int64()), pa.array([["x"]]), None, [["x"]]),
        (pa.int64(), pa.array([HUGE]), pa.array([1.5]), [str(HUGE), "1.5"]),
        (pa.int64(), pa.array([HUGE]), pa.array([2.5], pa.float32()), [str(HUGE), "2.5"]),
        (pa.int64(), pa.array([-1]), pa.array([2**63], pa.uint64()), [-1, 2**63]),
        (pa.int64(), pa.array([7], pa.int32()), pa.array([1.5]), [7.0, 1.5]),
        (
            pa.timestamp("us"),
            pa.array([FAR], pa.timestamp("us")),
            pa.array([1], pa.timestamp("ns")),
            ["9999-12-31 00:00:00.000000", "1970-01-01 00:00:00.000000001"],
        ),
    ],
)
def test_what_came_is_kept_as_it_came_or_as_its_text(
    quarantine: Quarantine,
    place: Place,
    locked: RunKey,
    expected: pa.DataType,
    first: pa.Array,
    second: pa.Array | None,
    kept: list[object],
) -> None:
    """A value that the expected type can't hold is why a row is here: it failed the run."""
    with quarantine.writer(place, ATTEMPT, pa.schema([("n", expected), ("t", pa.string())]), locked) as writer:
        for number, values in enumerate([first] if second is None else [first, second]):
            add(writer, {number: ANN}, pa.record_batch({"n": values}))
        written = writer.finish()
    assert written is not None
    table = quarantine.read(written.uri, locked)
    assert (table["n"].to_pylist(), table["t"].null_count) == (kept, len(kept))


def test_a_subject_is_taken_out_and_nobody_else(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    written = write(quarantine, place, locked, {1: ANN, 2: BOB, 3: None, 4: ANN})
    assert quarantine.erase_subjects(written.uri, among(ANN, b"z" * 16), locked).erased == 2
    assert quarantine.read(written.uri, locked)["_row"].to_pylist() == [2, 3]
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    before = file.read_bytes()
    assert quarantine.erase_subjects(written.uri, among(ANN), locked).erased == 0
    assert file.read_bytes() == before
    assert quarantine.erase_subjects(written.uri, among(BOB), locked).erased == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_an_emptied_file_stays_readable(quarantine: Quarantine, place: Place, locked: RunKey) -> None:
    written = write(quarantine, place, locked, {1: ANN})
    assert quarantine.erase_subjects(written.uri, among(ANN), locked).erased == 1
    assert quarantine.erase_subjects(written.uri, among(ANN), locked).erased == 0
    empty = quarantine.read(written.uri, locked)
    assert (empty.num_rows, empty.schema.names[-2:]) == (0, ["n", "t"])
    assert list(quarantine.batches(written.uri, locked)) == []


def test_an_erasure_that_fails_leaves_the_file_as_it_was(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write(quarantine, place, locked, {1: ANN, 2: BOB})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(quarantine.store), "publish", full)
        with pytest.raises(StagingError, match="full"):
            quarantine.erase_subjects(written.uri, among(ANN), locked)
    assert quarantine.read(written.uri, locked)["_row"].to_pylist() == [1, 2]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_only_the_tenants_quarantine_key_opens_it(
    quarantine: Quarantine, place: Place, key: RunKey, locked: RunKey
) -> None:
    written = write(quarantine, place, locked, {1: ANN})
    other = Keyring([bytes(range(32))]).tenant("other").quarantine()
    for wrong in (key, other):
        with pytest.raises(PrivacyError, match=r"acme\.listening/plays\[0\] run 7"):
            quarantine.read(written.uri, wrong)
        with pytest.raises(PrivacyError):
            quarantine.erase_subjects(written.uri, among(ANN), wrong)


def test_a_file_under_another_name_doesnt_open(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    written = write(quarantine, place, locked, {1: ANN})
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    file.rename(file.with_name(f"1-{ATTEMPT}.parquet"))
    with pytest.raises(PrivacyError):
        quarantine.read(written.uri.replace("/0-", "/1-"), locked)
    with pytest.raises(StagingError, match="gone"):
        quarantine.read(written.uri, locked)


def test_a_damaged_file_is_a_contract_error(
    quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path
) -> None:
    written = write(quarantine, place, locked, dict.fromkeys(range(1000), ANN))
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    good = file.read_bytes()
    for at in (100, len(good) // 2, len(good) - 6):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(ContractError, match="changed or cut short"):
            quarantine.read(written.uri, locked)


@pytest.mark.parametrize("name", ["_row", "_raw", "_subject"])
def test_a_column_with_a_name_of_ours_is_refused(
    quarantine: Quarantine, place: Place, locked: RunKey, name: str
) -> None:
    with pytest.raises(ContractError, match=name):
        quarantine.writer(place, ATTEMPT, pa.schema([(name, pa.int64())]), locked)
    with quarantine.writer(place, ATTEMPT, SCHEMA, locked) as writer, pytest.raises(ContractError, match=name):
        add(writer, {1: ANN}, pa.record_batch({name: [1]}))


def test_no_error_says_a_value(quarantine: Quarantine, place: Place, locked: RunKey) -> None:
    with quarantine.writer(place, ATTEMPT, pa.schema([("n", pa.int64())]), locked) as writer:
        add(writer, {1: ANN}, pa.record_batch({"n": [[1.5]]}))
        with pytest.raises(ContractError, match="column 'n'") as caught:
            add(writer, {2: ANN}, pa.record_batch({"n": [[HUGE]]}))
        assert str(HUGE) not in str(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("path", ["../x", "acme/listening/plays/7/0", f"acme/listening/plays/7/00-{ATTEMPT}.parquet"])
def test_what_is_no_quarantine_file_is_refused(quarantine: Quarantine, locked: RunKey, path: str) -> None:
    with pytest.raises(ConfigError):
        quarantine.read(f"{quarantine.store.uri}/{path}", locked)
    with pytest.raises(ConfigError):
        quarantine.read("file:///etc/passwd", locked)


def test_a_file_is_deleted_once(quarantine: Quarantine, place: Place, locked: RunKey, tmp_path: Path) -> None:
    written = write(quarantine, place, locked, {1: ANN})
    quarantine.delete(written.uri)
    quarantine.delete(written.uri)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
