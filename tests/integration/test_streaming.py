"""Micro-batches, from a source that is a list: what a transaction of a stream holds, and who may make one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from import_site import HEADER, PIPELINE, RULES, STREAM, Row, Site, listeners
from tests.support.runs import erase as erase_from

from importers.core.model import (
    Batch,
    Column,
    LoadMode,
    MicroBatch,
    Pace,
    Position,
    Reads,
    Receipt,
    Reject,
    Run,
    RunState,
    Stream,
)
from importers.core.settings import effective
from importers.core.source import Source, SourceConfig
from importers.core.tenant import Tenant
from importers.destinations.postgresql import PostgresDestination
from importers.exceptions import (
    ConfigError,
    ImporterError,
    PrivacyError,
    QualityError,
    RunAbortedError,
    RunBusyError,
)
from importers.pipeline import stream as streaming
from importers.pipeline.erase import tokens_of
from importers.pipeline.job import Job
from importers.pipeline.jobs import refine
from importers.pipeline.run import run
from importers.pipeline.segment import Segment
from importers.pipeline.stream import Beat, stream
from importers.privacy.domains import Domains

TYPES = (pa.int64(), pa.int64(), pa.string(), pa.string(), pa.int64())
POISON = Reject(b"{", "plays@7", "not a JSON object")
ROWS: list[Row] = [(n, n, listeners(n), f"track {n}", n) for n in range(12)]


class Written(Source[SourceConfig]):
    """What is in the list comes, one list a batch. The position is how many batches there were."""

    title = "A list"
    config_model = SourceConfig
    follows = True

    def __init__(self, lists: Sequence[Sequence[Any]]) -> None:
        super().__init__(SourceConfig(), tenant="acme")
        self.lists, self.acknowledged = lists, list[Position]()
        self.before: Callable[[int], None] = lambda _: None

    def reach(self) -> str:
        return ""

    def streams(self) -> Sequence[Stream]:
        columns = [Column(name, kind, None) for name, kind in zip(HEADER, TYPES, strict=True)]
        return [Stream(STREAM, tuple(columns), Reads.POSITION)]

    def read(self, stream: Stream, partition: Any) -> Iterator[Batch]:
        raise NotImplementedError

    def follow(self, stream: Stream, position: Position, pace: Pace) -> Generator[Batch, None, None]:
        start = int(str(position.get("list", 0)))
        yield Batch(_rows([]), position={"list": start}, behind=len(self.lists) - start)
        for number in range(start, len(self.lists)):
            self.before(number)
            given = self.lists[number]
            rejects = tuple(each for each in given if isinstance(each, Reject))
            rows = given[0] if isinstance(given, tuple) else _rows([row for row in given if row not in rejects])
            yield Batch(rows, rejects, {"list": number + 1}, behind=len(self.lists) - number - 1)
        yield Batch(_rows([]))

    def acknowledge(self, position: Position) -> None:
        self.acknowledged.append(position)


def _rows(rows: Sequence[Row]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [[]] * len(HEADER)
    return pa.RecordBatch.from_arrays([pa.array(c, t) for c, t in zip(columns, TYPES, strict=True)], list(HEADER))


@dataclass
class Streamed:
    """A tenant whose rows come from lists."""

    site: Site
    sql: psycopg.Connection
    said: dict[str, Any] = field(default_factory=dict)

    def source(self, *lists: Sequence[Any] | tuple[pa.RecordBatch]) -> Written:
        return Written(lists)

    def job(self, source: Source[Any]) -> Job:
        said = self.site.definition.model_dump(exclude_unset=True, mode="json")
        said["pipelines"][PIPELINE]["expect"] = said["pipelines"][PIPELINE]["expect"][:1]
        said["pipelines"][PIPELINE] |= self.said
        tenant = Tenant.model_validate(said)
        job = Job(
            self.site.installation, tenant, PIPELINE, refine(source.streams()[0], effective(tenant, PIPELINE, STREAM))
        )
        job.__dict__["source"] = source
        return job

    def drain(self, source: Written, watch: Callable[[Beat], None] = lambda _: None) -> Beat:
        return stream(self.job(source), watch=watch, drain=True)

    def ask(self, query: str) -> list[Any]:
        return self.sql.execute(query).fetchall()  # type: ignore[arg-type]

    @property
    def plays(self) -> list[int]:
        return [play for (play,) in self.ask(f"select play from acme.{STREAM} order by 1")]

    @property
    def position(self) -> Any:
        return dict(self.ask("select lane, value from _importers.position"))

    @property
    def runs(self) -> list[tuple[str, int, int]]:
        """State, rows and loaded of each run that has loaded something."""
        return self.ask(
            "select state, rows, loaded from _importers.run join _importers.receipt on id = run order by id"
        )

    def quarantined(self) -> Counter[int | None]:
        found = Counter[int | None]()
        with closing(self.job(self.source())) as job:
            for uri, rows in self.ask("select uri, rows from _importers.quarantine where replayed_by is null"):
                table = job.quarantine.read(uri, job.keys.quarantine())
                assert table.num_rows == rows
                found.update(table["play"].to_pylist())
        return found


@pytest.fixture
def streamed(
    database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str, monkeypatch: pytest.MonkeyPatch
) -> Streamed:
    """Each batch is loaded while the next is read, as those of many rows are."""
    monkeypatch.setattr(streaming, "FEW", 0)
    return Streamed(Site.make(tmp_path, database, "acme", LoadMode.APPEND), sql)


def test_a_batch_is_there_with_its_position_before_the_next_one_is(streamed: Streamed) -> None:
    seen: list[tuple[int, Any]] = []
    source = streamed.source(ROWS[:3], ROWS[3:4], ROWS[4:12])
    total = streamed.drain(source, lambda beat: seen.append((len(streamed.plays), streamed.position["list"])))
    assert seen == [(0, 0), (3, 1), (4, 2), (12, 3), (12, 3)]  # and then nothing came
    assert (total.rows, total.loaded, total.behind) == (12, 12, 0)
    assert streamed.runs == [("committed", 12, 12)]
    assert source.acknowledged == [{"list": 3}]
    tokens = streamed.ask(f"select distinct listener::text from acme.{STREAM}")
    assert len(tokens) == 5
    assert not [token for (token,) in tokens if "listener" in token]
    assert streamed.ask("select name, case_sensitive from _importers.domain") == [("listener", False)]
    assert streamed.drain(source).rows == 0  # it goes on after the position
    assert streamed.plays == list(range(12))


def test_a_table_that_is_new_to_the_stream_begins_where_a_refresh_does(streamed: Streamed) -> None:
    source = streamed.source(ROWS[:3], ROWS[3:6])
    streamed.drain(source)
    streamed.said = {"load": {"mode": "append", "table": "heard"}}
    source.refreshed = lambda position: {"list": int(position["list"]) - 1}  # type: ignore[method-assign]
    assert streamed.drain(source).rows == 3
    assert streamed.ask("select play from acme.heard order by 1") == [(3,), (4,), (5,)]
    assert streamed.drain(source).rows == 0
    assert streamed.plays == list(range(6))


@pytest.mark.parametrize(("few", "loaded"), [(4, [0, 3, 6, 6]), (0, [0, 0, 3, 6])])
def test_a_batch_of_few_rows_is_loaded_before_the_next_is_read(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch, few: int, loaded: list[int]
) -> None:
    """And one of many is loaded meanwhile: when its successor is asked for its rows may not be there yet."""
    monkeypatch.setattr(streaming, "FEW", few)
    source, told, seen = streamed.source(ROWS[:3], ROWS[3:6], ROWS[6:11], ROWS[11:]), Beat(), list[int]()

    def watch(beat: Beat) -> None:
        nonlocal told
        told += beat

    source.before = lambda _: seen.append(told.loaded)
    streamed.drain(source, watch)
    assert seen == loaded
    assert streamed.plays == list(range(12))


@pytest.mark.parametrize(("few", "batches"), [(0, 1), (4, 2)])
def test_who_is_interrupted_while_a_batch_is_loaded_closes_the_run_after_it(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch, few: int, batches: int
) -> None:
    """Else the run were closed amid the batch's transaction, by its connection."""
    monkeypatch.setattr(streaming, "FEW", few)
    load, abort, result = Segment.load, PostgresDestination.abort, Future.result
    closes, events = Event(), list[str]()

    def slow(segment: Segment, batch: MicroBatch) -> Receipt:
        if batch.rows:
            closes.wait(1)  # as long as nobody closes the run
        receipt = load(segment, batch)
        events.append(f"{batch.rows} rows loaded")
        return receipt

    def closed(destination: PostgresDestination, run: Run, stream: Stream) -> None:
        closes.set()
        events.append("closed")
        abort(destination, run, stream)

    def interrupted(future: Future[Any], timeout: float | None = None) -> Any:
        monkeypatch.setattr(Future, "result", result)
        raise KeyboardInterrupt

    monkeypatch.setattr(Segment, "load", slow)
    monkeypatch.setattr(PostgresDestination, "abort", closed)
    source = streamed.source(ROWS[:3], ROWS[3:6])
    source.before = lambda number: monkeypatch.setattr(Future, "result", interrupted if number else result)
    with pytest.raises(KeyboardInterrupt):
        streamed.drain(source)
    assert events == ["0 rows loaded", *["3 rows loaded"] * batches, "closed"]
    assert streamed.plays == list(range(3 * batches))
    assert streamed.runs == [("committed", 3 * batches, 3 * batches)]


def test_bad_rows_are_in_quarantine_when_the_rest_is_in_the_table_and_can_be_replayed(streamed: Streamed) -> None:
    bad = (50, 50, "listener 1", "bad", -1)
    source = streamed.source(ROWS[:3], [*ROWS[3:5], bad, POISON], ROWS[5:6])
    total = streamed.drain(source)
    assert (total.rows, total.loaded, total.quarantined) == (8, 6, 2)
    assert streamed.plays == list(range(6))
    assert streamed.quarantined() == Counter({50: 1, None: 1})
    assert streamed.runs == [("committed", 7, 6)]  # what is no row has no row
    (counts,) = streamed.ask("select counts from _importers.judgement")[0]
    assert (counts["rows"], counts["bad"], counts["rejects"], counts["failures"]) == (7, 1, 1, [])
    streamed.said = {"expect": []}
    with closing(streamed.job(source)) as job:
        assert run(job, "replay", kind=_replay()).rows_loaded == 1
    assert streamed.plays == [*range(6), 50]
    assert streamed.quarantined() == Counter({None: 1})


def test_a_key_that_comes_again_in_a_stream_is_no_duplicate_when_it_is_replayed(streamed: Streamed) -> None:
    """No rule of uniqueness holds a stream: its replay isn't held by one, either."""
    unique = RULES[1]
    twice = [(50, 50, "listener 1", "bad", -1), (50, 51, "listener 1", "bad again", -2)]
    streamed.said = {"expect": RULES, "quarantine": {"max_fraction": 0.5}}
    source = streamed.source([*ROWS[:3], twice[0]], [*ROWS[3:5], twice[1]])
    assert streamed.drain(source).quarantined == 2
    streamed.said = {"expect": [unique]}
    with closing(streamed.job(source)) as job:
        assert run(job, "replay", kind=_replay()).rows_loaded == 2
    assert streamed.plays == [*range(5), 50, 50]


def _replay() -> Any:
    from importers.core.model import RunKind

    return RunKind.REPLAY


def test_a_run_ends_with_its_window_and_rules_on_the_whole_are_told_of_each(
    streamed: Streamed, caplog: pytest.LogCaptureFixture
) -> None:
    streamed.said = {
        "micro_batch": {"window": "PT0S"},
        "expect": [
            {"expect_column_values_to_be_unique": {"column": "track"}},
            {"expect_table_row_count_to_be_between": {"min_value": 3}},
        ],
    }
    twice = [(20, 20, "listener 0", "track 0", 1), (21, 21, "listener 0", "track 0", 1)]
    streamed.drain(streamed.source(ROWS[:3], [*twice, *ROWS[3:5]], ROWS[5:6]))
    assert streamed.runs == [("committed", 3, 3), ("committed", 4, 4), ("committed", 1, 1)]
    found = [
        [failure["rule"] for failure in counts["failures"]]
        for (counts,) in streamed.ask(
            "select counts from _importers.judgement j join _importers.receipt r on r.run = j.run order by j.run"
        )
    ]
    unique, count = "expect_column_values_to_be_unique(track)", "expect_table_row_count_to_be_between()"
    assert found == [[], [unique], [count]]
    assert "keys occur again, and are loaded; got 1 such keys" in caplog.text


def test_what_is_committed_is_counted_though_the_next_batch_fails(streamed: Streamed) -> None:
    source, seen = streamed.source(ROWS[:5], ROWS[5:9]), list[Beat]()

    def before(number: int) -> None:
        if number == 1:
            raise PrivacyError("nobody classified a column")

    source.before = before
    with pytest.raises(PrivacyError):
        streamed.drain(source, seen.append)
    assert streamed.plays == [0, 1, 2, 3, 4]
    assert sum(beat.loaded for beat in seen) == 5


def test_the_last_of_a_key_wins_in_a_batch_and_over_earlier_batches(
    database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str
) -> None:
    merged = Streamed(Site.make(tmp_path, database, "acme", LoadMode.MERGE), sql)
    lists = [[(n * 10 + m, m % 3, "listener 1", f"{n} {m}", 1) for m in range(4)] for n in range(20)]
    assert merged.drain(merged.source(*lists)).loaded == 80
    assert merged.ask(f"select id, track from acme.{STREAM} order by id") == [(0, "19 3"), (1, "19 1"), (2, "19 2")]
    deadline = time.monotonic() + 60  # the session's is gone as soon as the server has noticed that it is over
    while merged.ask("select count(*) from pg_class where relname = 'importers_live'") != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_says_of_what_a_newer_version_is_in_quarantine(
    database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str
) -> None:
    merged = Streamed(Site.make(tmp_path, database, "acme", LoadMode.MERGE), sql)
    first = [[(n, n, "listener 1", "old", 1) for n in range(3)]]
    merged.drain(merged.source(*first))
    bad = [(4, 1, "listener 1", "bad", -1), (5, 2, "listener 1", "bad", -1)]
    merged.drain(merged.source(*first, bad, [(6, 2, "listener 1", "mended", 1), (7, 2, "listener 1", "again", 1)]))
    assert merged.ask("select notes from _importers.run order by id") == [
        ([],),
        (
            [
                f"acme.{STREAM}: of 2 rows loaded 1 gave way to another of the same key, newer or read later",
                f"acme.{STREAM}: 1 row in an older version, as the newer is in quarantine",
            ],
        ),
    ]


def test_erased_subjects_stay_out(streamed: Streamed) -> None:
    source = streamed.source(ROWS[:5], ROWS[5:10])

    def erase(number: int) -> None:
        if number == 1:
            with closing(streamed.job(source)) as job:
                tokens = job.policy.tokens(_rows([ROWS[6]]))
                assert tokens is not None
                erase_from(job.destination, "listener", *tokens.to_pylist())

    source.before = erase
    total = streamed.drain(source)
    assert total.suppressed == 1
    assert streamed.plays == [n for n in range(10) if n % 5 != 1]
    assert streamed.runs == [("committed", 10, 9)]


def test_who_is_erased_stays_out_of_quarantine_too(streamed: Streamed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Erased after the first batch's file was written, and before the batch is loaded; in the second, before it."""
    loading = Segment.load

    def erased_first(segment: Segment, batch: MicroBatch) -> Receipt:
        with closing(streamed.job(streamed.source())) as job:
            whom = tokens_of(Domains(job.keys), "listener", ["listener 1"])
            job.destination.eraser().begin("listener", whom, "tests", "")
        return loading(segment, batch)

    monkeypatch.setattr(Segment, "load", erased_first)
    streamed.said = {"micro_batch": {"window": "PT0S"}}
    bad = [(100 + n, 0, listeners(n), "bad", -1) for n in range(3)]
    total = streamed.drain(streamed.source([ROWS[0], *bad, POISON], [bad[1], ROWS[2]]))
    assert streamed.quarantined() == Counter({100: 1, 102: 1, None: 1})
    assert (streamed.plays, total.suppressed) == ([0, 2], 2)
    assert streamed.runs == [("committed", 4, 1), ("committed", 2, 1)]


def test_a_flood_of_bad_rows_stops_before_it_is_loaded_and_goes_on_there(streamed: Streamed) -> None:
    streamed.said = {"quarantine": {"max_fraction": 0.01}}
    flood = [(100 + n, 0, "listener 1", "bad", -1) for n in range(11)]
    source = streamed.source(ROWS[:3], [*ROWS[3:6], *flood])
    with pytest.raises(QualityError, match=r"11 of the run's 17 records.*11 × expect_column_values_to_be_between"):
        streamed.drain(source)
    assert (streamed.plays, streamed.position) == ([0, 1, 2], {"list": 1})
    assert streamed.quarantined() == Counter()
    assert streamed.runs == [("committed", 3, 3)]
    streamed.said = {"expect": []}
    streamed.drain(source)
    assert len(streamed.plays) == 17


def test_ten_bad_rows_are_no_flood(streamed: Streamed) -> None:
    streamed.said = {"quarantine": {"max_fraction": 0.01}}
    streamed.drain(streamed.source([(100 + n, 0, "listener 1", "bad", -1) for n in range(10)]))
    assert streamed.quarantined().total() == 10


def test_a_column_that_nobody_classified_stops_the_stream_before_its_row_is_loaded(streamed: Streamed) -> None:
    phones = pa.RecordBatch.from_pylist([dict(zip(HEADER, ROWS[3], strict=True)) | {"phone": "+49 30 901820"}])
    with pytest.raises(PrivacyError, match="phone") as caught:
        streamed.drain(streamed.source(ROWS[:3], (phones,), ROWS[4:5]))
    assert "901820" not in str(caught.value)
    assert (streamed.plays, streamed.position) == ([0, 1, 2], {"list": 1})


def test_a_stream_that_stopped_over_a_new_column_is_not_what_later_ones_are_held_to(streamed: Streamed) -> None:
    class Phones(Written):
        def streams(self) -> Sequence[Stream]:
            (named,) = super().streams()
            return [replace(named, columns=(*named.columns, Column("phone", pa.string(), None)))]

    streamed.drain(streamed.source(ROWS[:3]))
    for _ in range(2):
        with pytest.raises(PrivacyError, match="phone"):
            streamed.drain(Phones([ROWS[:3], ROWS[3:6]]))
    assert streamed.ask("select count(*) from _importers.run") == [(1,)]  # none was opened
    assert streamed.drain(streamed.source(ROWS[:3], ROWS[3:6])).loaded == 3


def test_a_wider_type_widens_the_table(streamed: Streamed) -> None:
    rows = _rows(ROWS[3:5])
    wider = rows.set_column(4, "score", pa.array([0.5, 1.5]))
    streamed.drain(streamed.source(ROWS[:3], (wider,), ROWS[5:6]))
    assert streamed.ask(f"select play, score from acme.{STREAM} order by 1") == [
        (0, 0.0),
        (1, 1.0),
        (2, 2.0),
        (3, 0.5),
        (4, 1.5),
        (5, 5.0),
    ]


@pytest.mark.parametrize("mode", [LoadMode.APPEND, LoadMode.MERGE])
def test_a_table_that_another_run_widens_gets_its_rows_as_they_are(
    database: str, sql: psycopg.Connection, tmp_path: Path, encryption_key: str, mode: LoadMode
) -> None:
    """Binary COPY would take an integer's bytes for a float's."""
    streamed = Streamed(Site.make(tmp_path, database, "acme", mode), sql)
    source = streamed.source(ROWS[1:3], ROWS[3:6], ROWS[6:9])

    def widen(number: int) -> None:
        if number == 1:
            table = STREAM if mode is LoadMode.APPEND else f"{STREAM}__rows"
            sql.execute(f"drop view if exists acme.{STREAM}" if mode is LoadMode.MERGE else "select 1")
            sql.execute(f"alter table acme.{table} alter column score type double precision")
            sql.execute(f"alter table acme.{table} add column later text")

    source.before = widen
    streamed.drain(source)
    table = STREAM if mode is LoadMode.APPEND else f"{STREAM}__rows"
    assert streamed.ask(f"select play, score from acme.{table} order by 1") == [(n, float(n)) for n in range(1, 9)]


def test_a_merged_table_that_is_shared_needs_a_cursor(streamed: Streamed) -> None:
    streamed.said = {"load": {"mode": "merge", "primary_key": "id", "shared": True}}
    with pytest.raises(ConfigError, match=r"load\.cursor"):
        streamed.drain(streamed.source(ROWS[:3]))
    streamed.said = {"load": {"mode": "merge", "primary_key": "id", "shared": True, "cursor": "play"}}
    assert streamed.drain(streamed.source(ROWS[:3])).loaded == 3


def test_somebody_else_is_kept_out_until_the_owner_is_gone_and_then_the_owner(streamed: Streamed) -> None:
    """The owner's sessions are ended by the server, as after a network that was cut. It wakes up later."""
    source, reached, go_on, raised = streamed.source(ROWS[:3], ROWS[3:6], ROWS[6:9]), Event(), Event(), list[Any]()

    def sleep(number: int) -> None:
        if number == 2:
            reached.set()
            assert go_on.wait(60)

    def first() -> None:
        try:
            streamed.drain(source)
        except ImporterError as error:
            raised.append(error)

    source.before = sleep
    thread = Thread(target=first)
    thread.start()
    assert reached.wait(60)
    other = streamed.source(ROWS[:3], ROWS[3:6], ROWS[6:9])
    with pytest.raises(RunBusyError):
        streamed.drain(other)
    streamed.ask(
        "select pg_terminate_backend(pid, 60000) from pg_stat_activity"
        " where datname = current_database() and application_name like 'importers%'"
    )
    streamed.drain(other)
    go_on.set()
    thread.join(60)
    assert streamed.plays == list(range(9))
    assert len(raised) == 1
    assert {state for state, _, _ in streamed.runs} == {"committed"}


def test_a_connection_that_was_lost_while_nothing_came_is_made_anew(
    streamed: Streamed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "FEW", 4)
    source = streamed.source(ROWS[:3], ROWS[3:6], ROWS[6:9])
    lost: list[Any] = []

    def lose(number: int) -> None:
        if number == 2:
            lost.append(
                streamed.ask(
                    "select count(*), bool_and(pg_terminate_backend(pid, 60000)) from pg_stat_activity"
                    " where datname = current_database()"
                    " and application_name like 'importers %' and application_name not like '% run %'"
                )
            )

    source.before = lose
    total = streamed.drain(source)
    assert lost == [[(1, True)]]
    assert total.loaded == 9
    assert streamed.plays == list(range(9))
    assert streamed.runs == [("committed", 9, 9)]


def test_a_position_that_somebody_else_moved_stops_the_stream(streamed: Streamed) -> None:
    source = streamed.source(ROWS[:3], ROWS[3:6], ROWS[6:9])

    def move(beat: Beat) -> None:
        if streamed.position == {"list": 2}:
            streamed.sql.execute("update _importers.position set value = '7'")

    with pytest.raises(RunAbortedError, match="position"):
        streamed.drain(source, move)
    assert streamed.plays == list(range(6))
    assert streamed.position == {"list": 7}


def test_what_a_dead_stream_loaded_counts_for_the_run_that_finds_it(streamed: Streamed) -> None:
    source = streamed.source(ROWS[:3], ROWS[3:6])
    with closing(streamed.job(source)) as job:
        from importers.core.model import Plan, RunKind, Window

        def plan(_: Position) -> Plan:
            return Plan([], stream=job.stream, live=True)

        live = job.destination.open(job.stream, uuid4().hex, RunKind.INCREMENTAL, Window(), plan, b"")
        job.destination.prepare(live, job.stream, job.policy.table(job.asked.schema), [], {})
        treated = job.policy.apply(_rows(ROWS[:3]))
        job.destination.load_live(live, job.stream, MicroBatch(3, treated, {}, {"list": 1}))
    with closing(streamed.job(source)) as job:
        following: Run = job.destination.open(
            job.stream, "next", RunKind.INCREMENTAL, Window(), lambda position: Plan([], {**position}), b""
        )
        assert following.plan.position == {"list": 1}
        assert job.destination.find(live.id).state is RunState.COMMITTED
        with pytest.raises(RunAbortedError):
            job.destination.load_live(live, job.stream, MicroBatch(3, treated, {"list": 1}, {"list": 2}))
    assert streamed.plays == [0, 1, 2]


@pytest.mark.parametrize("mode", [LoadMode.REPLACE, LoadMode.HISTORY])
def test_what_takes_whole_runs_is_refused(streamed: Streamed, mode: LoadMode) -> None:
    streamed.said = {"load": {"mode": mode.value, "primary_key": "id"}}
    with pytest.raises(ConfigError, match="append or merge"):
        streamed.drain(streamed.source(ROWS[:3]))


def test_a_source_that_cannot_be_followed_is_refused(streamed: Streamed) -> None:
    streamed.site.first()
    with pytest.raises(ConfigError, match="can't be followed"):
        stream(streamed.site.job, drain=True)
