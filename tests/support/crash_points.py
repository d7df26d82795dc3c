"""Where an import can be killed: functions of the chain, patched from outside to die before, within or after."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import psycopg

from importers.destinations import _control as control
from importers.destinations import _erasure as erasure
from importers.destinations import _evolving as evolving
from importers.destinations import _live as live
from importers.destinations import _loading as loading
from importers.destinations import _quarantine as registry
from importers.destinations._erasing import PostgresEraser
from importers.destinations._expiring import PostgresExpirer
from importers.destinations._subject_rows import SubjectRows
from importers.destinations.postgresql import PostgresDestination
from importers.ledger import lineage
from importers.pipeline import extract, finish, gate, load, plan
from importers.pipeline.segment import Segment
from importers.sources.databases import _pg_replication as replication
from importers.sources.databases.postgresql import Postgresql
from importers.staging.area import Staging
from importers.staging.frames import FramesWriter
from importers.staging.manifest import Manifest
from importers.staging.quarantine import Quarantine, QuarantineWriter
from importers.staging.store import LocalStore
from importers.staging.writer import StagedWriter

Do = Callable[[], None]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    """Sleep until somebody wakes us: a process whose machine was suspended."""
    os.kill(os.getpid(), signal.SIGSTOP)


@dataclass(frozen=True)
class Call:
    """The `nth` call of a function whose arguments `which` picks."""

    owner: Any
    name: str
    nth: int = 1
    which: Callable[..., bool] = lambda *_: True

    @contextmanager
    def patched(self, before: Do | None, after: Do | None) -> Iterator[None]:
        original = getattr(self.owner, self.name)
        calls = 0

        def replacement(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += self.which(*args)
            hit = calls == self.nth and self.which(*args)
            if hit and before:
                before()
            result = original(*args, **kwargs)
            if hit and after:
                after()
            return result

        with patch.object(self.owner, self.name, replacement):
            yield


@dataclass(frozen=True)
class Before(Call):
    @contextmanager
    def armed(self, do: Do) -> Iterator[None]:
        with self.patched(do, None):
            yield


@dataclass(frozen=True)
class After(Call):
    @contextmanager
    def armed(self, do: Do) -> Iterator[None]:
        with self.patched(None, do):
            yield


@dataclass(frozen=True)
class WithinIterator(Call):
    """Once the `nth` item of what the function's first call yields was used."""

    @contextmanager
    def armed(self, do: Do) -> Iterator[None]:
        original = getattr(self.owner, self.name)
        calls = 0

        def replacement(*args: Any, **kwargs: Any) -> Iterator[Any]:
            nonlocal calls
            calls += 1
            first = calls == 1
            for number, item in enumerate(original(*args, **kwargs)):
                if first and number == self.nth:
                    do()
                yield item

        with patch.object(self.owner, self.name, replacement):
            yield


@dataclass(frozen=True)
class CommitSent(Call):
    """The transaction in which the function was called has sent its COMMIT, and nobody hears the answer."""

    @contextmanager
    def armed(self, do: Do) -> Iterator[None]:
        with ExitStack() as stack:

            def send(transaction: psycopg.Transaction) -> Iterator[None]:
                transaction.connection.pgconn.send_query(b"COMMIT")
                do()
                stack.close()  # once: who survives that has lost this connection, and works on with another
                transaction.connection.close()
                raise psycopg.OperationalError("server closed the connection unexpectedly")
                yield

            def arm() -> None:
                stack.enter_context(patch.object(psycopg.Transaction, "_commit_gen", send))

            stack.enter_context(self.patched(None, arm))
            yield


@dataclass(frozen=True)
class Sent(Call):
    """What the function asked, in a pipeline, is on its way with what was asked before it; nobody hears the answer."""

    @contextmanager
    def armed(self, do: Do) -> Iterator[None]:
        original = getattr(self.owner, self.name)
        calls = 0

        def asked(connection: psycopg.Connection, *args: Any) -> Any:
            nonlocal calls
            calls += 1
            found = original(connection, *args)
            if calls == self.nth:
                connection.pgconn.pipeline_sync()
                connection.pgconn.flush()
                do()
            return found

        with patch.object(self.owner, self.name, asked):
            yield


Point = Before | After | WithinIterator | CommitSent | Sent


def _second(writer: StagedWriter, *_: Any) -> bool:
    return writer.place.number == 1


def _manifest(_: object, __: str, path: str = "") -> bool:
    return path.endswith("/manifest")


POINTS: dict[str, Point] = {
    "plan: nothing is stored": Before(control, "insert_run"),
    "plan: stored, not committed": After(control, "insert_run"),
    "plan: COMMIT sent": CommitSent(PostgresDestination, "_own"),
    "plan: done": After(plan, "plan"),
    "stage: the first batch read": After(FramesWriter, "write"),
    "stage: within the second partition": After(StagedWriter, "write", which=_second),
    "stage: files written, no manifest": Before(Manifest, "encode"),
    "stage: the manifest has no name yet": Before(LocalStore, "publish", which=_manifest),
    "stage: a manifest, no verdict": After(StagedWriter, "finish"),
    "stage: quarantined, no verdict": After(QuarantineWriter, "finish"),
    "stage: one partition of three": After(extract, "stage"),
    "gate: before": Before(gate, "gate"),
    "gate: duplicates quarantined, not registered": Before(registry.PostgresQuarantine, "register"),
    "gate: quarantine registered": After(gate, "_register"),
    "gate: the table made, not committed": After(evolving, "ensure"),
    "gate: COMMIT sent": CommitSent(lineage, "record"),
    "gate: done": After(gate, "gate"),
    "load: a receipt, no row": After(control, "insert_receipt"),
    "load: within COPY": WithinIterator(loading, "binary_copy", 1),
    "load: rows, not committed": After(loading, "copy"),
    "load: a receipt with counts, not committed": After(control, "complete_receipt", 2),
    "load: COMMIT sent": CommitSent(control, "complete_receipt"),
    "load: one partition of three": After(load, "load"),
    "load: two partitions of three": After(load, "load", 2),
    "commit: before": Before(finish, "commit"),
    "commit: the table changed, the run open": After(loading, "make_it_count"),
    "commit: the position moved, not committed": Before(control, "close_run"),
    "commit: all written, not committed": After(control, "close_run"),
    "commit: COMMIT sent": CommitSent(control, "close_run"),
    "commit: done": After(PostgresDestination, "commit"),
    "clean: before": Before(finish, "clean"),
    "clean: the key destroyed, the files there": Before(Staging, "delete_run"),
    "clean: half deleted": After(LocalStore, "remove", 3, which=lambda *_: True),
    "clean: all deleted": After(Staging, "delete_run"),
}
OF_REPLAYS: dict[str, Point] = {
    "plan: the files claimed, not committed": After(registry, "claim"),
    "clean: the first of the files that were read is gone": After(Quarantine, "delete"),
}
"""What no other run does."""
OF_STREAMS: dict[str, Point] = {
    "live: the run is opened": After(PostgresDestination, "open"),
    "live: the table is made": After(PostgresDestination, "prepare"),
    "live: a batch is read": Before(Segment, "judged", 3),
    "live: a batch is judged": After(Segment, "judged", 3),
    "live: quarantined, not registered": After(QuarantineWriter, "finish"),
    "live: the position moved, no row": After(live.LiveTable, "begin", 3),
    "live: within COPY": WithinIterator(live, "binary_copy", 1),
    "live: rows, no receipt": After(live.LiveTable, "load", 2),
    "live: all written, not committed": Sent(live, "add_to_receipt", 3),
    "live: COMMIT sent": Sent(live, "commit", 3),
    "live: committed, not known": After(PostgresDestination, "load_live", 3),
    "live: all is loaded, the run open": Before(Segment, "close"),
    "live: the run is closed": After(PostgresDestination, "commit"),
}
"""Of micro-batches: the first one says where reading begins."""
OF_CHANGES: dict[str, Point] = {
    "subscribe: a publication, no slot": Before(replication, "reserve"),
    "subscribe: a slot, no run": Before(PostgresDestination, "open"),
    "plan: the slot moved to where the last run ended": After(replication, "advance"),
    "clean: the slot moved": After(Postgresql, "acknowledge"),
}
"""What only a run does that reads changes of a PostgreSQL table."""
OF_ERASURES: dict[str, Point] = {
    "listed, not committed": After(erasure, "suppress"),
    "listed": After(PostgresEraser, "begin"),
    "a table's rows deleted, not committed": After(SubjectRows, "_delete"),
    "a table's rows deleted": After(PostgresEraser, "erase"),
    "a file rewritten, not registered": After(Quarantine, "erase_subjects"),
    "not finished": Before(PostgresEraser, "finish"),
}
OF_SWEPT_FILES: dict[str, Point] = {
    "a file's end is noted, the file is there": After(registry.PostgresQuarantine, "expire"),
    "a file is deleted": After(LocalStore, "remove"),
}
OF_SWEPT_ROWS: dict[str, Point] = {
    "rows are deleted, not counted": After(PostgresExpirer, "_delete"),
    "rows are deleted and counted, not committed": After(PostgresExpirer, "_note"),
    "a stretch is committed, the next is not": After(PostgresExpirer, "_note", 2),
    "all rows are deleted, no run says so": Before(PostgresExpirer, "_finish"),
    "the runs say so": After(PostgresExpirer, "_finish"),
}
ALL = {
    **POINTS,
    **OF_REPLAYS,
    **OF_STREAMS,
    **OF_CHANGES,
    **OF_ERASURES,
    **OF_SWEPT_FILES,
    **OF_SWEPT_ROWS,
}
