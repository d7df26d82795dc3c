"""PostgreSQL as a source: what it holds is what arrives, and nothing that commits late is missed."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlencode

import psycopg
import pyarrow as pa
import pytest
import trustme
from pg_types import TYPES
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb
from tests.support.postgres_tls import encrypting

from importers.core.connection import Connection
from importers.core.model import Column, Reads, RunKind, Stream, Window
from importers.core.tenant import Tenant
from importers.exceptions import (
    ConfigError,
    ContractError,
    FatalSourceError,
    PrivacyError,
    QualityError,
    TransientSourceError,
)
from importers.pipeline import extract, plan
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Result, run
from importers.sources.databases._pg_catalogue import Relation
from importers.sources.databases._pg_incremental import plan_by_cursor
from importers.sources.databases._pg_query import Select
from importers.sources.databases._pg_types import Kind
from importers.sources.databases.postgresql import Postgresql

Import: TypeAlias = Callable[..., Result]


@pytest.fixture
def installation(database: str, tmp_path: Path) -> Installation:
    return Installation(tmp_path, database, True, str(tmp_path / "staging"), str(tmp_path / "quarantine"))


@pytest.fixture
def job(installation: Installation, database: str) -> Callable[..., Job]:
    def make(
        config: dict[str, Any],
        load: dict[str, Any],
        *,
        url: str = database,
        reason: str | None = "made up for a test",
        expect: Sequence[Any] = (),
        **columns: str,
    ) -> Job:
        pipeline = {
            "importer": "postgresql",
            "config": config,
            "quarantine": {"max_fraction": 0.9},
            "expect": expect,
            "privacy": {
                "subject": {"none": True, "reason": "measured by machines"},
                "columns": columns or {"*": "keep"},
                "reason": reason,
            },
            "load": load,
        }
        tenant = Tenant.model_validate({"tenant": "acme", "pipelines": {"copy": pipeline}})
        (made,) = jobs(installation, tenant, "copy", connection=Connection({"url": url}))
        return made

    return make


@pytest.fixture
def bring(job: Callable[..., Job]) -> Import:
    """Import once, in this process."""

    def go(config: dict[str, Any], load: dict[str, Any], window: Window | None = None, **more: Any) -> Result:
        kind = RunKind.WINDOW if window else RunKind.INCREMENTAL
        with closing(job(config, load, **more)) as made:
            return run(made, None, kind, window, processes=1)

    return go


APPEND = {"tables": ["events"], "read": "incremental", "cursor": "id"}


def events(sql: psycopg.Connection) -> None:
    sql.execute("create table events (id bigserial primary key, what text, at timestamptz not null default now())")


def numbers(sql: psycopg.Connection, table: str = "acme.events") -> list[int]:
    return [n for (n,) in sql.execute(f"select id from {table} order by id").fetchall()]  # type: ignore[arg-type]


def test_every_type_arrives_as_the_server_itself_writes_it(sql: psycopg.Connection, bring: Import) -> None:
    """The second source is PostgreSQL's own text of a value, of the source's column and of the destination's."""
    sql.execute("create type mood as enum ('sad', 'ok'); create domain price as numeric(10,2) check (value > 0)")
    sql.execute("set timezone = 'UTC'; set intervalstyle = 'iso_8601'")
    columns = {f"c{n}": kind for n, kind in enumerate(TYPES)}
    declared = ", ".join(f"{name} {kind}" for name, kind in columns.items())
    sql.execute(f"create table kinds (id int primary key, {declared})")  # type: ignore[arg-type]
    sql.execute(f"insert into kinds values (1, {', '.join(TYPES.values())})")  # type: ignore[arg-type]
    sql.execute("insert into kinds (id) values (2)")
    assert bring({"tables": ["kinds"]}, {"mode": "replace"}).rows_loaded == 2
    texts = ", ".join(f"{name}::text" for name in columns)
    there, here = (
        sql.execute(f"select {texts} from {table} order by id").fetchall()  # type: ignore[arg-type]
        for table in ("kinds", "acme.kinds")
    )
    assert [dict(zip(columns.values(), row, strict=True)) for row in here] == [
        dict(zip(columns.values(), row, strict=True)) for row in there
    ]


def test_arrays_and_composites_arrive_as_json(sql: psycopg.Connection, bring: Import) -> None:
    sql.execute("create type pair as (a int, b text)")
    sql.execute("create table nested (id int primary key, ns int[], ts text[], ds numeric(9,2)[], p pair)")
    sql.execute(
        """insert into nested values (1, '{1,null,3}', '{a,"b,c"}', '{1.50}', row(7, 'z')),
           (2, '{}', null, null, null)"""
    )
    bring({"tables": ["nested"]}, {"mode": "replace"})
    rows = sql.execute("select ns, ts, ds, p::json from acme.nested order by id").fetchall()
    assert rows == [([1, None, 3], ["a", "b,c"], ["1.50"], {"a": 7, "b": "z"}), ([], None, None, None)]


OPAQUE = {
    "json": """'{"a": 1,  "a": "\\u0000"}'""",
    "jsonb": """'[{"mail": "ada@example.org"}]'""",
    "pair": "row(7, 'z')",
    "pair[]": "array[row(7, 'z')::pair, null]",
    "jsonb[]": """array['{"a": 1}'::jsonb, null]""",
    "document": """'{"a": null}'""",
    "documents": """array['{"a": null}'::document]""",
    "xml": "null",
    "hstore": "'a=>1'",
}
"""Types with fields that nobody can classify, and a value. The server at hand is built without XML and has no hstore:
an enum stands in for that, by its name."""


def test_what_has_fields_that_nobody_classified_is_kept_only_for_a_reason(
    sql: psycopg.Connection, bring: Import
) -> None:
    """The second source is PostgreSQL's own JSON of a value; JSON itself arrives as it is written there."""
    sql.execute("create type hstore as enum ('a=>1'); create type pair as (a int, b text)")
    sql.execute("create domain document as jsonb; create domain documents as document[]")
    declared = ", ".join(f"c{n} {kind}" for n, kind in enumerate(OPAQUE))
    sql.execute(f"create table opaque (id int primary key, {declared})")  # type: ignore[arg-type]
    sql.execute(f"insert into opaque values (1, {', '.join(OPAQUE.values())})")  # type: ignore[arg-type]
    sql.execute("insert into opaque (id) values (2)")
    names = [f"c{n}" for n in range(len(OPAQUE))]
    queried = {"query": "select *, row(id, 'z') as r from opaque"}
    for name in (*names, "r"):
        alone = {"id": "keep"} | dict.fromkeys((*names, "r"), "drop") | {name: "keep"}
        with pytest.raises(ConfigError, match=f"JSON is kept whole.* got {name}"):
            bring(queried, {"mode": "replace"}, reason=None, **alone)
    kept = dict.fromkeys(("id", *names), "keep") | {"c1": "encrypt"}
    assert bring({"tables": ["opaque"]}, {"mode": "replace"}, reason="no person is in it", **kept).rows_loaded == 2
    texts = ", ".join(name for name in names if name != "c1")
    json = ", ".join("c0::text" if name == "c0" else f"to_jsonb({name})::text" for name in names if name != "c1")
    here = sql.execute(f"select {texts} from acme.opaque order by id").fetchall()  # type: ignore[arg-type]
    assert here == sql.execute(f"select {json} from opaque order by id").fetchall()  # type: ignore[arg-type]


def test_opaque_columns_pass_rules_and_quarantine(sql: psycopg.Connection, bring: Import) -> None:
    sql.execute("create table plays (id int primary key, payload jsonb, at date)")
    sql.execute(
        """insert into plays values (1, '{"a": 1}', 'infinity'), (2, '{"a": 2}', '2026-01-01'), (3, null, null)"""
    )
    result = bring({"tables": ["plays"]}, {"mode": "merge", "primary_key": "id"})
    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert sql.execute("select payload::jsonb from acme.plays order by id").fetchall() == [({"a": 2},), (None,)]


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("date", "'infinity'", "an infinite date"),
        ("timestamptz", "'-infinity'", "an infinite date"),
        ("timestamp", "'294276-12-31'", "an infinite date"),
        ("numeric(9,2)", "'NaN'", "not a number"),
        ("int[]", "'{{1,2},{3,4}}'", "an array of several dimensions"),
    ],
)
def test_what_arrow_can_t_hold_is_quarantined_with_its_reason(
    sql: psycopg.Connection, bring: Import, kind: str, value: str, reason: str
) -> None:
    sql.execute(f"create table odd (id int primary key, v {kind})")  # type: ignore[arg-type]
    sql.execute(f"insert into odd values (1, null), (2, {value}), (3, null)")  # type: ignore[arg-type]
    result = bring({"tables": ["odd"]}, {"mode": "replace"})
    assert (result.rows_loaded, result.rows_quarantined) == (2, 1)
    assert dict(result.rules) == {f"v: {reason}": 1}
    assert numbers(sql, "acme.odd") == [1, 3]


@pytest.mark.parametrize("cursor", ["id", "at", None])
def test_a_row_that_commits_late_is_neither_lost_nor_doubled(
    sql: psycopg.Connection, database: str, bring: Import, cursor: str | None
) -> None:
    events(sql)
    config = {"tables": ["events"], "read": "incremental"} | ({"cursor": cursor} if cursor else {})
    with psycopg.connect(database) as slow:
        slow.execute("insert into events (what) values ('begun first, committed last')")
        sql.execute("insert into events (what) values ('begun last, committed first')")
        bring(config, {"mode": "append"})
    bring(config, {"mode": "append"})
    bring(config, {"mode": "append"})
    assert numbers(sql) == [1, 2]


def test_an_update_is_read_whatever_its_cursor_says(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    sql.execute("insert into events (what) values ('old'), ('stays')")
    config, load = {"tables": ["events"], "read": "incremental"}, {"mode": "merge"}
    assert bring(config, load).rows_loaded == 2
    sql.execute("update events set what = 'new' where id = 1")
    assert bring(config, load).rows_loaded == 1
    assert sql.execute("select what from acme.events order by id").fetchall() == [("new",), ("stays",)]


def test_parts_of_a_table_hold_each_row_once(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 2)
    events(sql)
    sql.execute("insert into events (what) select repeat('x', 100) from generate_series(1, 5000)")
    result = bring(APPEND, {"mode": "append"})
    assert len(result.receipts) == 8
    assert min(receipt.rows for receipt in result.receipts) > 0
    assert numbers(sql) == list(range(1, 5001))


CUT = {"read": "full", "partition_by": "primary key", "partitions": 5}


@pytest.mark.parametrize(
    ("table", "value", "by"),
    [
        ("id bigint primary key", "g - 1000", "primary key"),
        ("id uuid primary key", "gen_random_uuid()", "primary key"),
        ("id timestamptz primary key", "now() + g * '1 s'::interval", "id"),
        ("id int, primary key (id, n)", "g / 100", "primary key"),
        ("id date", "case when g > 200 then '2026-01-01'::date + g end", "id"),
        ("id text primary key", "'https://example.org/plays/' || g", "primary key"),
        ("id varchar(9)", "case when g > 200 then chr(65 + 32 * (g % 2) + g % 26) || g % 400 end", "id"),
        ("id char(9) primary key", "(array['a' || chr(9), 'a ', 'a'])[1 + g % 3] || g", "primary key"),
    ],
)
def test_a_full_read_is_cut_by_ranges_that_hold_each_row_once(
    sql: psycopg.Connection, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, table: str, value: str, by: str
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 2)
    sql.execute(f"create table things (n int, what text, {table})")  # type: ignore[arg-type]
    sql.execute(f"insert into things (n, what, id) select g, repeat('x', 60), {value} from generate_series(1, 2000) g")  # type: ignore[arg-type]
    with closing(job({"tables": ["things"], **CUT, "partition_by": by}, {"mode": "replace"})) as made:
        parts = [read_numbers(made, part) for part in plan.plan(made, "r1").plan.partitions]
    assert sorted(n for part in parts for n in part) == list(range(1, 2001))
    assert len(parts) == 5
    assert all(len(part) > 100 for part in parts)


def read_numbers(job: Job, part: Any) -> list[int]:
    return [n for batch in job.source.read(job.stream, part) for n in batch.rows.column("n").to_pylist()]


def test_a_partitioned_table_is_cut_as_one(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 2)
    sql.execute(
        "create table events (id int primary key, what text) partition by range (id);"
        "create table events_1 partition of events for values from (0) to (1000);"
        "create table events_2 partition of events for values from (1000) to (9000);"
        "insert into events select g, repeat('x', 60) from generate_series(1, 2000) g"
    )
    assert len(bring({"tables": ["events"], **CUT}, {"mode": "replace"}).receipts) == 5
    assert numbers(sql) == list(range(1, 2001))


def test_what_is_written_between_two_ranges_loses_and_doubles_no_key(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row moves to another block after each part: one that is cut by blocks would be read twice, or never."""
    monkeypatch.setattr(Postgresql, "split_above", 2)
    events(sql)
    sql.execute("insert into events (what) select repeat('x', 60) from generate_series(1, 2000)")
    original, told = Postgresql.read, []

    def read(source: Postgresql, stream: Stream, part: Any) -> Any:
        yield from original(source, stream, part)
        told.append(part)
        at = len(told)
        sql.execute("update events set what = %s", (f"after part {at}",))
        sql.execute("delete from events where id = any(%s)", ([at, 2000 - at],))
        sql.execute("insert into events (id, what) values (%s, 'new'), (%s, 'new')", (-at, 5000 + at))

    monkeypatch.setattr(Postgresql, "read", read)
    result = bring({"tables": ["events"], **CUT}, {"mode": "replace"})
    assert len(result.receipts) == len(told) == 5
    # Of the first part all that it held at first; of the last what is left after four deletions, and four new keys.
    gone, new = {2000 - at for at in range(1, 5)}, set(range(5001, 5005))
    assert numbers(sql) == sorted({*range(1, 2001)} - gone | new)
    seen = dict(sql.execute("select what, count(*)::int from acme.events group by 1").fetchall())
    first = sum(count for what, count in seen.items() if what.startswith("xxx"))
    assert first + sum(seen.get(f"after part {at}", 0) for at in range(1, 5)) + seen["new"] == 2000
    assert min(first, *(seen[f"after part {at}"] for at in range(1, 5))) > 100


def test_a_range_isn_t_read_from_a_replica_that_lags(
    sql: psycopg.Connection, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 1)
    events(sql)
    sql.execute("insert into events (what) select repeat('x', 60) from generate_series(1, 500)")
    with closing(job({"tables": ["events"], **CUT}, {"mode": "replace"})) as made:
        part: Any = plan.plan(made, "r1").plan.partitions[0]
        with pytest.raises(TransientSourceError, match="hasn't come as far"):
            list(made.source.read(made.stream, {**part, "reached": "999999999"}))


def test_what_can_t_be_cut_is_read_in_one_part_and_says_so(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 1)
    sql.execute("create table events (id numeric primary key, what text)")
    sql.execute("insert into events select g, repeat('x', 60) from generate_series(1, 999) g")
    result = bring({"tables": ["events"], **CUT}, {"mode": "replace"})
    assert len(result.receipts) == 1
    assert result.notes == ("'events' is read in one part: its primary key begins with a numeric",)
    with pytest.raises(ConfigError, match=r"can't be cut by 'id'.*numeric"):
        bring({"tables": ["events"], **CUT, "partition_by": "id"}, {"mode": "replace"})


def test_where_ranges_begin_is_no_value_of_a_person(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan is stored, and no erasure looks into it."""
    monkeypatch.setattr(Postgresql, "split_above", 1)
    sql.execute("create table people (who bigint primary key, what text)")
    sql.execute("insert into people select 4916200000000 + g, repeat('x', 60) from generate_series(1, 500) g")
    with pytest.raises(ConfigError, match="ranges of 'who'"):
        bring({"tables": ["people"], **CUT}, {"mode": "replace"}, who="pseudonymise", what="keep")
    assert sql.execute("select count(*) from _importers.run where plan -> 'partitions' <> '[]'").fetchone() == (0,)


def test_of_a_text_a_plan_says_no_more_than_parts_it_from_others(
    sql: psycopg.Connection, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Postgresql, "split_above", 2)
    sql.execute("create table things (id text primary key, what text)")
    sql.execute("insert into things select md5(g::text), repeat('x', 60) from generate_series(1, 2000) g")
    with closing(job({"tables": ["things"], **CUT}, {"mode": "replace"})) as made:
        parts: Any = plan.plan(made, "r1").plan.partitions
    begins = [part["from"] for part in parts[1:]]
    assert begins == sorted(begins)
    assert all(3 <= len(begin) <= 7 for begin in begins)  # 2000 random numbers differ in their first 11 bits or so


def test_a_lookback_bounds_where_late_rows_are_looked_for(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    load = {"mode": "merge", "lookback": 2}
    sql.execute("insert into events (id) values (10), (11)")
    bring(APPEND, load)
    sql.execute("insert into events (id) values (5), (12)")  # 5 is too far behind 11, 12 is new
    bring(APPEND, load)
    assert numbers(sql) == [10, 11, 12]


def test_a_lookback_counts_from_what_was_read(sql: psycopg.Connection, database: str, bring: Import) -> None:
    """One transaction stays open for hours: what others write and commit meanwhile is read when it is over."""
    events(sql)
    config, load = APPEND | {"cursor": "at"}, {"mode": "merge", "lookback": 3_600_000_000}
    sql.execute("insert into events (at) values ('2026-01-01 19:59Z')")
    with psycopg.connect(database) as slow:
        slow.execute("insert into events (at) values ('2026-01-01 20:00Z')")
        sql.execute("insert into events (at) values ('2026-01-01 21:00Z'), ('2026-01-02 00:00Z')")
        bring(config, load)
        assert numbers(sql) == [1]
    bring(config, load)
    assert numbers(sql) == [1, 2, 3, 4]


def test_a_lookback_leaves_no_row_out_that_has_no_cursor(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    sql.execute("alter table events alter at drop not null")
    config, load = APPEND | {"cursor": "at"}, {"mode": "merge", "lookback": 1}
    sql.execute("insert into events (at) values (now()), (null)")
    bring(config, load)
    sql.execute("insert into events (at) values (null)")
    bring(config, load)
    assert numbers(sql) == [1, 2, 3]


@pytest.mark.parametrize("kind", ["date", "timestamp", "timestamptz"])
def test_an_infinite_cursor_isn_t_the_last(sql: psycopg.Connection, bring: Import, kind: str) -> None:
    events(sql)
    sql.execute(f"alter table events alter at type {kind}")  # type: ignore[arg-type]
    config, load = APPEND | {"cursor": "at"}, {"mode": "merge", "lookback": 1}
    sql.execute("insert into events (at) values ('2026-01-01'), ('infinity')")
    assert bring(config, load).rows_quarantined == 1
    sql.execute("insert into events (at) values ('2026-01-02')")
    bring(config, load)
    sql.execute("insert into events (at) values ('2026-01-03')")
    bring(config, load)
    assert numbers(sql) == [1, 3, 4]


@pytest.mark.parametrize(
    ("since", "until", "error", "told"),
    [
        (None, 1000, TransientSourceError, "hasn't come as far"),
        (-1, 1000, TransientSourceError, "hasn't come as far"),
        (-(2**31) - 1, -1, ContractError, "too many transactions ago"),
        (-(2**32) - 5, -1, ContractError, "too many transactions ago"),
        (None, -(2**31) - 1, ContractError, "too many transactions ago"),
    ],
)
def test_a_part_isn_t_read_where_it_can_t_be_whole(
    sql: psycopg.Connection,
    job: Callable[..., Job],
    since: int | None,
    until: int,
    error: type[Exception],
    told: str,
) -> None:
    """As a lagging replica meets it, or a read long after its plan: `since` and `until` lie that far from now."""
    events(sql)
    sql.execute("insert into events (what) values ('a')")
    row = sql.execute("select pg_snapshot_xmax(pg_current_snapshot())::text").fetchone()
    now = int(row[0]) if row else 0
    with closing(job(APPEND, {"mode": "append"})) as made:
        (part,) = plan.plan(made, "r1").plan.partitions
        assert sum(batch.rows.num_rows for batch in made.source.read(made.stream, part)) == 1
        moved = {"since": None if since is None else str(now + since), "until": str(now + until)}
        with pytest.raises(error, match=told):
            list(made.source.read(made.stream, {**part, **moved}))  # type: ignore[dict-item]


def test_a_server_that_lags_behind_the_position_is_tried_again(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    bring(APPEND, {"mode": "append"})
    ahead = """update _importers.position set value = jsonb_set(value, '{until}', '"999999999"')"""
    assert sql.execute(ahead).rowcount == 1
    with pytest.raises(TransientSourceError, match="hasn't come as far"):
        bring(APPEND, {"mode": "append"})


def test_a_backfill_reads_an_interval_of_the_cursor(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    sql.execute("insert into events (at) values ('2026-01-31 23:59:59Z'), ('2026-02-01Z'), ('2026-03-01Z')")
    window = Window("2026-02-01T01:00:00+01:00", "2026-03-01T00:00:00+00:00")
    bring({"tables": ["events"], "read": "incremental", "cursor": "at"}, {"mode": "merge"}, window)
    assert numbers(sql) == [2]


def test_a_query_goes_on_by_its_cursor(sql: psycopg.Connection, bring: Import) -> None:
    events(sql)
    sql.execute("insert into events (id, what) values (1, 'a'), (2, 'b')")
    config = {"query": "select id, upper(what) as what from events;", "read": "incremental", "cursor": "id"}
    load = {"mode": "append"}
    assert bring(config, load).rows_loaded == 2
    assert bring(config, load).rows_loaded == 0
    sql.execute("insert into events (id, what) values (3, 'c')")
    assert bring(config, load).rows_loaded == 1
    assert sql.execute("select what from acme.rows order by id").fetchall() == [("A",), ("B",), ("C",)]


@pytest.mark.parametrize("seen", ["nullif(id, 1)", "'infinity'::timestamptz", "'-infinity'::date"])
def test_a_query_s_row_without_a_cursor_stops_the_read(sql: psycopg.Connection, bring: Import, seen: str) -> None:
    events(sql)
    sql.execute("insert into events (what) values ('a')")
    config = {"query": f"select id, {seen} as seen from events", "read": "incremental", "cursor": "seen"}
    with pytest.raises(ContractError, match="rows have no 'seen'"):
        bring(config, {"mode": "append"})


ESCAPE = (
    "select 1 as a) as t; commit; set session characteristics as transaction read write; drop table events;"
    " select * from (select 1 as a"
)


def test_a_query_is_one_statement_and_can_t_leave_its_read_only_transaction(
    sql: psycopg.Connection, database: str
) -> None:
    events(sql)
    config = Postgresql.config_model(query=ESCAPE, read="incremental", cursor="a")
    source = Postgresql(config, tenant="acme", connection=Connection({"url": database}))
    assert "SQLSTATE 42601" in source.check().detail
    with pytest.raises(ContractError, match="SQLSTATE 42601"):
        source.streams()
    # Behind the look at what there is, each place that executes it refuses it too.
    relation = Relation("rows", f"({ESCAPE}\n)", 0, {"a": Kind("int4", "N", -1, "")})
    stream = Stream("rows", (Column("a", pa.int32(), None),), Reads.POSITION, cursor="a")
    with pytest.raises(ContractError, match="SQLSTATE 42601"), source.database.questions("planning") as connection:
        plan_by_cursor(connection, relation, stream, {})
    with pytest.raises(ContractError, match="SQLSTATE 42601"), source.database.rows("reading") as cursor:
        cursor.execute(Select(relation, stream, {}).rows())
    assert sql.execute("select to_regclass('events')::text").fetchone() == ("events",)


def test_a_dropped_column_isn_t_asked_for(sql: psycopg.Connection, database: str, bring: Import) -> None:
    """The role may not read it: asking would fail."""
    sql.execute("create table people (id int primary key, town text, diary text)")
    sql.execute("insert into people values (1, 'Ulm', 'dear diary')")
    role = f"reader_{sql.info.dbname}"
    sql.execute(f"create role {role} login; grant select (id, town) on people to {role}")  # type: ignore[arg-type]
    url = database.replace("postgres:@", f"{role}:@")
    try:
        bring({"tables": ["people"]}, {"mode": "replace"}, url=url, id="keep", town="keep", diary="drop")
        assert sql.execute("select * from acme.people").fetchone()[:2] == (1, "Ulm")  # type: ignore[index]
        with pytest.raises(FatalSourceError, match="this role may not do that; got SQLSTATE 42501"):
            bring({"tables": ["people"]}, {"mode": "replace"}, url=url)
    finally:
        sql.execute(f"drop owned by {role}; drop role {role}")  # type: ignore[arg-type]


def test_a_comment_classifies_nothing(sql: psycopg.Connection, bring: Import) -> None:
    sql.execute("create table people (id int primary key, town text); comment on column people.town is 'public'")
    with pytest.raises(PrivacyError, match="town"):
        bring({"tables": ["people"]}, {"mode": "replace"}, id="keep")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drop table events", "'events' isn't there any more"),
        ("alter table events rename what to which", "the column 'what' isn't there any more"),
        ("drop table events; create table events (id int, what text, at timestamptz)", "another table has its name"),
    ],
)
def test_what_changes_between_plan_and_read_is_told(
    sql: psycopg.Connection, job: Callable[..., Job], change: str, told: str
) -> None:
    events(sql)
    with closing(job(APPEND, {"mode": "append"})) as made:
        opened = plan.plan(made, "r1")
        sql.execute(change)  # type: ignore[arg-type]
        with closing(made.fixed(opened)) as fixed, pytest.raises(ContractError, match=told):
            extract.stage(fixed, opened, 0)


@pytest.mark.parametrize(
    "change",
    [
        "alter table events alter id type numeric(30)",
        "truncate events",
        "alter table events rename to old; create table events (like old)",
    ],
)
def test_a_rewritten_table_isn_t_appended_again(sql: psycopg.Connection, bring: Import, change: str) -> None:
    events(sql)
    sql.execute("insert into events (what) values ('a')")
    config = {"tables": ["events"], "read": "incremental"}
    bring(config, {"mode": "append"})
    sql.execute(change)  # type: ignore[arg-type]
    with pytest.raises(ContractError, match="was rewritten, emptied or made anew"):
        bring(config, {"mode": "append"})
    assert numbers(sql) == [1]


@pytest.mark.parametrize("load", [{"mode": "merge"}, {"mode": "merge", "lookback": 1}, {"mode": "history"}])
def test_a_table_exchanged_by_rename_is_read_whole(
    sql: psycopg.Connection, bring: Import, load: dict[str, Any]
) -> None:
    """What is in it was written before the last run, and has older cursors."""
    events(sql)
    sql.execute("insert into events (at) values ('2026-02-01Z')")
    sql.execute("create table anew (like events including all)")
    sql.execute("insert into anew (id, at) values (1, '2026-02-01Z'), (2, '2026-01-01Z')")
    config = APPEND | {"cursor": "at"}
    bring(config, load)
    sql.execute("alter table events rename to old; alter table anew rename to events")
    bring(config, load)
    assert numbers(sql) == [1, 2]


def test_a_slow_server_is_given_up_and_a_value_isn_t_told(sql: psycopg.Connection, bring: Import) -> None:
    slow = {"query": "select 1 as id, pg_sleep(20)::text as nap", "statement_timeout": 0.3}
    with pytest.raises(TransientSourceError, match="timed out or was cancelled; got SQLSTATE 57014"):
        bring(slow, {"mode": "replace"})
    events(sql)
    sql.execute("insert into events (what) values ('secret')")
    with pytest.raises(ContractError, match="a value can't be had") as told:
        bring({"query": "select id, what::int as n from events"}, {"mode": "replace"})
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"tables": ["nope"]}, "has no table 'nope'"),
        ({"tables": ["events"], "cursor": "att"}, "no stream has the column 'att'.*'at'"),
        ({"tables": ["events"], "read": "incremental", "cursor": "what"}, "must be an integer, a date or a timestamp"),
        ({"query": "select 1, 2"}, "each column of the query needs a name"),
    ],
)
def test_a_wrong_setting_is_told(sql: psycopg.Connection, bring: Import, config: dict[str, Any], told: str) -> None:
    events(sql)
    with pytest.raises(ConfigError, match=told):
        bring(config, {"mode": "merge", "primary_key": "id"})


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("postgresql://nobody_there@/postgres?host={}", FatalSourceError),
        ("postgresql://postgres@/no_such_database?host={}", FatalSourceError),
        ("postgresql://postgres@127.0.0.1:1/postgres", TransientSourceError),
        ("postgresql://postgres:a/b@c@/postgres", Exception),
    ],
)
def test_a_connection_that_fails_says_no_secret(database: str, url: str, error: type[Exception]) -> None:
    socket = database.partition("host=")[2]
    config = Postgresql.config_model()
    source = Postgresql(config, tenant="acme", connection=Connection({"url": url.format(socket), "password": "s3cr3t"}))
    with pytest.raises(error) as told:
        source.streams()
    assert "s3cr3t" not in str(told.value)
    assert not source.check().ok


def test_a_server_is_read_by_tls_if_its_certificate_is_trusted(
    sql: psycopg.Connection, database: str, bring: Import, job: Callable[..., Job], tmp_path: Path
) -> None:
    """By both clients, psycopg and ADBC, which bring a libpq each."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    for name, each in {"right": authority, "wrong": trustme.CA()}.items():
        each.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    said = conninfo_to_dict(database)
    events(sql)
    sql.execute("insert into events (what) values ('secret')")
    with encrypting(f"{said['host']}/.s.PGSQL.5432", context) as port:

        def url(host: str, trusted: str) -> str:
            query = urlencode({"sslmode": "verify-full", "sslrootcert": str(tmp_path / f"{trusted}.pem")})
            return f"postgresql://postgres@{host}:{port}/{said['dbname']}?{query}"

        assert bring(APPEND, {"mode": "append"}, url=url("localhost", "right")).rows_loaded == 1
        for host, trusted in (("localhost", "wrong"), ("localhost", "missing"), ("127.0.0.1", "right")):
            with pytest.raises(FatalSourceError, match=r"no trusted connection is possible.*sslrootcert"):
                job(APPEND, {"mode": "append"}, url=url(host, trusted))
            refused = Postgresql(
                Postgresql.config_model(), tenant="acme", connection=Connection({"url": url(host, trusted)})
            )
            with pytest.raises(FatalSourceError, match="no trusted connection"), refused.database.rows("reading"):
                pass
    assert sql.execute("select count(*) from acme.events").fetchone() == (1,)


def test_a_run_leaves_no_session_behind_however_it_ends(
    sql: psycopg.Connection, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source that was made is still known here: whoever made it ended its sessions, not the collector."""
    made: list[Postgresql] = []
    original = Postgresql.__init__

    def noted(self: Postgresql, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        original(self, *args, **kwargs)

    monkeypatch.setattr(Postgresql, "__init__", noted)
    events(sql)
    sql.execute("insert into events (what) values ('secret')")
    assert bring(APPEND, {"mode": "append"}).rows_loaded == 1
    with pytest.raises(ContractError, match="a value can't be had"):
        bring({"query": "select id, what::int as n from events"}, {"mode": "replace"})
    with pytest.raises(ConfigError, match="has no table"):
        bring({"tables": ["nope"]}, {"mode": "replace"})
    assert len(made) > 3
    ours = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    deadline = time.monotonic() + 60
    while (left := sql.execute(ours).fetchone()) != (0,) and time.monotonic() < deadline:  # a backend takes a moment
        time.sleep(0.01)
    assert left == (0,)


def test_a_pool_that_is_used_up_says_so(database: str) -> None:
    config = Postgresql.config_model(pool_size=1, max_overflow=0, pool_timeout=0.05)
    source = Postgresql(config, tenant="acme", connection=Connection({"url": database}))
    with source.database.questions("testing"), pytest.raises(TransientSourceError, match="all connections of the pool"):
        source.streams()
    with pytest.raises(ConfigError, match="has no table"):  # it was given back
        source.streams()


def test_a_history_is_fed_by_snapshots_of_a_table(sql: psycopg.Connection, bring: Import) -> None:
    """What was there when, by the source: a name that changed, a row that was deleted, one that stayed."""
    sql.execute("create table customers (id int primary key, city text)")
    sql.execute("insert into customers values (1, 'Ulm'), (2, 'Bonn'), (3, 'Kiel')")
    config, load = {"tables": ["customers"]}, {"mode": "history"}
    bring(config, load)
    sql.execute("update customers set city = 'Jena' where id = 1; delete from customers where id = 2")
    bring(config, load)
    history = "select city, valid_to is null, valid_to = lead(valid_from) over (partition by id order by valid_from)"
    assert sql.execute(f"{history} from acme.customers where id <> 3 order by id, valid_from").fetchall() == [
        ("Ulm", False, True),
        ("Jena", True, None),
        ("Bonn", False, None),
    ]
    now = sql.execute("select id, city from acme.customers where valid_to is null order by id").fetchall()
    assert now == sql.execute("select id, city from customers order by id").fetchall()


@pytest.mark.parametrize("allow_empty", [False, True])
def test_an_empty_snapshot_ends_a_history_only_where_that_is_right(
    sql: psycopg.Connection, bring: Import, *, allow_empty: bool
) -> None:
    """A source that is being filled anew would end every row."""
    sql.execute("create table customers (id int primary key, city text)")
    sql.execute("insert into customers values (1, 'Graz')")
    config, load = {"tables": ["customers"]}, {"mode": "history", "allow_empty": allow_empty}
    bring(config, load)
    sql.execute("truncate customers")
    if allow_empty:
        bring(config, load)
    else:
        with pytest.raises(QualityError, match="would empty the table"):
            bring(config, load)
    current = sql.execute("select count(*) from acme.customers where valid_to is null").fetchone()
    assert current == (0 if allow_empty else 1,)


def test_a_history_takes_its_time_from_the_cursor(sql: psycopg.Connection, bring: Import) -> None:
    sql.execute("create table customers (id int primary key, city text, changed timestamptz)")
    sql.execute("insert into customers values (1, 'Ulm', '2026-01-01Z')")
    config = {"tables": ["customers"], "read": "incremental", "cursor": "changed"}
    bring(config, {"mode": "history"})
    sql.execute("update customers set city = 'Jena', changed = '2026-02-01 12:00:00.000001Z'")
    bring(config, {"mode": "history"})
    found = sql.execute(
        "select city, valid_from = changed, valid_to from acme.customers order by valid_from"
    ).fetchall()
    assert [(city, own, str(until)) for city, own, until in found] == [
        ("Ulm", True, "2026-02-01 12:00:00.000001+00:00"),
        ("Jena", True, "None"),
    ]
    with pytest.raises(ConfigError, match="the cursor 'id' tells no time"):
        bring(config | {"cursor": "id"}, {"mode": "history"})


@pytest.mark.parametrize(
    ("said", "what"),
    [({"system": "7"}, "another server"), ({"timeline": 7}, "was restored or took another's place")],
)
def test_a_server_whose_numbers_may_be_given_again_is_noticed(
    sql: psycopg.Connection, bring: Import, said: dict[str, Any], what: str
) -> None:
    events(sql)
    sql.execute("insert into events (what) values ('a')")
    bring(APPEND, {"mode": "append"})
    sql.execute("update _importers.position set value = value || %s", (Jsonb(said),))
    with pytest.raises(ContractError, match=what):
        bring(APPEND, {"mode": "append"})
    sql.execute("update _importers.position set value = (value || %s) - 'timeline'", (Jsonb({"system": system(sql)}),))
    bring(APPEND, {"mode": "append"})  # a position from when it wasn't told
    assert numbers(sql) == [1]


def system(sql: psycopg.Connection) -> str:
    return str(sql.execute("select system_identifier from pg_control_system()").fetchall()[0][0])
