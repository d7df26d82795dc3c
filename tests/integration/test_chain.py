"""Files through the whole chain into PostgreSQL: what stands in the table, in quarantine, and nowhere."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from importers.core.model import Window
from importers.core.tenant import Tenant
from importers.destinations import _owner, _session
from importers.exceptions import ConfigError, ContractError, PrivacyError, QualityError
from importers.pipeline import extract, gate, load, plan
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.pipeline.sweep import sweep
from importers.transport import postgres as transport


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path / "home", database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


def tenant(importer: str, path: Path, columns: dict[str, Any], **pipeline: Any) -> Tenant:
    privacy = {"subject": {"none": True, "reason": "nobody in it exists"}, "columns": columns, "reason": "a test"}
    body = {"importer": importer, "config": {"path": str(path), "stream": "plays"}, "privacy": privacy} | pipeline
    return Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": body}})


def job_of(installation: Installation, whose: Tenant) -> Job:
    (job,) = jobs(installation, whose, "listening")
    return job


def import_once(installation: Installation, whose: Tenant, key: str | None = None) -> Result:
    with closing(job_of(installation, whose)) as job:
        return run(job, key, processes=1)


def one(sql: psycopg.Connection, query: str) -> Any:
    row = sql.execute(query).fetchone()  # type: ignore[arg-type]
    return row[0] if row else None


def test_a_nested_leaf_is_treated_and_joins_with_a_column(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "plays.jsonl"
    rows = [
        {"id": 1, "who": "Ada", "payload": {"user": {"id": "ada", "email": "ada@example.org"}, "tags": ["x", "y"]}},
        {"id": 2, "who": "Bob", "payload": {"user": {"id": "eve", "email": "eve@example.org"}, "tags": []}},
        {"id": 3, "who": "Bob", "payload": None},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {
        "id": "keep",
        "who": "pseudonymise",
        "payload.user.id": "pseudonymise",
        "payload.user.email": "drop",
        "payload.tags[]": "keep",
    }
    import_once(installation, tenant("jsonl", file, columns))
    found = sql.execute("select id, who, payload from acme.plays order by id").fetchall()
    assert found[0][2]["tags"] == ["x", "y"]
    assert set(found[0][2]["user"]) == {"id"}
    assert UUID(found[0][2]["user"]["id"]) == found[0][1]  # Ada is ada
    assert UUID(found[1][2]["user"]["id"]) != found[1][1]
    assert found[2][2] is None
    assert "example.org" not in str(found)


KINDS: dict[str, tuple[pa.DataType, Any, Any]] = {
    "flag": (pa.bool_(), True, True),
    "tiny": (pa.int8(), -128, -128),
    "unsigned": (pa.uint64(), 2**64 - 1, Decimal(2**64 - 1)),
    "big": (pa.int64(), -(2**63), -(2**63)),
    "single": (pa.float32(), 1.5, 1.5),
    "double": (pa.float64(), 1e-300, 1e-300),
    "text": (pa.string(), "käse \u2028 😀", "käse \u2028 😀"),
    "large": (pa.large_string(), "x" * 70_000, "x" * 70_000),
    "bytes": (pa.binary(), b"\x00\xff", b"\x00\xff"),
    "day": (pa.date32(), dt.date(1582, 10, 4), dt.date(1582, 10, 4)),
    "clock": (pa.time64("us"), dt.time(23, 59, 59, 999_999), dt.time(23, 59, 59, 999_999)),
    "local": (pa.timestamp("ms"), dt.datetime.fromisoformat("1850-01-01"), dt.datetime.fromisoformat("1850-01-01")),
    "instant": (
        pa.timestamp("us", "UTC"),
        dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC),
    ),
    "money": (
        pa.decimal128(38, 10),
        Decimal("-1234567890123456789012345678.0123456789"),
        Decimal("-1234567890123456789012345678.0123456789"),
    ),
    "items": (pa.list_(pa.struct([("n", pa.int32())])), [{"n": 1}, {"n": None}], [{"n": 1}, {"n": None}]),
    "word": (pa.dictionary(pa.int32(), pa.string()), "again", "again"),
}


def test_every_type_arrives_as_it_was(installation: Installation, sql: psycopg.Connection, tmp_path: Path) -> None:
    names = list(KINDS)
    arrays = [
        pa.array([given, None], pa.string() if name == "word" else kind) for name, (kind, given, _) in KINDS.items()
    ]
    arrays[names.index("word")] = arrays[names.index("word")].dictionary_encode()
    file = tmp_path / "plays.parquet"
    pq.write_table(pa.table(arrays, names), file)
    import_once(installation, tenant("parquet", file, {"*": "keep"}))
    columns = ", ".join(names)
    found = sql.execute(f"select {columns} from acme.plays order by flag nulls last").fetchall()  # type: ignore[arg-type]
    assert dict(zip(names, found[0], strict=True)) == {name: expected for name, (_, _, expected) in KINDS.items()}
    assert set(found[1]) == {None}


def csv(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "plays.csv"
    file.write_text("id,what\n" + "".join(f"{line}\n" for line in lines))
    return file


KEEP = {"id": "keep", "what": "keep"}
UNIQUE = [{"expect_column_values_to_be_unique": {"column": "id"}}]


def test_duplicates_in_other_partitions_are_found(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 40)
    lines = [f"{n},{'x' * 20}" for n in range(30)]
    whose = tenant("csv", csv(tmp_path, *lines, "7,again"), KEEP, expect=UNIQUE, quarantine={"max_fraction": 0.1})
    result = import_once(installation, whose)
    assert len(result.receipts) > 1
    assert (result.rows_read, result.rows_loaded, result.rows_quarantined) == (31, 29, 2)
    assert result.rules == {"expect_column_values_to_be_unique(id)": 2}
    assert one(sql, "select count(*) from acme.plays where id = 7") == 0


def test_an_open_run_that_another_version_planned_is_planned_anew(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of its partitions one is loaded: what was appended is taken back with the run."""
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 40)
    whose = tenant("csv", csv(tmp_path, *(f"{n},{'x' * 20}" for n in range(9))), KEEP)
    with closing(job_of(installation, whose)) as job:
        opened = plan.plan(job, "night")
        for number in range(len(opened.plan.partitions)):
            extract.stage(job, opened, number)
        load.load(job, gate.gate(job, opened).run, 0)
        older = "update _importers.run set plan = jsonb_set(plan, '{partitions,1}', to_jsonb(array['plays.csv', '40']))"
        sql.execute(older)
        stored = job.destination.find(opened.id)
        with pytest.raises(ContractError, match="planned by another version"):
            extract.stage(job, stored, 1)
    assert import_once(installation, whose, "night").rows_loaded == 9
    assert sorted(sql.execute("select id from acme.plays").fetchall()) == [(n,) for n in range(9)]
    assert sql.execute("select state from _importers.run order by id").fetchall() == [("aborted",), ("committed",)]


def test_a_run_isn_t_read_by_two_settings(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one partition has as the third of April would be the fourth of March in another."""
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 40)
    path = str(csv(tmp_path, *(f"{n},03.04.2026" for n in range(30))))

    def written(day: str) -> Tenant:
        said = {"path": path, "stream": "plays", "types": {"what": "date"}, "date_format": day}
        return tenant("csv", Path(path), KEEP, config=said)

    with closing(job_of(installation, written("%d.%m.%Y"))) as job:
        opened = plan.plan(job, "night")
        assert len(opened.plan.partitions) > 1
        extract.stage(job, opened, 0)
    changed = pytest.raises(ConfigError, match="settings have changed since this run was planned")
    with closing(job_of(installation, written("%m.%d.%Y"))) as job, changed:
        extract.stage(job, opened, 1)
    assert import_once(installation, written("%m.%d.%Y"), "night").rows_loaded == 30
    assert sql.execute("select distinct what::text from acme.plays").fetchall() == [("2026-03-04",)]
    assert sql.execute("select state from _importers.run order by id").fetchall() == [("aborted",), ("committed",)]


def test_text_that_the_warehouse_can_t_hold_is_quarantined(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "plays.jsonl"
    file.write_text('{"id": 1, "what": "fine"}\n{"id": 2, "what": "a\\u0000b"}\n')
    result = import_once(installation, tenant("jsonl", file, KEEP, quarantine={"max_fraction": 0.5}))
    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    with closing(job_of(installation, tenant("jsonl", file, KEEP))) as job:
        kept = job.quarantine.read(result.quarantine[0].uri, job.keys.quarantine())
    assert kept.select(["id", "what"]).to_pylist() == [{"id": 2, "what": "a\0b"}]
    assert kept["_rules"][0].as_py() == ["what: text with a NUL, which PostgreSQL can't hold"]


@pytest.mark.parametrize("schema_change", ["evolve", "discard"])
@pytest.mark.parametrize("as_read", [pa.dictionary(pa.int32(), pa.string()), pa.string_view()], ids=["few", "many"])
def test_texts_are_numbers_until_they_are_loaded_or_views_until_they_are_at_rest(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, schema_change: str, as_read: pa.DataType
) -> None:
    """Bad rows are in quarantine as themselves."""
    file = tmp_path / "plays.parquet"
    few = as_read != pa.string_view()
    fine = ["fine" if few else f"fine, and longer than a view: {n}" for n in range(5_000)]
    words = [word for each in fine for word in (each, None, "a\0b", "w" * 20)]
    pq.write_table(pa.table({"id": range(20_000), "what": words}), file)
    expect = [
        {"expect_column_values_to_not_be_null": {"column": "what"}},
        {"expect_column_values_to_not_match_regex": {"column": "what", "regex": ": 4...$"}},
    ]
    said = {"quarantine": {"max_fraction": 0.6}, "expect": expect, "load": {"schema_change": schema_change}}
    whose = tenant("parquet", file, KEEP, **said)
    with closing(job_of(installation, whose)) as job:
        (part,) = job.source.plan(job.requested, Window(), {}).partitions
        assert {batch.rows.schema.field("what").type for batch in job.source.read(job.requested, part)} == {as_read}
    result = import_once(installation, whose)
    loaded = Counter(word for word in words if word and "\0" not in word and not re.search(": 4...$", word))
    assert (result.rows_loaded, result.rows_quarantined) == (loaded.total(), 20_000 - loaded.total())
    assert dict(sql.execute("select what, count(*) from acme.plays group by 1").fetchall()) == loaded
    with closing(job_of(installation, whose)) as job:
        kept = job.quarantine.read(result.quarantine[0].uri, job.keys.quarantine())
    assert kept.schema.field("what").type == pa.string()
    assert kept["what"].to_pylist() == [word for word in words if word not in loaded]


@pytest.mark.parametrize("treatment", ["pseudonymise", "keep", {"encrypt": {"deterministic": True}}])
def test_a_row_whose_key_is_blank_is_quarantined(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, treatment: Any
) -> None:
    file = tmp_path / "plays.jsonl"
    lines = ["a", None, "", " \u2003", "b", "c" * 3000]
    file.write_text("".join(json.dumps({"id": id_, "what": "x"}) + "\n" for id_ in lines))
    settings: dict[str, Any] = {"load": {"mode": "merge", "primary_key": "id"}, "quarantine": {"max_fraction": 0.9}}
    result = import_once(installation, tenant("jsonl", file, {"id": treatment, "what": "keep"}, **settings))
    null, blank = "expect_column_values_to_not_be_null(id)", "id: blank, which no primary key may be"
    expected = {null: 1, "id: a key of more than 2,600 bytes": 1}
    if treatment == "pseudonymise":
        expected = {null: 1, blank: 2}
    assert result.rules == expected
    assert result.rows_loaded == len(lines) - result.rows_quarantined == one(sql, "select count(*) from acme.plays")


@pytest.mark.parametrize("cursor", ["at", "seq"])
def test_a_row_whose_cursor_is_beyond_any_calendar_or_number_is_quarantined(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, cursor: str
) -> None:
    file = tmp_path / "plays.parquet"
    moments = pa.array([0, 2**62, -(2**62), 5], pa.timestamp("ms"))
    pq.write_table(
        pa.table({"id": [1, 2, 3, 4], "at": moments, "seq": pa.array([1, 2, 3, 2**64 - 1], pa.uint64())}), file
    )
    settings = {"load": {"mode": "merge", "primary_key": "id", "cursor": cursor}, "quarantine": {"max_fraction": 0.9}}
    result = import_once(installation, tenant("parquet", file, {"*": "keep"}, **settings))
    assert sql.execute("select id from acme.plays order by 1").fetchall() == (
        [(1,)] if cursor == "seq" else [(1,), (4,)]
    )
    assert result.rules["at: a date before 4713 BC or after the year 262141, or an infinity"] == 2
    assert result.rules.get("seq: a cursor of more than 63 bits", 0) == (cursor == "seq")


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_no_two_moments_become_one_in_silence(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, mode: str
) -> None:
    """PostgreSQL counts microseconds: what is unique is judged by them, and no key is cut."""
    file = tmp_path / "plays.parquet"
    moments = pa.array([1001, 1999, 2000, -1, None], pa.timestamp("ns"))
    pq.write_table(pa.table({"id": [1, 2, 3, 4, 5], "at": moments}), file)
    unique = "expect_column_values_to_be_unique"
    load = {"mode": mode} if mode == "append" else {"mode": mode, "primary_key": "at"}
    settings: dict[str, Any] = {"load": load, "quarantine": {"max_fraction": 0.9}}
    rules = [{unique: {"column": "at"}}]
    result = import_once(installation, tenant("parquet", file, {"*": "keep"}, expect=rules, **settings))
    cut = "at: digits below a microsecond in a key, which PostgreSQL would cut"
    assert {rule: rows for rule, rows in result.rules.items() if "null" not in rule} == (
        {f"{unique}(at)": 2} if mode == "append" else {cut: 3}
    )
    counted = "select id, (extract(epoch from at) * 1000000)::int from acme.plays order by id"
    assert sql.execute(counted).fetchall() == ([(3, 2), (4, -1), (5, None)] if mode == "append" else [(3, 2)])


def test_a_run_connects_for_its_work_and_to_show_that_it_is_alive(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = csv(tmp_path, "1,a")
    import_once(installation, tenant("csv", first, KEEP))
    connected = list[str]()

    def connect(url: str, application: str) -> psycopg.Connection:
        connected.append(application)
        return transport.connect(url, application)

    for module in (_session, _owner):
        monkeypatch.setattr(module, "connect", connect)
    second = first.rename(tmp_path / "more.csv")
    assert import_once(installation, tenant("csv", second, KEEP)).rows_loaded == 1
    assert connected == ["importers acme.listening", "importers run acme.listening.plays"]


def test_a_run_that_fails_its_rules_loads_nothing_and_is_mended_by_the_next(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    strict = [{"expect_column_values_to_match_regex": {"column": "what", "regex": "^[a-z]$"}}]
    whose = tenant("csv", csv(tmp_path, "1,a", "2,B", "3,c"), KEEP, expect=strict)
    with pytest.raises(QualityError, match=r"1 bad .* of 3; 1 × expect_column_values_to_match_regex\(what\)") as failed:
        import_once(installation, whose)
    assert "1 row is in quarantine: `importers quarantine show acme.listening --run 1`" in str(failed.value)
    assert "acme.listening/plays" in str(failed.value)
    assert one(sql, "select to_regclass('acme.plays')") is None
    assert one(sql, "select rows from _importers.quarantine") == 1
    whose = tenant("csv", csv(tmp_path, "1,a", "2,b", "3,c"), KEEP, expect=strict)
    assert import_once(installation, whose).rows_loaded == 3
    sweep(installation, {"acme": whose})
    assert not list(Path(installation.staging).rglob("*.*"))


def test_a_tenant_file_that_changes_after_the_gate_is_noticed(installation: Installation, tmp_path: Path) -> None:
    file = csv(tmp_path, "1,a")
    with closing(job_of(installation, tenant("csv", file, KEEP))) as job:
        opened = plan.plan(job, "r1")
        job = job.fixed(opened)
        extract.stage(job, opened, 0)
        passed = gate.gate(job, opened)
        laxer = tenant("csv", file, {"id": "keep", "what": "pseudonymise"})
        changed = Job(installation, laxer, "listening", job.stream)
        with closing(changed), pytest.raises(ConfigError, match="changed since the gate"):
            load.load(changed, passed.run, 0)
        job.close()


def test_what_was_anonymised_under_another_policy_isn_t_loaded(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    file = csv(tmp_path, "1,ada@example.org")
    with closing(job_of(installation, tenant("csv", file, KEEP))) as job:
        opened = plan.plan(job, "r1")
        with closing(job.fixed(opened)) as fixed:
            extract.stage(fixed, opened, 0)
            load.anonymise(fixed, gate.gate(fixed, opened).run, 0)
            stricter = tenant("csv", file, {"id": "keep", "what": {"mask": "email"}})
            with closing(Job(installation, stricter, "listening", fixed.stream)) as changed:
                load.load(changed, gate.gate(changed, opened).run, 0)
    assert one(sql, "select what from acme.plays") == "a***@example.org"


def test_a_column_that_wasn_t_read_isn_t_loaded_as_null(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    """The file keeps it since: its values would be missing for good, as the position moves."""
    file = csv(tmp_path, "1,a")
    with closing(job_of(installation, tenant("csv", file, {"id": "keep", "what": "drop"}))) as job:
        opened = plan.plan(job, "r1")
        extract.stage(job, opened, 0)
        with closing(Job(installation, tenant("csv", file, KEEP), "listening", job.stream)) as changed:
            with pytest.raises(ConfigError, match=r"left out when.*got what\. Run extract"):
                gate.gate(changed, opened)
            extract.stage(changed, opened, 0)
            load.load(changed, gate.gate(changed, opened).run, 0)
    assert one(sql, "select what from acme.plays") == "a"


def test_what_a_column_had_isn_t_told_once_it_is_dropped(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    """Its partition was read, and profiled, while it was kept."""
    file = csv(tmp_path, *(f"{n},{n}" for n in range(40)))
    with closing(job_of(installation, tenant("csv", file, KEEP))) as job:
        opened = plan.plan(job, "r1")
        extract.stage(job, opened, 0)
        whose = tenant("csv", file, {"id": "keep", "what": "drop"})
        with closing(Job(installation, whose, "listening", job.stream)) as changed:
            gate.gate(changed, opened)
    told = one(sql, "select counts -> 'profile' -> 'columns' from _importers.judgement")
    assert {column["name"]: "deciles" in column for column in told} == {"id": True, "what": False}


def test_a_run_isn_t_loaded_under_two_policies(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.sources.files._files.FileSource.whole_below", 20)
    file = csv(tmp_path, *(f"{n},ada@example.org" for n in range(5)))
    with closing(job_of(installation, tenant("csv", file, KEEP))) as job:
        opened = plan.plan(job, "r1")
        with closing(job.fixed(opened)) as fixed:
            for partition in range(len(opened.plan.partitions)):
                extract.stage(fixed, opened, partition)
            load.load(fixed, gate.gate(fixed, opened).run, 0)
            stricter = tenant("csv", file, {"id": "keep", "what": "drop"})
            changed = Job(installation, stricter, "listening", fixed.stream)
            with closing(changed), pytest.raises(ConfigError, match="loaded under what held before"):
                gate.gate(changed, opened)


@pytest.mark.parametrize("allow_empty", [False, True])
def test_a_snapshot_without_a_good_row_empties_no_table_unless_told(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path, *, allow_empty: bool
) -> None:
    positive = [{"expect_column_values_to_be_between": {"column": "id", "min_value": 1}}]
    more: dict[str, Any] = {"expect": positive, "quarantine": {"max_fraction": 1}}
    more["load"] = {"mode": "replace", "allow_empty": allow_empty}
    import_once(installation, tenant("csv", csv(tmp_path, "1,a"), KEEP, **more))
    whose = tenant("csv", csv(tmp_path, "-1,a"), KEEP, **more)
    if allow_empty:
        import_once(installation, whose)
    else:
        with pytest.raises(QualityError, match="no good row"):
            import_once(installation, whose)
    assert one(sql, "select count(*) from acme.plays") == (0 if allow_empty else 1)


def test_a_row_without_a_cursor_is_older_than_any(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "plays.csv"
    settings = {"load": {"mode": "merge", "primary_key": "id", "cursor": "seq"}}
    columns = {"id": "keep", "seq": "keep", "what": "keep"}
    for lines in ("1,,old", "1,6,new"):
        file.write_text(f"id,seq,what\n{lines}\n")
        types = tenant("csv", file, columns, **settings)
        pipeline = types.pipelines["listening"].model_dump(exclude_unset=True)
        pipeline["config"]["types"] = {"seq": "integer"}
        import_once(installation, Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}}))
    assert one(sql, "select what from acme.plays") == "new"


def test_the_two_ways_of_running_the_steps_load_the_same(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    """Extract and validate apart, anonymise staged before load: as a scheduler runs them."""
    rules = [{"expect_column_values_to_be_in_set": {"column": "what", "value_set": ["a", "b"]}}]
    columns = {"id": "keep", "what": "pseudonymise"}
    whose = tenant("csv", csv(tmp_path, "1,a", "2,zz", "3,b"), columns, expect=rules, quarantine={"max_fraction": 0.5})
    with closing(job_of(installation, whose)) as job:
        opened = plan.plan(job, "r1")
        fixed = job.fixed(opened)
        with closing(fixed):
            extract.extract(fixed, opened, 0)
            extract.validate(fixed, opened, 0)
            passed = gate.gate(fixed, opened)
            staged = load.anonymise(fixed, passed.run, 0)
            assert staged.rows == 2
            assert load.load(fixed, passed.run, 0).loaded == 2
    assert one(sql, "select array_agg(id order by id) from acme.plays") == [1, 3]


def test_a_dropped_column_isn_t_staged(installation: Installation, tmp_path: Path) -> None:
    whose = tenant("csv", csv(tmp_path, "1,a"), {"id": "keep", "what": "drop"})
    with closing(job_of(installation, whose)) as job:
        opened = plan.plan(job, "r1")
        fixed = job.fixed(opened)
        with closing(fixed):
            assert extract.stage(fixed, opened, 0).schema.names == ["id"]


def test_a_leaf_that_appears_later_stops_the_run(
    installation: Installation, sql: psycopg.Connection, tmp_path: Path
) -> None:
    file = csv(tmp_path, "1,a")
    import_once(installation, tenant("csv", file, KEEP))
    later = tmp_path / "plays-2.csv"
    later.write_text("id,what,email\n2,b,ada@example.org\n")
    with pytest.raises(PrivacyError, match="email: "):
        import_once(installation, tenant("csv", later, KEEP))
    assert one(sql, "select count(*) from acme.plays") == 1


def test_a_small_run_takes_no_processes(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importers.pipeline.run.ProcessPoolExecutor", None)
    with closing(job_of(installation, tenant("csv", csv(tmp_path, "1,a"), KEEP))) as job:
        assert run(job, processes=8).rows_loaded == 1
    assert replace(installation, embedded=False).embedded is False


def test_a_file_that_changed_is_read_again_and_the_result_says_so(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "plays.csv"
    load = {"mode": "merge", "primary_key": "id"}
    whose = tenant("csv", file, {"id": "keep", "n": "keep"}, load=load)
    file.write_text("id,n\n1,1\n")
    assert import_once(installation, whose).notes == ()
    assert import_once(installation, whose).notes == ()
    file.write_text("id,n\n1,1\n2,2\n")
    result = import_once(installation, whose, "again")
    assert (result.rows_loaded, result.notes) == (
        2,
        (f"the file '{file}' has changed since it was loaded, and is read again",),
    )
    assert import_once(installation, whose, "again").notes == result.notes  # as the ledger has it
