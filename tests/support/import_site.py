"""A small import with everything in it, and what must be true of it afterwards.

Two files: the first is loaded undisturbed, the second is what a test disturbs. Expected rows are worked out here from
the same lists that the files are written from, by plain Python: the code under test has no part in them.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg

from importers.core.connection import Connection
from importers.core.model import LoadMode, RunState, Window
from importers.core.model import RunKind as Kind
from importers.core.tenant import Tenant
from importers.exceptions import RunBusyError
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.run import Progress, Result, run
from importers.pipeline.sweep import sweep
from importers.sources.databases.postgresql import Postgresql
from importers.sources.files.csv import Csv

Row = tuple[int, int, str, str, int]
"""play (unique), id (primary key), listener (pseudonymised), track, score."""

HEADER = ("play", "id", "listener", "track", "score")
MALFORMED = "cut short,7"
PIPELINE, STREAM = "listening", "plays"
RULES = [
    {"expect_column_values_to_be_between": {"column": "score", "min_value": 0}},
    {"expect_column_values_to_be_unique": {"column": "play"}},
]


def listeners(play: int) -> str:
    return f"listener {play % 5}"


FIRST: list[Row] = [(n, n, listeners(n), f"first {n}", n) for n in range(1, 9)]
SECOND: list[Row] = [
    (play, play - 4, listeners(play), f"second {play}", -1 if play == 15 else play) for play in range(9, 33)
]
SECOND.append((10, 40, listeners(10), "the same play at the other end of the file", 1))
BAD_PLAYS = {15, 10}
"""One breaks a rule of its own row; the other is there twice, in different partitions."""


def good(rows: Sequence[Row]) -> list[Row]:
    times = Counter(row[0] for row in rows)
    return [row for row in rows if row[4] >= 0 and times[row[0]] == 1]


def write(path: Path, rows: Sequence[Row], malformed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(HEADER)
        lines.writerows(rows)
        file.write(f"{MALFORMED}\n" * malformed)
    draft.replace(path)


def insert(warehouse: str, rows: Sequence[Row]) -> None:
    """Into the table that is imported, five rows a block: what is deleted again leaves its room."""
    columns = "play int, id int, listener text, track text, score int"
    with psycopg.connect(warehouse, autocommit=True) as source, source.cursor() as cursor:
        cursor.execute(f"create schema if not exists source; create table if not exists source.{STREAM} ({columns})")
        for start in range(0, len(rows), 5):
            statement = f"insert into source.{STREAM} values (%s, %s, %s, %s, %s)"
            cursor.executemany(statement, rows[start : start + 5])
            filler = f"insert into source.{STREAM} select -1, g, repeat('x', 90), '', 0 from generate_series(1, 80) g"
            cursor.execute(f"{filler}; delete from source.{STREAM} where play = -1")  # type: ignore[arg-type]


@contextmanager
def cut_small() -> Iterator[None]:
    """A few hundred bytes of a file, or a block of a table, make a partition, and a partition several batches."""
    with (
        patch.object(Csv, "whole_below", 150),
        patch.object(Csv, "block", 128),
        patch.object(Postgresql, "split_above", 1),
    ):
        yield


@dataclass(frozen=True)
class Site:
    """One tenant of an installation of its own; the warehouse is shared with others."""

    root: Path
    warehouse: str
    tenant: str
    mode: LoadMode
    data: Path
    partitions: int = 3
    importer: str = "csv"
    """Or `postgresql`: then the rows are in a table of the warehouse's own database, and partitions are its blocks."""
    partition_by: str = ""
    """Of a table: it is read in full each time, cut by this column."""
    lenient: bool = False
    """Whether the tenant has taken its rules back: what was bad is right now."""

    @classmethod
    def make(cls, root: Path, warehouse: str, tenant: str, mode: LoadMode, **settings: Any) -> Site:
        return cls(root, warehouse, tenant, mode, root / "data", **settings)

    @property
    def installation(self) -> Installation:
        staging, quarantine = str(self.root / "staging"), str(self.root / "quarantine")
        return Installation(self.root, self.warehouse, False, staging, quarantine)

    @property
    def definition(self) -> Tenant:
        return Tenant.model_validate(
            {
                "tenant": self.tenant,
                "privacy": {"purpose": "tests", "lawful_basis": "contract", "retention": "P1Y"},
                "pipelines": {
                    PIPELINE: {
                        "importer": self.importer,
                        "config": self._config,
                        "load": {
                            "mode": self.mode.value,
                            **({"primary_key": "id"} if self.mode in (LoadMode.MERGE, LoadMode.HISTORY) else {}),
                        },
                        "quarantine": {"max_fraction": 0.5},
                        "expect": [] if self.lenient else RULES,
                        "privacy": {
                            "subject": {"column": "listener", "domain": "listener"},
                            "columns": {
                                **dict.fromkeys(("play", "id", "track", "score"), "keep"),
                                "listener": "pseudonymise",
                            },
                        },
                    }
                },
            }
        )

    @property
    def job(self) -> Job:
        (job,) = jobs(self.installation, self.definition, PIPELINE, connection=self.connection)
        return job

    @property
    def connection(self) -> Connection | None:
        return Connection({"url": self.warehouse}) if self.importer == "postgresql" else None

    @property
    def _config(self) -> dict[str, Any]:
        if self.importer == "postgresql":
            how = {"read": "full", "partition_by": self.partition_by} if self.partition_by else {"read": "incremental"}
            config = {"tables": [STREAM], "table_schema": "source", "batch_rows": 4, "partitions": self.partitions}
            return config | how
        return {"path": str(self.data / "plays_*.csv"), "stream": STREAM, "max_partitions": self.partitions}

    def run(
        self,
        key: str,
        *,
        processes: int = 1,
        window: Window | None = None,
        watch: Callable[[Progress], None] = lambda _: None,
        full_refresh: bool = False,
    ) -> Result:
        kind = Kind.WINDOW if window else Kind.INCREMENTAL
        with closing(self.job) as job:
            return run(job, key, kind, window, watch=watch, processes=processes, full_refresh=full_refresh)

    def replay(self, key: str, *, processes: int = 1) -> Result:
        with closing(self.job) as job:
            return run(job, key, Kind.REPLAY, processes=processes)

    def first(self) -> None:
        if self.importer == "postgresql":
            insert(self.warehouse, FIRST)
        else:
            write(self.data / "plays_1.csv", FIRST)

    def second(self) -> None:
        if self.importer == "postgresql":
            insert(self.warehouse, SECOND)
        else:
            write(self.data / "plays_2.csv", SECOND, malformed=1)

    @property
    def before(self) -> list[Row]:
        return sorted(FIRST)

    @property
    def after(self) -> list[Row]:
        """What the table holds once both files are in, each in a run of its own."""
        match self.mode:
            case LoadMode.APPEND | LoadMode.HISTORY:
                return sorted(FIRST + good(SECOND))
            case LoadMode.MERGE:
                return sorted({row[1]: row for row in [*FIRST, *good(SECOND)]}.values())
            case _:
                return sorted(good(FIRST + SECOND))

    @property
    def mended(self) -> list[Row]:
        """What it holds once the bad rows are in too."""
        if self.mode is LoadMode.MERGE:
            return sorted({row[1]: row for row in [*FIRST, *SECOND]}.values())
        return sorted(FIRST + SECOND)


ENDED = (
    "(q.discarded_at is not null or q.superseded_by is not null"
    " or exists (select from _importers.run b where b.id = q.replayed_by and b.state = 'committed'))"
)
"""What no longer is in quarantine."""


class Wrong(AssertionError):
    """The import isn't what it must be."""


def must(true: object, what: str, got: object = "") -> None:
    if not true:
        raise Wrong(f"{what}: {got}" if got != "" else what)


@dataclass(frozen=True)
class Inspector:
    """Looks at a site from outside: SQL and the disk."""

    site: Site
    sql: psycopg.Connection

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self.sql.execute(query, values).fetchall()  # type: ignore[arg-type]

    @property
    def stream(self) -> str:
        return f"{self.site.tenant}.{PIPELINE}.{STREAM}"

    def rows(self) -> list[tuple[Any, ...]]:
        return self.ask(f'select play, id, listener::text, track, score from "{self.site.tenant}".{STREAM} order by 1')

    def table_is(self, expected: Sequence[Row]) -> None:
        found = self.rows()
        are, should = Counter(r[:2] + r[3:] for r in found), Counter(r[:2] + r[3:] for r in expected)
        must(are == should, "wrong rows", {"more": list(are - should)[:9], "fewer": list(should - are)[:9]})
        pairs = {(row[2], token[2]) for row, token in zip(expected, found, strict=True)}
        must(len(pairs) == len({p[0] for p in pairs}) == len({p[1] for p in pairs}), "listeners don't match tokens")
        must(not any("listener" in token for _, token in pairs), "a listener isn't pseudonymised")

    def position_is(self, *files: str) -> None:
        found = dict(self.ask("select lane, value from _importers.position where stream = %s", self.stream))
        stats = {path: path.stat() for path in (self.site.data / name for name in files)}
        expected = {path.name: {"size": s.st_size, "mtime_ns": s.st_mtime_ns} for path, s in stats.items()}
        must(found == ({} if self.site.mode is LoadMode.REPLACE else expected), "wrong position", found)

    def runs(self) -> list[tuple[Any, ...]]:
        return self.ask(
            "select id, key, state, sealed_key is not null, jsonb_array_length(plan->'partitions')"
            " from _importers.run where stream = %s order by id",
            self.stream,
        )

    def settled(self) -> None:
        """No run is open or has a key, and every committed one has all receipts."""
        for id_, key, state, has_key, partitions in self.runs():
            must(state != RunState.OPEN, "a run is open", key)
            must(not has_key, f"a {state} run still has its key", key)
            if state == RunState.COMMITTED:
                receipts = self.ask(
                    "select partition, rows, loaded, suppressed from _importers.receipt where run = %s order by 1", id_
                )
                must([r[0] for r in receipts] == list(range(partitions)), "receipts are missing", receipts)

    def readable(self) -> list[str]:
        """Staged attempts that a key in the database opens."""
        found = []
        with closing(self.site.job) as job:
            for id_, partitions in self.ask(
                "select id, jsonb_array_length(plan->'partitions') from _importers.run"
                " where stream = %s and sealed_key is not null",
                self.stream,
            ):
                run = job.destination.find(id_)
                key = job.keys.open_run_key(run.sealed_key or b"")
                for number in range(partitions):
                    for staged in job.staging.attempts(job.place(run).partition(number), key):
                        found += [staged.uri for _ in job.staging.read(staged, key)]
        return found

    def staged_files(self) -> list[Path]:
        return [path for path in (self.site.root / "staging").glob(f"*/{self.site.tenant}/**/*") if path.is_file()]

    def shadows(self) -> list[str]:
        """Tables beside the table that it doesn't show."""
        return [
            name
            for (name,) in self.ask(
                "select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
                " where n.nspname = %s and c.relkind = 'r' and c.relname ~ '^_r[0-9]+$' and not c.relispartition",
                self.site.tenant,
            )
        ]

    def sweep(self) -> None:
        swept = sweep(self.site.installation, {self.site.tenant: self.site.definition})
        must(not swept.staging.failed and not swept.quarantine.failed, "a sweep failed")

    def quarantined(self) -> dict[int, Counter[int | None]]:
        """The plays that each run's quarantine holds, None for what was no row. Registry and disk must agree."""
        registered = self.ask(
            "select run, uri, rows from _importers.quarantine q join _importers.run r on r.id = q.run"
            f" where r.stream = %s and not {ENDED}",
            self.stream,
        )
        folder = self.site.root / "quarantine"
        on_disk = {path.as_uri() for path in folder.resolve().glob(f"*/{self.site.tenant}/**/*") if path.is_file()}
        must({uri for _, uri, _ in registered} == on_disk, "registry and quarantine differ", on_disk)
        plays: dict[int, Counter[int | None]] = {}
        with closing(self.site.job) as job:
            for id_, uri, count in registered:
                table = job.quarantine.read(uri, job.keys.quarantine())
                must(table.num_rows == count, "a quarantine file has other rows than registered", uri)
                plays.setdefault(id_, Counter()).update(table["play"].to_pylist())
        for id_, missing in self.ask(
            "select receipt_of.run, sum(receipt_of.rows - loaded - suppressed)::int"
            " from _importers.receipt receipt_of join _importers.run on id = run"
            " where stream = %s and state = 'committed' and not exists"
            f" (select from _importers.quarantine q where q.run = receipt_of.run and {ENDED}) group by receipt_of.run",
            self.stream,
        ):
            kept = plays.get(id_, Counter())
            must(missing == kept.total() - kept[None], "rows are neither loaded nor in quarantine", (id_, missing))
        return plays

    def quarantine_is(self, runs: int) -> None:
        """Each of `runs` runs of the second file has its bad rows once."""
        plays = self.quarantined()
        must(len(plays) == runs, "runs with quarantined rows", plays)
        must(all(p == Counter({None: 1, 15: 1, 10: 2}) for p in plays.values()), "wrong quarantine", plays)

    def quarantine_tells(self, files: Sequence[Sequence[Row]]) -> None:
        """Each run's quarantine has, of each file that it read, what is bad of it, once."""
        bad_of = [Counter(row[0] for row in file) - Counter(row[0] for row in good(file)) for file in files]
        for id_, plays in self.quarantined().items():
            malformed = plays.pop(None)
            read = [bad for bad in bad_of if any(play in plays for play in bad)]
            must(len(read) == malformed and sum(read, Counter()) == plays, "wrong quarantine", (id_, plays))


def finished(site: Site, sql: psycopg.Connection, *files: str, quarantines: int = 1) -> None:
    """Everything that must be true once the second file is in; sweeps once."""
    look = Inspector(site, sql)
    look.table_is(site.after)
    look.position_is(*files or ("plays_1.csv", "plays_2.csv"))
    must(not look.readable(), "staged rows can be read")
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left", look.staged_files())
    must(not look.shadows(), "shadow tables are left", look.shadows())
    look.quarantine_is(quarantines)
    look.table_is(site.after)


def replayed(site: Site, sql: psycopg.Connection) -> None:
    """Everything that must be true once the second file's bad rows are in; sweeps once."""
    look = Inspector(site, sql)
    look.table_is(site.mended)
    look.position_is("plays_1.csv", "plays_2.csv")
    must(not look.readable(), "staged rows can be read")
    look.sweep()
    look.settled()
    must(not look.staged_files(), "staged files are left", look.staged_files())
    left = list(look.quarantined().values())
    must(left == [Counter({None: 1})], "wrong quarantine", left)
    look.table_is(site.mended)


def again(site: Site, key: str = "second", processes: int = 1, replay: bool = False) -> Result:
    """A scheduler retries; the server may need a moment to notice that the dead process's connection is gone."""
    deadline = time.monotonic() + 180
    while True:
        try:
            return site.replay(key, processes=processes) if replay else site.run(key, processes=processes)
        except RunBusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
