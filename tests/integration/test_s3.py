"""Objects of a bucket, against a real server: what is read, once, and what becomes of them afterwards."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from click.testing import CliRunner
from tests.services.versitygw import S3Server, versitygw

from importers.cli.main import main
from importers.core.connection import Connection
from importers.core.model import LoadMode, Plan, Stream, Window
from importers.core.tenant import Tenant
from importers.exceptions import (
    ConfigError,
    ContractError,
    EmptySourceError,
    FatalSourceError,
    ImporterError,
    TransientSourceError,
)
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.sources.files._bucket import ENVIRONMENT, ENVIRONMENT_BESIDES
from importers.sources.files.csv import Csv, CsvConfig
from importers.sources.files.s3 import S3, S3Config
from importers.transport.packed import by_name
from importers.transport.s3 import Bucket

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with versitygw() as server:
        yield server


@pytest.fixture
def bucket(server: S3Server) -> Iterator[str]:
    name = server.bucket()
    yield name
    server.remove(name)


def source(server: S3Server, bucket: str, connection: dict[str, Any] | None = None, **settings: Any) -> S3:
    config = S3Config(**{"bucket": bucket, "prefix": "in/", "pattern": "*.csv"} | settings)
    return S3(config, tenant="acme", connection=Connection(server.connection | (connection or {})))


def planned(of: S3, position: Any = None, mode: LoadMode = LoadMode.APPEND) -> tuple[Stream, Plan]:
    (found,) = of.streams()
    stream = Stream(found.name, found.columns, found.reads, load_mode=mode)
    return stream, of.plan(stream, Window(), position or {})


def rows(of: S3, position: Any = None) -> list[dict[str, Any]]:
    stream, plan = planned(of, position)
    return [row for part in plan.partitions for batch in of.read(stream, part) for row in batch.rows.to_pylist()]


# -- reading


def test_objects_are_listed_by_prefix_and_pattern(server: S3Server, bucket: str) -> None:
    for key in ("in/b.csv", "in/a [1].csv", "in/deep/c.csv", "in/notes.txt", "inner.csv"):
        server.put(bucket, key, f"key\n{key}\n".encode())
    assert [row["key"] for row in rows(source(server, bucket))] == ["in/a [1].csv", "in/b.csv"]
    everything = source(server, bucket, pattern="**/*.csv")
    assert len(rows(everything)) == 3
    by_path = CsvConfig(path=f"s3://{bucket}/in/**/c.csv")
    deep = Csv(by_path, tenant="acme", connection=Connection(server.connection))
    stream = deep.streams()[0]
    (part,) = deep.plan(stream, Window(), {}).partitions
    assert [batch.rows.to_pydict() for batch in deep.read(stream, part)] == [{"key": ["in/deep/c.csv"]}]


def test_a_large_object_is_cut_and_read_by_ranges(server: S3Server, bucket: str, tmp_path: Path) -> None:
    """Uploaded in parts, so that its ETag is no checksum of its content."""
    expected = pl.DataFrame({"n": range(1_500_000)}).with_columns(text=pl.format("number {}", "n"))
    expected.write_csv(tmp_path / "big.csv")
    server.client.upload_file(str(tmp_path / "big.csv"), bucket, "in/big.csv")
    assert "-" in server.client.head_object(Bucket=bucket, Key="in/big.csv")["ETag"]
    of = source(server, bucket)
    stream, plan = planned(of)
    assert len(plan.partitions) > 1
    batches = [batch.rows for part in plan.partitions for batch in of.read(stream, part)]
    assert pl.concat([pl.DataFrame(pl.from_arrow(batch)) for batch in batches]).equals(expected)


def test_other_formats_and_compression(server: S3Server, bucket: str, tmp_path: Path) -> None:
    pl.DataFrame({"n": [1, 2, 3]}).write_parquet(tmp_path / "x", row_group_size=1)
    server.put(bucket, "in/x.parquet", (tmp_path / "x").read_bytes())
    assert rows(source(server, bucket, pattern="*.parquet", format="parquet")) == [{"n": 1}, {"n": 2}, {"n": 3}]
    server.put(bucket, "in/x.jsonl.gz", gzip.compress(b'{"n": 1}\n{"n": 2}\n'))
    assert rows(source(server, bucket, pattern="*.jsonl.gz", format="jsonl")) == [{"n": 1}, {"n": 2}]


def packed(suffix: str, data: bytes) -> bytes:
    if suffix == "zst":
        return bytes(pa.compress(data, "zstd", asbytes=True))
    if suffix != "zip":
        return {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[suffix](data)
    with zipfile.ZipFile(archive := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("beside/", "")
        written.writestr("x", data)
    return archive.getvalue()


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_every_format_from_every_kind_of_compression(server: S3Server, bucket: str, suffix: str) -> None:
    """An archive's list of members stands at its end: who takes a member's size for the archive's doesn't find it."""
    expected = pl.DataFrame({"n": [1, 2, 3], "text": ["a" * 500] * 3})
    expected.write_parquet(parquet := io.BytesIO())
    expected.write_excel(excel := io.BytesIO())
    written = {
        "csv": expected.write_csv().encode(),
        "jsonl": expected.write_ndjson().encode(),
        "json": expected.write_json().encode(),
        "parquet": parquet.getvalue(),
        "excel": excel.getvalue(),
    }
    for of, data in written.items():
        server.put(bucket, f"in/{of}.{suffix}", packed(suffix, data))
        said = {"compression": by_name(f"x.{suffix}")} if of == "excel" else {}  # a workbook is an archive itself
        found = source(server, bucket, pattern=f"{of}.{suffix}", format=of, settings=said)
        assert pl.DataFrame(rows(found)).equals(expected), of
        found.close()


def test_what_was_no_row_is_read_again_as_that_of_a_file(server: S3Server, bucket: str) -> None:
    server.put(bucket, "in/x.csv", b"n\n1\nn/a\n")
    of = source(server, bucket, settings={"types": {"n": "integer"}})
    stream, plan = planned(of)
    (batch,) = of.read(stream, plan.partitions[0])
    lenient = source(server, bucket, settings={"types": {"n": "integer"}, "null_values": ["n/a"]})
    (found,) = lenient.reread(stream, plan.partitions[0], batch.rejects)
    assert found is not None
    assert found.to_pylist() == [{"n": None}]


def test_init_and_profile_take_settings_of_what_is_in_a_bucket(
    server: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part, variable in {**ENVIRONMENT, **ENVIRONMENT_BESIDES}.items():
        monkeypatch.setenv(variable, server.connection.get(part, ""))
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as written:
        written.writestr("READ.me", "Tills of May.\n")
        written.writestr("till.csv", "#from the till\nn;who\n1;Müller\n".encode("cp1252"))
    server.put(bucket, "in/till.zip", archive.getvalue())
    said = [part for one in ("members=*.csv", "comment=#", "encoding=cp1252") for part in ("--set", one)]
    path = f"s3://{bucket}/in/till.zip"

    bare = CliRunner().invoke(main, ["profile", path])
    assert bare.exit_code == 1
    assert "`members`" in bare.stderr
    done = CliRunner().invoke(main, ["profile", path, *said, "--json"])
    assert {column["name"]: column["type"] for column in json.loads(done.stdout)["columns"]} == {
        "n": "int64",
        "who": "string",
    }
    CliRunner().invoke(main, ["init", path, *said, "--tenant", "till", "--tenants", str(tmp_path)])
    drafted = (tmp_path / "till.yaml").read_text().splitlines()
    for setting in (f'path: "{path}"', 'members: "*.csv"', 'comment: "#"', 'encoding: "cp1252"'):
        assert f"      {setting}" in drafted


def test_only_what_is_new_or_has_changed_is_read(server: S3Server, bucket: str) -> None:
    server.put(bucket, "in/a.csv", b"n\n1\n")
    of = source(server, bucket)
    _, first = planned(of)
    server.put(bucket, "in/a.csv", b"n\n1\n")  # the same bytes at another time have the same ETag
    server.put(bucket, "in/b.csv", b"n\n2\n")
    assert rows(of, first.position) == [{"n": 2}]
    server.put(bucket, "in/a.csv", b"n\n7\n")
    with pytest.raises(ContractError, match="loaded before"):
        planned(of, first.position)
    _, merged = planned(of, first.position, LoadMode.MERGE)
    assert len(merged.position) == 2


# -- trouble


def test_an_object_that_changes_while_it_is_read(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Csv, "block", 1 << 20)
    server.put(bucket, "in/a.csv", b"n\n" + b"1234567\n" * 500_000)
    of = source(server, bucket)
    stream, plan = planned(of)
    batches = of.read(stream, plan.partitions[0])
    next(batches)
    server.put(bucket, "in/a.csv", b"n\n" + b"7654321\n" * 500_000)
    with pytest.raises(ContractError, match="changed while it was read"):
        list(batches)


def test_a_bucket_that_isn_t_there_and_objects_that_aren_t(server: S3Server, bucket: str) -> None:
    with pytest.raises(FatalSourceError, match=r"'test-nowhere' isn't there"):
        source(server, "test-nowhere").streams()
    with pytest.raises(EmptySourceError):
        source(server, bucket).streams()
    assert not source(server, bucket).check().ok


@pytest.mark.parametrize("wrong", [{"password": "another"}, {"login": "nobody"}])
def test_credentials_that_are_refused(server: S3Server, bucket: str, wrong: dict[str, str]) -> None:
    with pytest.raises(FatalSourceError, match=r"not for these credentials|was refused") as told:
        source(server, bucket, wrong).streams()
    assert not [value for value in wrong.values() if value in str(told.value)]


def test_nobody_there(server: S3Server, bucket: str) -> None:
    with pytest.raises(TransientSourceError, match="can't be reached now"):
        source(server, bucket, endpoint="http://127.0.0.1:9").streams()


# -- afterwards, through the whole chain


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path, database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


class Imports:
    """A tenant's pipeline over the bucket's objects, which are loaded in mode append."""

    def __init__(self, installation: Installation, server: S3Server, bucket: str, **settings: Any) -> None:
        self._installation, self._connection = installation, Connection(server.connection)
        pipeline = {
            "importer": "s3",
            "config": {"bucket": bucket, "prefix": "in/", "pattern": "*.csv", **settings},
            "privacy": {"columns": {"n": "keep"}, "subject": {"none": True, "reason": "numbers"}},
            "load": {"table": "numbers"},
        }
        self._tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"numbers": pipeline}})

    def __call__(self) -> Result:
        (job,) = jobs(self._installation, self._tenant, "numbers", connection=self._connection)
        with closing(job):
            return run(job, processes=1)


def loaded(sql: psycopg.Connection) -> list[int]:
    return [n for (n,) in sql.execute("select n from acme.numbers order by n")]


def crash_before_acknowledging(monkeypatch: pytest.MonkeyPatch, imports: Imports) -> None:
    def dead(_: S3, __: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(S3, "acknowledge", dead)
        with pytest.raises(KeyboardInterrupt):
            imports()


WAYS: dict[str, Any] = {
    "delete": ({"afterwards": "delete"}, []),
    "move": ({"afterwards": "move", "move_to": "loaded/"}, ["loaded/a.csv"]),
    "tag": ({"afterwards": "tag", "tags": {"state": "loaded"}}, ["in/a.csv"]),
}


def tags_of(server: S3Server, bucket: str, key: str) -> dict[str, str]:
    found = server.client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in found}


def test_what_goes_unread_is_told(
    server: S3Server, bucket: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports(installation, server, bucket, afterwards="delete")
    server.put(bucket, "in/a.csv", b"n\n1\n")
    server.put(bucket, "in/b.csv", b"n\n2\n")
    crash_before_acknowledging(monkeypatch, imports)
    sleep(1.1)  # a server's times are whole seconds
    server.put(bucket, "in/b.csv", b"n\n2\n")
    result = imports()
    assert result.rows_read == 0
    before, again = result.notes
    assert before == f"loaded by earlier runs, and deleted once this one is committed: s3://{bucket}/in/a.csv"
    assert again.startswith("put there again with the bytes that were loaded, so not read again, and deleted: ")
    assert again.endswith(f": s3://{bucket}/in/b.csv")
    assert server.keys(bucket) == []


@pytest.mark.parametrize("way", WAYS)
def test_afterwards_is_made_good_after_a_crash_and_no_row_doubles(
    server: S3Server,
    bucket: str,
    installation: Installation,
    sql: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    settings, left = WAYS[way]
    imports = Imports(installation, server, bucket, **settings)
    server.put(bucket, "in/a.csv", b"n\n1\n")
    server.client.put_object_tagging(Bucket=bucket, Key="in/a.csv", Tagging={"TagSet": [{"Key": "of", "Value": "x"}]})
    crash_before_acknowledging(monkeypatch, imports)
    assert server.keys(bucket) == ["in/a.csv"]
    assert loaded(sql) == [1]
    assert imports().rows_loaded == 0
    assert server.keys(bucket) == left
    if way == "tag":
        assert tags_of(server, bucket, "in/a.csv") == {"of": "x", "state": "loaded"}
    imports()  # nothing is there, or known to be done
    server.put(bucket, "in/b.csv", b"n\n2\n")
    assert imports().rows_loaded == 1
    assert loaded(sql) == [1, 2]


def test_what_is_tagged_is_asked_once_more_and_never_again(
    server: S3Server, bucket: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    tagged = S3._is_tagged
    monkeypatch.setattr(S3, "_is_tagged", lambda self, file: asked.append(file.lane) or tagged(self, file))
    imports = Imports(installation, server, bucket, afterwards="tag")
    server.put(bucket, "in/a.csv", b"n\n1\n")
    for _ in range(4):
        imports()
    assert asked == ["a.csv"]


def test_objects_that_the_pattern_names_otherwise_are_loaded_already(
    server: S3Server, bucket: str, installation: Installation, sql: psycopg.Connection
) -> None:
    """Also those that are there twice, and once they are tagged under the new name."""
    server.put(bucket, "in/a.csv", b"n\n1\n")
    assert Imports(installation, server, bucket)().rows_loaded == 1
    otherwise = Imports(installation, server, bucket, prefix="", pattern="*/*.csv", afterwards="tag")
    server.put(bucket, "of/a.csv", b"n\n1\n")
    found = otherwise()
    assert (found.rows_loaded, len(found.notes)) == (1, 1)
    assert f"not read again, such as 's3://{bucket}/in/a.csv'" in found.notes[0]
    for _ in range(2):
        found = otherwise()
        assert (found.rows_loaded, found.notes) == (0, ())
    assert {lane: known.get("loaded_as") for lane, known in found.position.items()} == {  # type: ignore[union-attr]
        "a.csv": None,
        "in/a.csv": "a.csv",
        "of/a.csv": None,
    }
    assert tags_of(server, bucket, "in/a.csv") == {"imported": "true"}
    assert loaded(sql) == [1, 1]


def test_nothing_is_deleted_before_the_rows_are_committed(
    server: S3Server, bucket: str, installation: Installation
) -> None:
    server.put(bucket, "in/a.csv", b"n\n1\nnot a number\n" + b"2\n" * 20)
    with pytest.raises(ImporterError):
        Imports(installation, server, bucket, afterwards="delete", settings={"types": {"n": "integer"}})()
    assert server.keys(bucket) == ["in/a.csv"]


def test_what_came_meanwhile_is_not_deleted(
    server: S3Server, bucket: str, installation: Installation, sql: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports = Imports(installation, server, bucket, afterwards="delete")
    server.put(bucket, "in/a.csv", b"n\n1\n")
    crash_before_acknowledging(monkeypatch, imports)
    server.put(bucket, "in/a.csv", b"n\n2\n")
    with pytest.raises(ContractError, match="loaded before"):
        imports()
    assert server.keys(bucket) == ["in/a.csv"]
    assert loaded(sql) == [1]


@pytest.mark.parametrize("way", WAYS)
def test_the_reader_s_account_pays_for_each_request(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """AWS refuses one that doesn't say so, of a bucket whose owner has others pay."""
    settings, _ = WAYS[way]
    server.put(bucket, "in/a.csv", b"n\n1\n")
    of = source(server, bucket, requester_pays=True, **settings)
    asked: list[tuple[str, Any]] = []
    for files in (of._files, of._reader.files):
        events = files.bucket._client.meta.events
        events.register("before-call.s3.*", lambda model, params, **_: asked.append((model.name, params["headers"])))
    _, plan = planned(of)
    assert rows(of) == [{"n": 1}]
    of.acknowledge(plan.position)
    assert {"ListObjectsV2", "GetObject"} < {name for name, _ in asked}
    assert [name for name, headers in asked if headers.get("x-amz-request-payer") != "requester"] == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("now", [b"n\n2\n", None], ids=["another", "gone"])
def test_what_is_another_or_gone_since_it_was_listed_is_left_alone(
    server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, way: str, now: bytes | None
) -> None:
    settings, _ = WAYS[way]
    server.put(bucket, "in/a.csv", b"n\n1\n")
    of = source(server, bucket, **settings)
    _, plan = planned(of)
    found = of._undone(plan.position)
    assert len(found) == 1

    def then_changed(_: S3, __: Any) -> Any:
        server.client.delete_object(Bucket=bucket, Key="in/a.csv")
        if now:
            server.put(bucket, "in/a.csv", now)
        return found

    monkeypatch.setattr(S3, "_undone", then_changed)
    of.acknowledge(plan.position)
    assert not any(map(of._is_tagged, found))  # which a plan asks
    assert server.keys(bucket) == (["in/a.csv"] if now else [])
    if now:
        assert tags_of(server, bucket, "in/a.csv") == {}


def test_a_large_object_is_archived_once_and_keeps_its_metadata(server: S3Server, bucket: str) -> None:
    """However often a run dies before it has deleted it; boto3 copies more than 8 MiB in parts, unless it is told."""
    key, data = "in/a.csv", b"n\n" + b"1\n" * (5 << 20)
    server.client.put_object(Bucket=bucket, Key=key, Body=data, ContentType="text/csv", Metadata={"of": "x"})
    client = Bucket(Connection(server.connection))
    for _ in range(2):
        assert client.copied(client.look(f"s3://{bucket}/{key}"), "old/a.csv")
    assert server.keys(bucket) == ["in/a.csv", "old/a.csv"]
    there = server.client.head_object(Bucket=bucket, Key="old/a.csv")
    assert (there["ContentLength"], there["ContentType"], there["Metadata"]) == (len(data), "text/csv", {"of": "x"})


def test_an_archive_keeps_both_of_one_name(server: S3Server, bucket: str, installation: Installation) -> None:
    imports = Imports(installation, server, bucket, afterwards="move", move_to="old/", settings={"on_change": "reload"})
    for content in (b"n\n1\n", b"n\n2\n"):
        server.put(bucket, "in/a.csv", content)
        imports()
    first, second = server.keys(bucket)
    assert first == "old/a.csv"
    assert second.startswith("old/a.csv.")


def test_settings_that_contradict_themselves(server: S3Server, bucket: str, installation: Installation) -> None:
    server.put(bucket, "in/a.csv", b"n\n1\n")
    with pytest.raises(ConfigError, match="afterwards: keep"):
        planned(source(server, bucket, afterwards="delete"), mode=LoadMode.REPLACE)
