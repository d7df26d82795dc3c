"""What a run does with a source whose columns aren't those of the last run. Expected rows are written out by hand."""

from __future__ import annotations

import base64
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from importers.core.model import RunKind, Window
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ContractError, PrivacyError
from importers.ledger import history
from importers.pipeline import contract, extract, gate, load, plan, treatments
from importers.pipeline.held import contents, show
from importers.pipeline.installation import Installation
from importers.pipeline.jobs import jobs
from importers.pipeline.preview import preview
from importers.pipeline.run import Result, run

FIRST = "id,who,ms\n1,ann,10\n2,bob,20\n"
POLICY = {"id": "keep", "who": "drop", "ms": "keep"}


class Site:
    """A tenant whose file is replaced from run to run, or whose files are more each time: each is a new delivery."""

    def __init__(self, root: Path, warehouse: str) -> None:
        self.installation = Installation(root, warehouse, False, str(root / "staging"), str(root / "quarantine"))
        self.data = root / "data"
        self.data.mkdir()
        self.file = self.data / "plays.csv"
        self.types: dict[str, str] = {}
        self.unclassified = "stop"
        self.importer, self.stream = "csv", "plays"
        self.subject: dict[str, Any] = {"none": True, "reason": "invented"}
        self.interval: str | None = None
        self._runs = 0

    def tenant(self, columns: dict[str, Any], load: dict[str, Any], expect: list[Any]) -> Tenant:
        privacy = {
            "purpose": "tests",
            "lawful_basis": "contract",
            "columns": columns,
            "unclassified": self.unclassified,
        }
        config = {"path": str(self.data / "*.csv"), "stream": self.stream, "on_change": "reload", "types": self.types}
        config |= {"interval": self.interval} if self.interval else {}
        pipeline = {
            "importer": self.importer,
            "config": config if self.importer == "csv" else {k: v for k, v in config.items() if k != "types"},
            "privacy": privacy | {"subject": self.subject},
            "quarantine": {"max_fraction": 1.0},
            "load": load,
            "expect": expect,
        }
        return Tenant.model_validate({"tenant": "acme", "pipelines": {"listening": pipeline}})

    def job(self, columns: dict[str, Any], load: dict[str, Any], expect: list[Any], *, replay: bool = False) -> Any:
        (job,) = jobs(self.installation, self.tenant(columns, load, expect), "listening", replay=replay)
        return job

    def run(
        self,
        text: str,
        columns: dict[str, Any] = POLICY,
        *,
        file: str = "plays.csv",
        replay: bool = False,
        expect: Any = (),
        **load: Any,
    ) -> Result:
        (self.data / file).write_text(text)
        self._runs += 1
        kind = RunKind.REPLAY if replay else RunKind.INCREMENTAL
        return run(self.job(columns, load, list(expect), replay=replay), f"run {self._runs}", kind, processes=1)

    def backfill(self, start: str, columns: dict[str, Any], **load: Any) -> Result:
        """Of a month, `2026-01`, or of a day."""
        self._runs += 1
        days = 1 if start.count("-") == 2 else 31
        begun = datetime.fromisoformat(start if days == 1 else f"{start}-01").replace(tzinfo=UTC)
        window = Window(begun.isoformat(), (begun + timedelta(days=days)).isoformat())
        return run(self.job(columns, load, []), f"run {self._runs}", RunKind.WINDOW, window, processes=1)

    def beyond(self, number: int) -> Any:
        with history.reading(self.installation.warehouse) as connection:
            return history.judgements(connection, [number])[number]["beyond"]


@pytest.fixture
def site(tmp_path: Path, database: str, encryption_key: str) -> Site:
    return Site(tmp_path, database)


def rows(sql: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    return sql.execute("select id, ms from acme.plays order by id, ms").fetchall()


def columns(sql: psycopg.Connection[Any]) -> dict[str, str]:
    found = sql.execute(
        "select column_name, data_type from information_schema.columns where table_name = 'plays'"
    ).fetchall()
    return {name: kind for name, kind in found if not name.startswith("_")}


MOST = [{"expect_column_values_to_be_between": {"column": "ms", "max_value": 99}}]
TABLE = {"id": "bigint", "ms": "bigint"}


def test_discard_reads_no_new_column_and_the_report_names_it(site: Site, sql: psycopg.Connection[Any]) -> None:
    first = site.run(FIRST, schema_change="discard")
    assert (first.rows_loaded, site.beyond(first.run)) == (2, [])
    for _ in range(2):  # what is left out isn't known the next time either
        result = site.run("id,extra,who,ms\n3,x,cy,30\n", schema_change="discard")
        assert (result.rows_loaded, result.rows_quarantined, site.beyond(result.run)) == (1, 0, ["extra"])
    assert rows(sql) == [(1, 10), (2, 20), (3, 30), (3, 30)]
    assert columns(sql) == TABLE


def test_quarantine_keeps_out_rows_that_have_something_in_a_new_column_until_it_is_wanted(
    site: Site, sql: psycopg.Connection[Any]
) -> None:
    site.run(FIRST, schema_change="quarantine")
    more = "id,extra,who,ms\n3,x,cy,30\n4,,di,40\n"
    result = site.run(more, schema_change="quarantine")
    assert (result.rows_loaded, result.rows_quarantined) == (1, 1)
    assert result.rules == {"extra: a column that the schema contract doesn't know": 1}
    assert rows(sql) == [(1, 10), (2, 20), (4, 40)]
    still = site.run(more, schema_change="quarantine", replay=True)
    assert (still.rows_loaded, still.rows_quarantined) == (0, 1)
    wanted = {**POLICY, "extra": "keep"}
    assert site.run(more, wanted, replay=True).rows_loaded == 1
    assert sql.execute("select id, extra from acme.plays where extra is not null").fetchall() == [(3, "x")]
    assert site.run(more, wanted, replay=True).rows_read == 0


def test_a_column_that_the_contract_keeps_out_is_seen_to_be_there(site: Site) -> None:
    site.run(FIRST, schema_change="quarantine")
    site.run("id,note,who,ms\n3,secret,cy,30\n4,,di,500\n", schema_change="quarantine", expect=MOST)
    with closing(site.job(POLICY, {"schema_change": "quarantine"}, [])) as job:
        (held,) = contents(job.destination, job.tenant).held
        masked, bare = (show(job.installation, job.tenant, "listening", held, 9, unmasked=how) for how in (False, True))
    assert masked.rows.select(["id", "note", "ms"]).to_pylist() == [
        {"id": 3, "note": "not shown", "ms": 30},
        {"id": 4, "note": None, "ms": 500},
    ]
    assert bare.rows["note"].to_pylist() == ["secret", None]


@pytest.mark.parametrize("mode", ["discard", "quarantine"])
def test_rows_of_another_type_are_kept_out_and_mended_ones_come_in(
    site: Site, sql: psycopg.Connection[Any], mode: str
) -> None:
    """One cell makes the column text, for the whole file."""
    site.run(FIRST, schema_change=mode)
    result = site.run("id,who,ms\n3,cy,30\n4,di,forty\n5,ed,500\n6,flo,\n", schema_change=mode, expect=MOST)
    assert rows(sql) == [(1, 10), (2, 20), (3, 30), (6, None)]
    assert sum(result.rules.values()) == result.rows_quarantined == 2
    assert result.rules["expect_column_values_to_be_between(ms)"] == 1
    assert columns(sql) == TABLE
    replayed = site.run("id,who,ms\n7,gil,70\n", schema_change=mode, replay=True)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (1, 1)
    assert rows(sql) == [(1, 10), (2, 20), (3, 30), (5, 500), (6, None)]


def test_a_replay_goes_by_the_contract_that_kept_a_row_out(site: Site, sql: psycopg.Connection[Any]) -> None:
    """The code 007 isn't the number 7, also where it is alone."""
    site.run(FIRST, schema_change="discard")
    text = "id,who,ms\n3,cy,007\n"
    assert site.run(text, schema_change="discard").rows_quarantined == 1
    replayed = site.run(text, schema_change="discard", replay=True)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (0, 1)
    assert rows(sql) == [(1, 10), (2, 20)]


def test_text_that_looks_like_something_else_is_text_as_it_stands(site: Site, sql: psycopg.Connection[Any]) -> None:
    """An erasure of the person looks for this text, and a key is one."""
    site.types = {"who": "string"}
    policy = {"id": "keep", "who": "keep", "ms": "keep"}
    site.run(FIRST, policy, schema_change="discard")
    site.types = {}
    said = ["12345678901", "9007199254740993", "7.50", "2026-01-05T10:00:00Z", "True", "2026-1-5", "12"]
    for texts in said[:3], said[3:4], said[4:5], said[5:6], said[6:]:
        rows = "".join(f"{said.index(text)},{text},1\n" for text in texts)
        assert site.run(f"id,who,ms\n{rows}", policy, schema_change="discard").rows_loaded == len(texts)
    found = sql.execute("select who from acme.plays where who not in ('ann', 'bob') order by id").fetchall()
    assert [text for (text,) in found] == said


def test_a_row_that_never_fits_holds_no_other_back(site: Site, sql: psycopg.Connection[Any]) -> None:
    """It came while the contract was closed; the contract is open by now, and the types that are meant are declared."""
    site.run(FIRST, schema_change="quarantine", expect=MOST)
    site.run(
        "id,who,ms\n3,cy,30\n4,di,5 EUR\n5,ed,500\n6,flo,007\n7,gil,1.5\n", schema_change="quarantine", expect=MOST
    )
    assert rows(sql) == [(1, 10), (2, 20), (3, 30)]
    replayed = site.run(FIRST, replay=True)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (1, 3)
    assert set(replayed.rules) == {"ms: not the int64 that the schema contract knows"}
    assert (rows(sql), columns(sql)) == ([(1, 10), (2, 20), (3, 30), (5, 500)], TABLE)
    site.types = {"ms": "number"}
    replayed = site.run(FIRST, replay=True)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (1, 2)
    assert rows(sql) == [(1, 10), (2, 20), (3, 30), (5, 500), (7, 1.5)]
    site.types = {"ms": "string"}
    with pytest.raises(ContractError, match="is double precision and can't hold text"):
        site.run(FIRST, replay=True)


@pytest.mark.parametrize("text", ["nr,name,ms,more\n3,cy,30.5,x\n", "no,header\n1\n2,3,4\n", ""])
@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_what_has_come_since_is_nothing_to_a_replay(
    site: Site, sql: psycopg.Connection[Any], mode: str, text: str
) -> None:
    """Its key has another name, and there are columns that nobody has classified; or it is no table; or gone."""
    load = {"mode": "merge", "primary_key": "id", "schema_change": mode}
    site.run("id,who,ms\n1,ann,10\n2,bob,200\n,nobody,1\n", expect=MOST, **load)
    replayed = site.run(text, replay=True, **load)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (1, 1)
    assert (rows(sql), columns(sql)) == ([(1, 10), (2, 200)], TABLE)


KEPT_OUT = "id,extra,who,ms\n3,x,cy,30\n4,,di,40\n"


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_what_a_row_has_beside_today_s_columns_keeps_it_where_it_is(
    site: Site, sql: psycopg.Connection[Any], mode: str
) -> None:
    """The source has forgotten the column, and what a replay has read is deleted."""
    site.run(FIRST, schema_change="quarantine")
    site.run(KEPT_OUT, schema_change="quarantine")
    replayed = site.run(FIRST, replay=True, schema_change=mode)
    assert (replayed.rows_loaded, replayed.rows_quarantined, site.beyond(replayed.run)) == (0, 1, ["extra"])
    site.file.unlink()
    with closing(site.job({**POLICY, "extra": "keep"}, {}, [], replay=True)) as job:
        assert run(job, "mended", RunKind.REPLAY, processes=1).rows_loaded == 1
    assert sql.execute("select id, extra from acme.plays order by id").fetchall() == [
        (1, None),
        (2, None),
        (3, "x"),
        (4, None),
    ]
    with pytest.raises(ContractError, match="have gone that the last run had: extra"):
        site.run("id,who,ms\n5,ed,50\n", {**POLICY, "extra": "keep"})
    assert site.run("id,who,ms\n5,ed,50\n", {**POLICY, "extra": "keep"}, optional=["extra"]).rows_loaded == 1


ADA = "ada@planted.example"


@pytest.mark.parametrize("mode", ["evolve", "freeze"])
def test_a_key_of_json_that_has_another_name_is_told(site: Site, mode: str) -> None:
    """Records needn't have each key, so that it is null, and nothing stops the run."""
    site.importer, site.unclassified = "jsonl", "drop"
    site.subject = {"column": "who", "domain": "listener"}
    policy = {"id": "keep", "who": "pseudonymise", "*": "drop"}
    first = site.run('{"id":1,"who":"ann"}\n', policy, file="a.csv", schema_change=mode)
    assert first.notes == ()
    (note,) = site.run('{"id":2,"whom":"ann"}\n', policy, file="b.csv", schema_change=mode).notes
    assert "none has 'who', the subject (it may be whom now)" in note
    assert site.run('{"id":3,"who":"ann","whom":"x"}\n', policy, file="c.csv", schema_change=mode).notes == ()
    (note,) = site.run('{"id":4,"whom":"ann"}\n', policy, file="bb.csv", schema_change=mode).notes  # neither end
    assert "none has 'who'" in note


@pytest.mark.parametrize("mode", ["discard", "quarantine"])
def test_a_key_that_is_a_person_s_is_told_nowhere(site: Site, sql: psycopg.Connection[Any], mode: str) -> None:
    site.importer = "jsonl"
    policy, load = {"id": "keep", "scores": "keep"}, {"mode": "merge", "primary_key": "id", "schema_change": mode}
    site.run(f'{{"id":1,"scores":{{"{ADA}":5}}}}\n', policy, **load)
    more = f'{{"id":2,"scores":{{"{ADA}":5,"bob@planted.example":1}}}}\n{{"id":3,"scores":null}}\n'
    kept_out = site.run(more, policy, **load)
    assert kept_out.rules == {"scores: not the struct<…: int64> that the schema contract knows": 1}
    assert site.run(more, policy, replay=True, **load).rules == kept_out.rules
    tables = sql.execute(
        "select table_name, column_name from information_schema.columns where table_schema = '_importers'"
    ).fetchall()
    shown = SQL("select 1 from _importers.{} where {}::text like %s")
    for table, column in tables:
        found = sql.execute(shown.format(Identifier(table), Identifier(column)), ("%planted%",)).fetchall()
        assert (table, column, found) == (table, column, [])


def planted(sql: psycopg.Connection[Any]) -> list[str]:
    """The tables of `_importers` that have a planted key, in the clear or in what base64 holds."""
    listed = sql.execute("select table_name from information_schema.tables where table_schema = '_importers'")
    found = []
    for (table,) in listed.fetchall():
        for (row,) in sql.execute(SQL("select row_to_json(r)::text from _importers.{} r").format(Identifier(table))):
            coded = (base64.b64decode(f"{text}==") for text in re.findall(r"[A-Za-z0-9+/]{40,}", row))
            if any(b"planted" in text for text in (row.encode(), *coded)):
                found.append(table)
    return found


PERSONS = [
    ({"id": "keep", "u.n": "keep", "u.in": "drop", "scores": "drop"}, "stop"),
    ({"id": "keep", "u.n": "keep", "*": "drop"}, "stop"),
    ({"id": "keep", "u.n": "keep"}, "drop"),
]


@pytest.mark.parametrize(("policy", "unclassified"), PERSONS)
@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_no_key_of_what_is_dropped_is_stored(
    site: Site, sql: psycopg.Connection[Any], mode: str, policy: dict[str, str], unclassified: str
) -> None:
    """Keys that are persons', and others than in the run before."""
    site.importer, site.unclassified = "jsonl", unclassified
    line = '{{"id":{0},"u":{{"n":{0},"in":{{"{1}@planted.example":1}}}},"scores":{{"{1}@planted.example":[1]}}}}\n'
    for number, who in enumerate(("ann", "bob"), 1):
        loaded = site.run(line.format(number, who), policy, schema_change=mode)
        assert (loaded.rows_loaded, loaded.rows_quarantined) == (1, 0)
    assert planted(sql) == []
    assert sql.execute("select id, u from acme.plays order by id").fetchall() == [(1, {"n": 1}), (2, {"n": 2})]


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_a_run_that_an_older_version_planned_is_finished(
    site: Site, sql: psycopg.Connection[Any], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its plan has each key, which is a person's."""
    site.importer, (policy, _) = "jsonl", PERSONS[1]
    line = '{{"id":{0},"u":{{"n":{0},"in":{{"{1}@planted.example":1}}}},"scores":{{"{1}@planted.example":[1]}}}}\n'
    site.file.write_text(line.format(1, "ann"))
    with monkeypatch.context() as older, closing(site.job(policy, {"schema_change": mode}, [])) as job:
        older.setattr(treatments, "told", lambda job: job)
        plan.plan(job, "run 0")
    assert set(planted(sql)) == {"run"}
    done = run(site.job(policy, {"schema_change": mode}, []), "run 0", RunKind.INCREMENTAL, processes=1)
    assert (done.rows_loaded, done.rows_quarantined) == (1, 0)
    done = site.run(line.format(2, "bob"), policy, schema_change=mode)
    assert (done.rows_loaded, done.rows_quarantined) == (1, 0)
    assert sql.execute("select id, u from acme.plays order by id").fetchall() == [(1, {"n": 1}), (2, {"n": 2})]


@pytest.mark.parametrize("mode", ["evolve", "discard", "quarantine"])
def test_what_was_dropped_and_is_kept_today_is_read(site: Site, sql: psycopg.Connection[Any], mode: str) -> None:
    site.importer = "jsonl"
    text = '{"id":1,"o":{"a":1,"b":2}}\n'
    site.run(text, {"id": "keep", "o": "drop"}, schema_change=mode)
    site.run(text.replace("1", "3"), {"id": "keep", "o": "keep", "o.b": "drop"}, schema_change=mode)
    assert sql.execute("select id, o from acme.plays order by id").fetchall() == [(1, None), (3, {"a": 3})]


def test_a_column_that_is_dropped_today_holds_no_row(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.run(FIRST, schema_change="quarantine")
    site.run(KEPT_OUT, schema_change="quarantine")
    assert site.run(FIRST, {**POLICY, "extra": "drop"}, replay=True).rows_loaded == 1
    assert (rows(sql)[2], columns(sql)) == ((3, 30), TABLE)


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_an_object_s_fields_are_the_row_s_own(site: Site, sql: psycopg.Connection[Any], mode: str) -> None:
    """Arrow casts an object to one of fewer fields, and says nothing."""
    site.importer = "jsonl"
    site.run('{"id":1,"o":{"a":1}}\n', {"id": "keep", "o": "keep"}, schema_change="quarantine")
    more = '{"id":2,"o":{"a":1,"b":"x"}}\n{"id":3,"o":{"a":3}}\n'
    kept_out = site.run(more, {"id": "keep", "o": "keep"}, schema_change="quarantine")
    assert (kept_out.rows_loaded, kept_out.rows_quarantined) == (1, 1)
    narrow = {"id": "keep", "o.a": "keep"}
    replayed = site.run('{"id":9,"o":{"a":9}}\n', narrow, replay=True, schema_change=mode)
    assert (replayed.rows_loaded, replayed.rows_quarantined) == (0, 1)
    assert site.run('{"id":9,"o":{"a":9}}\n', {"id": "keep", "o": "keep"}, replay=True).rows_loaded == 1
    assert sql.execute("select o from acme.plays order by id").fetchall() == [
        ({"a": 1},),
        ({"a": 1, "b": "x"},),
        ({"a": 3},),
    ]


def test_an_object_of_another_shape_holds_no_row_back(site: Site, sql: psycopg.Connection[Any]) -> None:
    """Two deliveries have a new field as a number, and as text; a third has an agreed one as text."""
    site.importer, policy = "jsonl", {"id": "keep", "o": "keep"}
    for text in (
        '{"id":1,"o":{"a":1}}\n',
        '{"id":2,"o":{"a":2,"n":2}}\n',
        '{"id":3,"o":{"a":3,"n":"x"}}\n{"id":4,"o":{"a":4,"n":null}}\n',
        '{"id":5,"o":{"a":"x","n":null}}\n{"id":6,"o":{"a":"6","n":1}}\n',
    ):
        site.run(text, policy, schema_change="quarantine")
    replayed = site.run(text, policy, replay=True)
    assert (replayed.rows_read, replayed.rows_quarantined, sum(replayed.rules.values())) == (4, 2, 2)
    found = sql.execute("select id, o from acme.plays order by id").fetchall()
    assert found == [(1, {"a": 1}), (2, {"a": 2, "n": 2}), (4, {"a": 4}), (6, {"a": 6, "n": 1})]


def test_a_stream_of_another_name_is_replayed_by_it(site: Site) -> None:
    """A task of Airflow's takes one stream, and doesn't ask which if there is one."""
    site.stream = "old"
    site.run(FIRST)
    site.stream = "new"
    site.run(FIRST)
    site.job(POLICY, {}, [], replay=True).close()
    tenant = site.tenant(POLICY, {}, [])
    site.file.write_text("id,id\n1,2\n")
    assert {job.stream.name for job in jobs(site.installation, tenant, "listening", replay=True)} == {"old", "new"}
    (job,) = jobs(site.installation, tenant, "listening", ["old"], replay=True)
    assert job.stream.name == "old"


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_a_column_that_has_gone_stops_the_run_before_anything_is_read(
    site: Site, sql: psycopg.Connection[Any], mode: str
) -> None:
    policy = {"id": "keep", "millis": "keep", "ms": "keep"}
    site.run(FIRST.replace("who", "millis"), policy, schema_change=mode)
    with pytest.raises(ContractError, match=r"have gone that the last run had: millis \(millis may be length now\)"):
        site.run("id,length,ms\n3,cy,30\n", policy, schema_change=mode)
    assert sql.execute("select count(*) from _importers.run where state <> 'failed'").fetchone() == (1,)
    assert sql.execute("select count(*) from acme.plays").fetchone() == (2,)


@pytest.mark.parametrize("mode", ["evolve", "freeze", "discard", "quarantine"])
def test_an_optional_column_that_is_missing_is_null_and_may_come_back(
    site: Site, sql: psycopg.Connection[Any], mode: str
) -> None:
    rule = [{"expect_column_values_to_be_between": {"column": "ms", "min_value": 0}}]
    load: dict[str, Any] = {"schema_change": mode, "optional": ["ms"], "expect": rule}
    for text in (FIRST, "id,who\n3,cy\n", "id,who\n4,di\n", "id,who,ms\n5,ed,50\n6,flo,-1\n"):
        site.run(text, **load)
    assert rows(sql) == [(1, 10), (2, 20), (3, None), (4, None), (5, 50)]


def test_an_optional_column_may_have_a_type_that_is_set(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.types = {"ms": "number"}
    load: dict[str, Any] = {"optional": ["ms"], "mode": "append"}
    site.run(FIRST, file="m-1.csv", **load)
    site.run("id,who\n3,cy\n", file="m-2.csv", **load)
    assert rows(sql) == [(1, 10), (2, 20), (3, None)]
    site.types = {"msec": "number"}
    with pytest.raises(ConfigError, match="`types` names a column 'msec' that the files lack"):
        site.run(FIRST, file="m-3.csv", **load)


def test_an_unclassified_new_column_still_stops_an_open_contract(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.run(FIRST)
    with pytest.raises(PrivacyError, match="extra"):
        site.run("id,extra,who,ms\n3,x,cy,30\n")
    site.run("id,extra,who,ms\n3,x,cy,30\n", {**POLICY, "extra": "keep"})
    assert columns(sql) == {**TABLE, "extra": "text"}


def test_a_preview_shows_what_the_contract_lets_in(site: Site) -> None:
    site.run(FIRST, schema_change="quarantine")
    site.file.write_text("id,extra,who,ms\n3,x,cy,30\n4,,di,40\n")
    with closing(site.job(POLICY, {"schema_change": "quarantine"}, [])) as job:
        seen = preview(job)
    assert (seen.bad, seen.table.to_pylist()) == (1, [{"id": 4, "ms": 40}])


def test_a_contract_that_changes_in_mid_run_is_noticed(site: Site) -> None:
    site.file.write_text(FIRST)
    with closing(site.job(POLICY, {}, [])) as one, closing(site.job(POLICY, {"schema_change": "discard"}, [])) as other:
        assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize(("mode", "refused"), [("discard", True), ("evolve", False)])
def test_no_version_loads_what_another_has_judged_by_a_closed_contract(
    site: Site, monkeypatch: pytest.MonkeyPatch, mode: str, refused: bool
) -> None:
    site.file.write_text(FIRST)
    with closing(site.job(POLICY, {"schema_change": mode}, [])) as job:
        planned = plan.plan(job, "run")
        fixed = job.fixed(planned)
        extract.stage(fixed, planned, 0)
        passed = gate.gate(fixed, planned).run
        monkeypatch.setattr(contract, "VERSION", contract.VERSION + 1)
        if refused:
            with pytest.raises(ConfigError, match="the tenant's file, or importers, has changed since the gate"):
                load.load(fixed, passed, 0)
        assert load.load(fixed, gate.gate(fixed, planned).run, 0).loaded == 2


MONTH = {**POLICY, "note": "keep"}
SECOND = "id,note,who,ms\n3,x,cy,30\n4,,di,40\n"


@pytest.mark.parametrize(
    ("mode", "loaded", "held"),
    [
        ("evolve", [(1, None), (2, None), (3, "x"), (4, None)], 0),
        ("discard", [(1,), (2,), (3,), (4,)], 0),
        ("quarantine", [(1,), (2,), (4,)], 1),
    ],
)
def test_the_contract_decides_on_a_column_of_next_month_s_file(
    site: Site, sql: psycopg.Connection[Any], mode: str, loaded: list[Any], held: int
) -> None:
    site.run(FIRST, file="m-1.csv", schema_change=mode)
    assert site.run(SECOND, MONTH, file="m-2.csv", schema_change=mode).rows_quarantined == held
    there = "id, note" if mode == "evolve" else "id"
    assert sql.execute(f"select {there} from acme.plays order by id").fetchall() == loaded


def test_a_frozen_table_refuses_next_month_s_column_and_shows_both(site: Site) -> None:
    site.run(FIRST, file="m-1.csv", schema_change="freeze")
    with pytest.raises(ContractError, match=r"note.*id.*ms"):
        site.run(SECOND, MONTH, file="m-2.csv", schema_change="freeze")


def test_a_frozen_object_stays_as_it_was_agreed_on(site: Site, sql: psycopg.Connection[Any]) -> None:
    """The table has JSON, which would hold anything."""
    site.importer = "jsonl"

    def deliver(text: str, **leaf: str) -> Result:
        return site.run(text, {"id": "keep", "o": "keep", **leaf}, schema_change="freeze")

    deliver('{"id":1,"o":{"a":1,"b":1}}\n')
    for text in ('{"id":2,"o":{"a":2,"mail":"ada@x.org"}}\n', '{"id":2,"o":{"a":1.5}}\n', '{"id":2,"o":[{"a":1}]}\n'):
        with pytest.raises(ContractError, match="are frozen, and others arrive within o"):
            deliver(text)
    null = deliver('{"id":3}\n{"id":4,"o":{"a":null}}\n')
    assert (null.rows_loaded, null.rows_quarantined) == (2, 0)
    assert deliver('{"id":5}\n').rows_loaded == 1
    assert deliver('{"id":6,"o":{"a":6,"b":2}}\n').rows_loaded == 1
    assert deliver('{"id":7,"o":{"a":"x"}}\n').rows_quarantined == 1
    assert deliver('{"id":8,"o":{"a":8,"mail":"ada@x.org"}}\n', **{"o.mail": "drop"}).rows_loaded == 1
    assert sql.execute("select id, o from acme.plays order by id").fetchall() == [
        (1, {"a": 1, "b": 1}),
        (3, None),
        (4, {"a": None, "b": None}),
        (5, None),
        (6, {"a": 6, "b": 2}),
        (8, {"a": 8, "b": None}),
    ]


def test_who_reads_all_months_again_has_nulls_before_a_column_came(site: Site, sql: psycopg.Connection[Any]) -> None:
    """A month that lacks what it or an earlier one had is refused: nulls would look like data."""
    site.run(FIRST, file="m-1.csv", mode="replace")
    site.run(SECOND, MONTH, file="m-2.csv", mode="replace")
    found = sql.execute("select id, note from acme.plays order by id").fetchall()
    assert found == [(1, None), (2, None), (3, "x"), (4, None)]
    site.run(FIRST, MONTH, file="m-1.csv", mode="replace")  # when it is known
    assert sql.execute("select count(note), count(*) from acme.plays").fetchone() == (1, 4)
    with pytest.raises(ContractError, match=r"m-1.csv.*fewer: ms"):
        site.run("id,who\n1,ann\n2,bob\n", MONTH, file="m-1.csv", mode="replace")
    assert rows(sql) == [(1, 10), (2, 20), (3, 30), (4, 40)]
    (site.data / "m-1.csv").write_text(FIRST)
    site.run(SECOND, MONTH, file="m-4.csv", mode="replace")
    with pytest.raises(ContractError, match=r"m-3.csv.*fewer: note"):
        site.run(FIRST, MONTH, file="m-3.csv", mode="replace")
    assert site.run(FIRST, MONTH, file="m-3.csv", mode="replace", optional=["note"]).rows_loaded == 8


JANUARY = "id,who,ms\n0,al,5\n"


def test_no_name_says_that_a_file_is_older_than_a_column(site: Site, sql: psycopg.Connection[Any]) -> None:
    """It stands before the column's first file, and is of the month after it; or an older one has other columns now."""
    site.unclassified, load = "drop", {"mode": "merge", "primary_key": "id"}
    site.run(FIRST, file="plays-jan.csv", **load)
    site.run(SECOND, MONTH, file="plays-mar.csv", **load)
    found = sql.execute("select id, ms, note from acme.plays order by id").fetchall()
    for text in JANUARY, "id,who,ms,notes\n3,cy,30,x\n":
        with pytest.raises(ContractError, match=r"note"):
            site.run(text, MONTH, file="plays-apr.csv", **load)
    (site.data / "plays-apr.csv").unlink()
    with pytest.raises(ContractError, match=r"note"):
        site.run("id,who,ms,notes\n1,ann,10,x\n", MONTH, file="plays-jan.csv", **load)
    assert sql.execute("select id, ms, note from acme.plays order by id").fetchall() == found
    assert site.run("id,who,ms\n1,ann,11\n", MONTH, file="plays-jan.csv", **load).rows_loaded == 1


def test_a_file_in_place_of_another_has_the_columns_of_that(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.unclassified = "drop"
    site.run(FIRST, file="export-b.csv", mode="replace")
    (site.data / "export-b.csv").unlink()
    for text in "id,who\n1,ann\n", "id,who,millis\n1,ann,10\n":
        with pytest.raises(ContractError, match=r"have gone that the last run had: ms"):
            site.run(text, file="export-a.csv", mode="replace")
    assert rows(sql) == [(1, 10), (2, 20)]


def test_whose_rows_they_are_no_file_may_lack(site: Site, sql: psycopg.Connection[Any]) -> None:
    """Not the first ones either, and not those of an interval before it."""
    site.subject, policy = {"column": "who", "domain": "listener"}, {**POLICY, "who": "pseudonymise"}
    (site.data / "m-1.csv").write_text("id,ms\n1,10\n")
    with pytest.raises(ContractError, match=r"m-1.csv.*fewer: who"):
        site.run("id,who,ms\n2,bob,20\n", policy, file="m-2.csv")
    for file in site.data.iterdir():
        file.unlink()
    site.interval = "m-%Y-%m"
    site.run("id,who,ms\n2,bob,20\n", policy, file="m-2026-02.csv", mode="merge", primary_key="id")
    (site.data / "m-2026-01.csv").write_text("id,ms\n1,10\n")
    with pytest.raises(ContractError, match="have gone that the last run had: who"):
        site.backfill("2026-01", policy, mode="merge", primary_key="id")
    assert sql.execute("select id from acme.plays").fetchall() == [(2,)]


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_an_interval_from_before_a_column_lacks_it_however_files_are_called(
    site: Site, sql: psycopg.Connection[Any], mode: str
) -> None:
    site.interval, site.unclassified = "%d-%m-%Y", "drop"
    load = {"mode": mode} | ({"primary_key": "id"} if mode == "merge" else {})
    for name, text in ("31-01-2026", FIRST), ("02-02-2026", SECOND), ("01-02-2026", "id,who,ms\n9,zoe,90\n"):
        (site.data / f"{name}.csv").write_text(text)
        policy = POLICY if text is FIRST else MONTH
        assert site.backfill("-".join(reversed(name.split("-"))), policy, **load).rows_loaded > 0
    found = sql.execute("select id, note from acme.plays order by id").fetchall()
    assert found == [(1, None), (2, None), (3, "x"), (4, None), (9, None)]
    for name, text in ("03-02-2026", JANUARY), ("01-02-2026", "id,who,ms,notes\n9,zoe,90,y\n"):
        (site.data / f"{name}.csv").write_text(text)
        with pytest.raises(ContractError, match="have gone that the last run had: note"):
            site.backfill("-".join(reversed(name.split("-"))), MONTH, **load)
    assert sql.execute("select id, note from acme.plays order by id").fetchall() == found


EVER = Window("2020-01-01T00:00:00+00:00", "2100-01-01T00:00:00+00:00")


@pytest.mark.parametrize("window", [EVER, None])
def test_no_run_from_the_beginning_puts_nulls_where_a_month_had_values(
    site: Site, sql: psycopg.Connection[Any], window: Window | None
) -> None:
    load = {"mode": "merge", "primary_key": "id"}
    site.run(FIRST, file="m-1.csv", **load)
    site.run(SECOND, MONTH, file="m-2.csv", **load)

    def again(number: int) -> None:
        kind = RunKind.WINDOW if window else RunKind.INCREMENTAL
        job = site.job(MONTH, load, [])
        run(job, f"again {number}", kind, window, processes=1, full_refresh=window is None)

    again(1)
    (site.data / "m-1.csv").write_text("id,who\n1,ann\n2,bob\n")
    with pytest.raises(ContractError, match=r"m-1.csv.*fewer: ms"):
        again(2)
    (site.data / "m-1.csv").write_text(FIRST)
    (site.data / "m-2.csv").write_text("id,who,ms\n3,cy,30\n")
    with pytest.raises(ContractError, match=r"have gone that the last run had: note"):
        again(3)
    found = sql.execute("select id, ms, note from acme.plays order by id").fetchall()
    assert found == [(1, 10, None), (2, 20, None), (3, 30, "x"), (4, 40, None)]


def test_an_optional_column_may_be_missing_where_a_new_one_comes(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.run(FIRST, file="m-1.csv", optional=["ms"])
    site.run("id,note,who\n3,x,cy\n", MONTH, file="m-2.csv", optional=["ms"])
    found = sql.execute("select id, ms, note from acme.plays order by id").fetchall()
    assert found == [(1, 10, None), (2, 20, None), (3, None, "x")]


def test_a_column_that_is_yet_to_come_is_declared(site: Site, sql: psycopg.Connection[Any]) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.columns names 'note', which the stream lacks"):
        site.run(FIRST, MONTH, file="m-1.csv")
    site.run(FIRST, MONTH, file="m-1.csv", optional=["note"])
    site.run(SECOND, MONTH, file="m-2.csv", optional=["note"])
    assert sql.execute("select id, note from acme.plays order by id").fetchall() == [
        (1, None),
        (2, None),
        (3, "x"),
        (4, None),
    ]


def test_a_column_that_is_dropped_unclassified_may_go(site: Site, sql: psycopg.Connection[Any]) -> None:
    site.unclassified = "drop"
    for number, text in enumerate(("id,ms\n1,10\n", "id,ms,note\n2,20,x\n", "id,ms\n3,30\n")):
        site.run(text, {"id": "keep", "ms": "keep"}, file=f"m-{number}.csv")
    assert (rows(sql), columns(sql)) == ([(1, 10), (2, 20), (3, 30)], TABLE)


@pytest.mark.parametrize("others", [{}, {"*": "drop"}])
def test_no_column_has_another_name_among_those_that_nobody_wants(
    site: Site, sql: psycopg.Connection[Any], others: dict[str, str]
) -> None:
    """By their names April's file comes before March's, in which the column is as the policy has it."""
    site.unclassified, policy = "stop" if others else "drop", {"id": "keep", "ms": "keep", **others}
    (site.data / "apr.csv").write_text("id,millis\n4,40\n")
    with pytest.raises(ContractError, match=r"apr\.csv' lacks ms, and has millis, which a file with ms lacks"):
        site.run("id,ms\n3,30\n", policy, file="mar.csv")
    site.run("id,ms\n4,40\n", policy, file="apr.csv")
    (site.data / "jun.csv").write_text("id,ms,ekstra\n6,60,x\n")
    with pytest.raises(ContractError, match=r"jun\.csv' lacks extra, and has ekstra"):
        site.run("id,ms,extra\n7,70,y\n", {**policy, "extra": "keep"}, file="may.csv")
    site.run("id,ms,extra\n7,70,y\n", {**policy, "extra": "keep", "ekstra": "drop"}, file="may.csv")
    assert rows(sql) == [(3, 30), (4, 40), (6, 60), (7, 70)]


def test_a_column_that_next_month_s_file_lacks_has_gone(site: Site) -> None:
    site.run(FIRST, file="m-1.csv")
    with pytest.raises(ContractError, match=r"have gone that the last run had: ms"):
        site.run("id,who\n3,cy\n", file="m-2.csv")
    assert site.run("id,who\n3,cy\n", file="m-2.csv", optional=["ms"]).rows_loaded == 1


OURS = ("_run", "_version", "_partition", "_deleted", "_subject")


def test_what_is_dropped_may_be_called_as_a_column_of_ours(site: Site, sql: psycopg.Connection[Any]) -> None:
    """None of it is read, so that no row of the file is a tombstone, or older than it is."""
    text = f"id,who,ms,{','.join(OURS)}\n1,ann,10,7,-9,1,true,bob\n"
    result = site.run(text, POLICY | dict.fromkeys(OURS, "drop"), mode="merge", primary_key="id")
    assert rows(sql) == [(1, 10)]
    told = {leaf.source: leaf.treatment for leaf in result.lineage}
    assert told == {"id": "keep", "who": "drop", "ms": "keep", **dict.fromkeys(OURS, "drop")}
    for column in OURS:
        with pytest.raises(ConfigError, match=f"names that importers adds; got {column}"):
            site.run(text, POLICY | dict.fromkeys(OURS, "drop") | {column: "keep"}, mode="merge", primary_key="id")
    ruled = [{"expect_column_values_to_not_be_null": {"column": "_run"}}]
    with pytest.raises(ConfigError, match="names that importers adds; got _run"):
        site.run(text, POLICY | dict.fromkeys(OURS, "drop"), mode="merge", primary_key="id", expect=ruled)


def test_a_new_column_that_is_called_as_ours_is_none_of_ours(site: Site, sql: psycopg.Connection[Any]) -> None:
    """The contract looks at what is new: a row was deleted by what its file had in `_deleted`."""
    merge = {"mode": "merge", "primary_key": "id", "schema_change": "quarantine"}
    site.run(FIRST, **merge)
    with pytest.raises(ConfigError, match="names that importers adds; got _deleted"):
        site.run("id,who,ms,_deleted\n1,ann,11,true\n", **merge)
    assert rows(sql) == [(1, 10), (2, 20)]
