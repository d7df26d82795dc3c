"""Rows of one table are treated alike where that tells them apart, whichever pipeline brings them. Rows are by hand."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from importers.core.model import Run, RunKind
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ContractError
from importers.pipeline import extract, gate, load
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.plan import foresee, plan
from importers.pipeline.run import Result, run

Sql = psycopg.Connection[Any]
NOBODY = {"none": True, "reason": "invented"}
MERGE, HISTORY = {"mode": "merge", "primary_key": "who"}, {"mode": "history", "primary_key": "who"}
APPEND, REPLACE = {"mode": "append"}, {"mode": "replace"}
WHO = {"who": "pseudonymise", "v": "keep"}
SECRET = {"who": {"encrypt": {"deterministic": True}}, "v": "keep"}


def domain(name: str) -> dict[str, Any]:
    return {"who": {"pseudonymise": {"domain": name}}, "v": "keep"}


def subject(name: str) -> dict[str, str]:
    return {"column": "who", "domain": name}


def said(columns: dict[str, Any], load: dict[str, Any], subject: dict[str, Any] = NOBODY, **more: Any) -> Any:
    """A pipeline as the tenant's file has it."""
    privacy = {"purpose": "tests", "lawful_basis": "contract", "columns": columns, "subject": subject}
    return {"importer": "csv", "privacy": privacy, "load": load, "quarantine": {"max_fraction": 1.0}} | more


class Site:
    """A tenant whose pipelines read `rows`, each from a directory of its own."""

    def __init__(self, root: Path, warehouse: str) -> None:
        self.installation = Installation(root, warehouse, False, str(root / "staging"), str(root / "quarantine"))
        self.root = root

    def deliver(self, pipeline: str, *rows: str, head: str = "who,v") -> None:
        place = self.root / pipeline
        place.mkdir(exist_ok=True)
        (place / f"{len(list(place.iterdir()))}.csv").write_text("\n".join([head, *rows, ""]))

    def job(self, pipeline: str, *, replay: bool = False, **pipelines: Any) -> Job:
        described = {name: {"config": {"path": f"{self.root}/{name}/*.csv"}} | how for name, how in pipelines.items()}
        tenant = Tenant.model_validate({"tenant": "acme", "pipelines": described})
        (job,) = jobs(self.installation, tenant, pipeline, replay=replay)
        return job

    def run(self, pipeline: str, *, kind: RunKind = RunKind.INCREMENTAL, refresh: bool = False, **said: Any) -> Result:
        job = self.job(pipeline, replay=kind is RunKind.REPLAY, **said)
        return run(job, kind=kind, full_refresh=refresh, processes=1)


@pytest.fixture
def site(tmp_path: Path, database: str, encryption_key: str) -> Site:
    site = Site(tmp_path, database)
    site.deliver("one", "ada,1", "bob,2")
    return site


def rows(sql: Sql, table: str = "rows") -> int:
    (number,) = sql.execute(f"select count(*) from acme.{table}").fetchone() or (0,)  # type: ignore[arg-type]
    return int(number)


# -- keys

KEYS = [
    (said(domain("a"), MERGE), said(domain("b"), MERGE), "pseudonymise(b); by run 1 of acme.one.rows pseudonymise(a)"),
    (
        said(WHO, MERGE),
        said(WHO, MERGE, subject("customer")),
        "pseudonymise(customer); by run 1 of acme.one.rows pseudonymise(default)",
    ),
    (said(WHO, HISTORY, subject("a")), said(WHO, HISTORY, subject("b")), None),
    (said(SECRET, MERGE), said(SECRET, MERGE, subject("b")), None),
]


@pytest.mark.parametrize(("before", "after", "got"), KEYS)
def test_a_key_that_is_treated_otherwise_is_refused_before_anything_is_read(
    site: Site, sql: Sql, before: Any, after: Any, got: str | None
) -> None:
    site.run("one", one=before)
    site.deliver("one", "ada,3")
    for refresh in (False, True):
        with pytest.raises(ContractError, match=r"'who', of the key of acme\.rows, would be treated other") as refused:
            site.run("one", one=after, refresh=refresh)
        assert refused.value.got == got or got is None
        with closing(site.job("one", one=after)) as job, pytest.raises(ContractError, match="would be there twice"):
            foresee(job, full_refresh=refresh)
    assert sql.execute("select state from _importers.run where state <> 'failed'").fetchall() == [("committed",)]
    assert rows(sql) == 2
    # both ways out that the message names
    elsewhere = after | {"load": after["load"] | {"table": "other"}}
    assert site.run("one", one=elsewhere).rows_loaded == 3
    assert site.run("one", one=before).rows_loaded == 1
    assert (rows(sql), rows(sql, "other")) == (2 if after["load"]["mode"] == "merge" else 3, 2)


def test_neither_does_a_replay_double_a_row(site: Site, sql: Sql) -> None:
    typed = {"config": {"path": f"{site.root}/one/*.csv", "types": {"v": "integer"}}}
    site.deliver("one", "ada,x")
    site.run("one", one=said(domain("a"), MERGE, **typed))
    with pytest.raises(ContractError, match="would be there twice"):
        site.run("one", kind=RunKind.REPLAY, one=said(domain("b"), MERGE))
    assert rows(sql) == 2


@pytest.mark.parametrize("load", [APPEND, REPLACE])
def test_rows_that_have_no_key_are_told_apart_by_none(site: Site, load: dict[str, Any]) -> None:
    site.run("one", one=said(domain("a"), load))
    site.deliver("one", "eve,3")
    site.run("one", one=said(domain("b"), load))


def test_a_table_that_has_no_row_of_before_may_have_its_key_so(site: Site, sql: Sql) -> None:
    site.run("one", one=said(domain("a"), MERGE))
    sql.execute("drop view acme.rows; drop table acme.rows__rows")
    with closing(site.job("one", one=said(domain("b"), MERGE))) as job:
        opened = plan(job, "dies")
        extract.stage(job, opened, 0)
        gate.gate(job, opened)  # the table is there again, and empty
    assert site.run("one", one=said(domain("c"), MERGE)).rows_loaded == 2
    site.deliver("one", "ada,3")
    site.run("one", one=said(domain("c"), MERGE))  # what the dropped table had is no matter for good
    assert rows(sql) == 2


def test_what_an_aborted_run_left_counts(site: Site, sql: Sql) -> None:
    site.run("one", one=said(domain("a"), MERGE))
    sql.execute("update _importers.run set state = 'aborted'")
    with pytest.raises(ContractError, match="would be there twice"):
        site.run("one", one=said(domain("b"), MERGE))


def test_of_two_runs_that_begin_at_once_the_second_to_prepare_the_table_is_refused(site: Site, sql: Sql) -> None:
    """Each is imported by Python: no file has both, and neither finds a table as it is planned."""
    site.deliver("two", "ada,3")
    sharing = MERGE | {"shared": True}
    one, two = (site.job(name, **{name: said(domain(name), sharing)}) for name in ("one", "two"))
    with closing(one), closing(two):
        first, second = (_staged(job) for job in (one, two))
        first = gate.gate(one, first).run
        with pytest.raises(ContractError, match="would be there twice"):
            gate.gate(two, second)
        load.load(one, first, 0)
    assert rows(sql) == 2


def _staged(job: Job) -> Run:
    opened = plan(job, "at once")
    extract.stage(job, opened, 0)
    return opened


# -- tables that pipelines share

ID = {"id": "keep", "x": "keep"}
SHARED, ADDED = {"mode": "merge", "primary_key": "id", "shared": True}, {"mode": "append", "shared": True}
SOMEBODY = {"column": "id", "domain": "customer"}


@pytest.fixture
def both(site: Site) -> Site:
    site.deliver("first", "1,one", "2,two", head="id,x")
    site.deliver("second", "2,zwei", "3,drei", head="id,x")
    return site


@pytest.mark.parametrize(
    ("load", "first", "second", "got"),
    [
        (ADDED, (ID,), ({"id": "keep", "x": {"mask": "initials"}},), "x: mask(initials); by pipeline first keep"),
        (SHARED, (ID,), ({"id": "keep", "x": "drop"},), "x: drop; by pipeline first keep"),
        (SHARED, ({"id": "keep", "x": "drop"},), (ID,), "x: keep; by pipeline first drop"),
        (SHARED, (ID,), (ID, SOMEBODY), "subjects in the domain 'customer'; by pipeline first no subject"),
        (
            ADDED,
            (ID, {"column": "id", "domain": "staff"}),
            (ID, SOMEBODY),
            "subjects in the domain 'customer'; by pipeline first subjects in the domain 'staff'",
        ),
    ],
)
def test_who_shares_a_table_treats_alike_what_is_in_it(
    both: Site, sql: Sql, load: dict[str, Any], first: Any, second: Any, got: str
) -> None:
    pipelines = {
        name: said(columns, load, *subject) for name, (columns, *subject) in (("first", first), ("second", second))
    }
    both.run("first", **pipelines)
    with pytest.raises(ConfigError, match=r"'acme\.rows' is shared, and its writers don't treat alike") as refused:
        both.run("second", **pipelines)
    assert refused.value.got == got
    assert rows(sql) == 2
    elsewhere = pipelines["second"] | {"load": load | {"table": "other"}}
    assert both.run("second", **pipelines | {"second": elsewhere}).rows_loaded == 2


def test_a_key_that_is_treated_otherwise_by_another_is_refused(site: Site, sql: Sql) -> None:
    site.deliver("two", "ada,3")
    pipelines = {name: said(domain(name), MERGE | {"shared": True}) for name in ("one", "two")}
    site.run("one", **pipelines)
    with pytest.raises(ContractError, match="would be there twice") as refused:
        site.run("two", **pipelines)
    assert refused.value.got == "pseudonymise(two); by run 1 of acme.one.rows pseudonymise(one)"
    assert rows(sql) == 2


def test_a_treatment_is_changed_for_all_who_share(both: Site, sql: Sql) -> None:
    """What the other loaded last was treated as before, too: the file of today counts."""
    before = dict.fromkeys(("first", "second"), said(ID, SHARED))
    for name in before:
        both.run(name, **before)
    after = dict.fromkeys(before, said({"id": "keep", "x": "drop"}, SHARED))
    for name in after:
        both.deliver(name, "4,vier", head="id,x")
        both.run(name, **after)
    assert sql.execute("select id, x from acme.rows order by 1").fetchall() == [
        (1, "one"), (2, "zwei"), (3, "drei"), (4, None)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "second",
    [
        pytest.param((ID, ADDED, SOMEBODY), id="somebody's"),
        pytest.param(({"id": "keep", "x": "drop"}, ADDED), id="less"),
    ],
)
def test_what_is_appended_takes_nothing_from_what_is_there(both: Site, sql: Sql, second: Any) -> None:
    pipelines = {"first": said(ID, ADDED), "second": said(*second)}
    for name in pipelines:
        both.run(name, **pipelines)
    assert rows(sql) == 4


LACKING = r"'acme\.rows' is shared, and merged rows would lose what others bring"


def test_a_column_that_another_brings_is_not_nulled_by_a_merge(both: Site, sql: Sql) -> None:
    both.deliver("third", "1,eins", head="id,y")
    apart = {"id": "keep", "y": "keep"}
    pipelines = {"first": said(ID, SHARED), "third": said(apart, SHARED)}
    both.run("first", **pipelines)
    with pytest.raises(ConfigError, match=LACKING) as refused:
        both.run("third", **pipelines)
    assert refused.value.got == "x, by pipeline first"
    alone = said(apart, SHARED)  # as Python imports it, whose tenant has no other
    with pytest.raises(ConfigError, match=LACKING):
        both.run("third", third=alone)
    assert sql.execute("select * from acme.rows where x is null").fetchall() == []
    may = said(apart, SHARED | {"optional": ["x"]})
    both.run("third", **pipelines | {"third": may})
    assert sql.execute("select id, x, y from acme.rows order by 1").fetchall() == [(1, None, "eins"), (2, "two", None)]
    with pytest.raises(ConfigError, match=LACKING):  # one runs ahead by a column
        both.run("first", **pipelines | {"third": may})
    # where rows have no keys none loses anything
    pipelines = {"first": said(ID, ADDED | {"table": "all"}), "third": said(apart, ADDED | {"table": "all"})}
    for name in pipelines:
        both.run(name, **pipelines)
    assert rows(sql, "all") == 3


def test_whoever_is_gone_from_the_file_brings_nothing_any_more(both: Site, sql: Sql) -> None:
    """One that lacked its column is alone; or it has another name, and drops the column by now."""
    both.deliver("third", "1,eins", head="id,y")
    apart = {"id": "keep", "y": "keep"}
    before, lacks = said(ID, SHARED), said(apart, SHARED | {"optional": ["x"]})
    both.run("first", first=before, third=lacks)
    both.run("third", first=before, third=lacks)
    both.deliver("third", "5,cinq", head="id,y")
    both.run("third", third=said(apart, SHARED))
    (both.root / "first").rename(both.root / "renamed")
    less = said({"id": "keep", "x": "drop"}, SHARED | {"optional": ["y"]})
    assert both.run("renamed", renamed=less).rows_loaded == 2


def test_a_field_that_only_some_records_have_is_not_lacking(both: Site, sql: Sql) -> None:
    """JSON: what is rare may be in no record of a sample."""
    lines = {"importer": "jsonl", "config": {"path": f"{both.root}/rare/*.jsonl", "stream": "rows"}}
    pipelines = {"first": said(ID, SHARED), "rare": said(ID, SHARED, **lines)}
    place = both.root / "rare"
    place.mkdir()
    (place / "0.jsonl").write_text('{"id": 7, "x": "seven"}\n')
    both.run("rare", **pipelines)
    both.run("first", **pipelines)
    (place / "1.jsonl").write_text('{"id": 8}\n')
    assert both.run("rare", **pipelines).rows_loaded == 1
    assert rows(sql) == 4
