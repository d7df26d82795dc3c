"""Staging in a bucket: the same promises as on a disk, against a server that speaks S3."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import fs
from tests.services.s3 import s3_endpoint

from importers.core.model import Reject, Staged
from importers.exceptions import ContractError, ImporterError, PrivacyError, StagingError
from importers.keys.keyring import Keyring, RunKey
from importers.staging import Quarantine, RunPlace, Staging, sweep, sweep_quarantine

RUN, OTHER = RunPlace("acme", "listening", "plays", 7), RunPlace("acme", "listening", "plays", 8)
ATTEMPT = "ab" * 16
CANARY = "canary-7f3a"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def root(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix in a bucket of this test's own."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    bucket = re.sub(r"[^a-z0-9]+", "-", request.node.name)[:40].strip("-")
    query = f"endpoint_override={endpoint}&scheme=http&region=us-east-1"
    filesystem, _ = fs.FileSystem.from_uri(f"s3://{bucket}?{query}&allow_bucket_creation=true")
    filesystem.create_dir(bucket)
    return f"s3://{bucket}/pre/fix?{query}"


@pytest.fixture
def staging(root: str) -> Staging:
    return Staging(root)


@pytest.fixture
def key() -> RunKey:
    return RunKey(bytes(32))


def objects(endpoint: str, root: str) -> list[str]:
    """The keys that the server itself lists, without our file system in between."""
    listing = urllib.request.urlopen(f"http://{endpoint}/{root.split('/')[2]}?list-type=2", timeout=60)
    return re.findall("<Key>(.*?)</Key>", listing.read().decode())


def bucket_of(root: str) -> tuple[fs.FileSystem, str]:
    filesystem, path = fs.FileSystem.from_uri(root)
    return filesystem, path.split("/")[0]


def stage(staging: Staging, run: RunPlace, key: RunKey) -> Staged:
    with staging.writer(run.partition(0), key) as writer:
        writer.write(pa.record_batch({"n": range(200_000), "t": [CANARY] * 200_000}))
        writer.write(pa.record_batch({"n": [0.5], "t": [CANARY]}))
        writer.reject([Reject(CANARY.encode(), "a:1", "bad")])
        staged = writer.finish({"": 5})
    staging.put(staged, "verdict", CANARY.encode(), key)
    return staged


def test_rows_come_back_and_lie_there_encrypted(staging: Staging, key: RunKey, endpoint: str, root: str) -> None:
    staged = stage(staging, RUN, key)
    assert not staging.local
    assert staging.attempts(RUN.partition(0), key) == [staged]
    assert "endpoint" not in staged.uri
    table = pa.concat_tables([pa.Table.from_batches([b]).select(["n"]).cast(pa.schema([("n", pa.float64())]))
                              for b in staging.read(staged, key)])  # fmt: skip
    assert table["n"].to_pylist() == [*map(float, range(200_000)), 0.5]
    assert [b.num_rows for b in staging.rejects(staged, key)] == [1]
    assert staging.get(staged, "verdict", key) == CANARY.encode()
    assert (staging.has(staged, "verdict"), staging.has(staged, "other")) == (True, False)
    there = objects(endpoint, root)
    assert sorted(name.rpartition("/")[2] for name in there) == [
        "manifest", "part-00000.frames", "part-00001.frames", "rejects.frames", "verdict.sealed",
    ]  # fmt: skip
    assert all(name.startswith(f"pre/fix/{RUN.path}/0/{staged.attempt}/") for name in there)
    filesystem, bucket = bucket_of(root)
    for name in there:
        assert CANARY.encode() not in filesystem.open_input_file(f"{bucket}/{name}").read()
    with pytest.raises(PrivacyError):
        staging.attempts(RUN.partition(0), RunKey(bytes([1]) * 32))


def test_an_unfinished_attempt_is_none(staging: Staging, key: RunKey, endpoint: str, root: str) -> None:
    with staging.writer(RUN.partition(0), key) as writer:
        writer.write(pa.record_batch({"n": range(200_000)}))
        writer.write(pa.record_batch({"n": ["wider"]}))
    assert staging.attempts(RUN.partition(0), key) == []
    assert [name for name in objects(endpoint, root) if not name.endswith("/")] == []


def test_a_changed_or_deleted_object_is_noticed(staging: Staging, key: RunKey, endpoint: str, root: str) -> None:
    staged = stage(staging, RUN, key)
    filesystem, bucket = bucket_of(root)
    name = next(name for name in objects(endpoint, root) if name.endswith("part-00000.frames"))
    good = filesystem.open_input_file(f"{bucket}/{name}").read()
    middle = len(good) // 2
    with filesystem.open_output_stream(f"{bucket}/{name}") as sink:
        sink.write(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    with pytest.raises(ContractError, match=r"acme\.listening/plays\[0\] run 7"):
        list(staging.read(staged, key))
    filesystem.delete_file(f"{bucket}/{name}")
    with pytest.raises(StagingError, match="gone"):
        list(staging.read(staged, key))


def test_a_run_is_deleted_and_no_other(staging: Staging, key: RunKey, endpoint: str, root: str) -> None:
    stage(staging, RUN, key)
    kept = stage(staging, OTHER, key)
    assert staging.delete_run(RUN) == 5
    assert staging.delete_run(RUN) == 0
    assert not any(f"{RUN.path}/" in name for name in objects(endpoint, root))
    assert staging.attempts(OTHER.partition(0), key) == [kept]


def test_the_sweeper_ends_what_is_left(staging: Staging, key: RunKey, endpoint: str, root: str) -> None:
    stage(staging, RUN, key)
    kept = stage(staging, OTHER, key)
    report = sweep(staging, lambda run: run == OTHER, lambda _: timedelta(hours=24), datetime.now(UTC))
    assert (report.deleted, report.kept, report.failed) == (5, 5, [])
    assert report.bytes > 0
    assert staging.attempts(OTHER.partition(0), key) == [kept]
    later = datetime.now(UTC) + timedelta(hours=25)
    assert sweep(staging, lambda _: True, lambda _: timedelta(hours=24), later).deleted == 5
    assert [name for name in objects(endpoint, root) if not name.endswith("/")] == []


def test_quarantine_is_replaced_whole(root: str, endpoint: str) -> None:
    quarantine, key = Quarantine(root), Keyring([bytes(32)]).tenant("acme").quarantine()
    ann, bob = b"a" * 16, b"b" * 16
    uris = []
    for attempt in (ATTEMPT, ATTEMPT[::-1]):
        with quarantine.writer(RUN.partition(0), attempt, pa.schema([("n", pa.int64())]), key) as writer:
            for subject in (ann, bob):
                writer.rows(
                    pa.record_batch({"n": [1]}),
                    rules=pa.array([["rule"]], pa.list_(pa.string())),
                    rows=pa.array([0], pa.int64()),
                    subjects=pa.array([subject], pa.binary(16)),
                )
            written = writer.finish()
        assert written
        uris.append(written.uri)
    assert (
        quarantine.erase_subjects(
            uris[0], lambda tokens: pc.is_in(tokens, value_set=pa.array([ann], tokens.type)), key
        ).erased
        == 1
    )
    assert quarantine.read(uris[0], key)["_subject"].to_pylist() == [bob]
    quarantine.delete(uris[0])
    assert quarantine.read(uris[1], key).num_rows == 2
    assert len([name for name in objects(endpoint, root) if not name.endswith("/")]) == 1
    report = sweep_quarantine(quarantine, lambda *_: None, lambda _: False, datetime.now(UTC))
    assert (report.deleted, report.kept) == (1, 0)


def test_a_bucket_that_isnt_there_is_said(root: str, key: RunKey) -> None:
    staging = Staging(re.sub("s3://[a-z0-9-]+", "s3://nosuchbucket", root))
    with (
        staging.writer(RUN.partition(0), key) as writer,
        pytest.raises(StagingError, match=r"s3://nosuchbucket/pre/fix: .*got NO_SUCH_BUCKET"),
    ):
        writer.write(pa.record_batch({"n": [1]}))


def test_a_server_that_isnt_there_is_said_without_credentials(root: str) -> None:
    query = "endpoint_override=127.0.0.1:1&scheme=http&region=us-east-1"
    staging = Staging(f"s3://nobody:not-a-secret@bucket/pre?{query}")
    with pytest.raises(ImporterError, match="can't be reached; got NETWORK_CONNECTION") as caught:
        staging.attempts(RUN.partition(0), RunKey(bytes(32)))
    assert "not-a-secret" not in str(caught.value) + repr(staging)
