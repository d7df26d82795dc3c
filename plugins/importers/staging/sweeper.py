"""Ends what is left: data of runs that are over or silent, half-written attempts, quarantine past its time.

Deletes only what has the layout of `place`, whatever else lies below the root. Several sweepers may run at once. Files
are listed before anybody is asked about their run: what is listed belongs to a run that the answer knows.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from importers.exceptions import StagingError
from importers.staging import manifest
from importers.staging.area import Staging
from importers.staging.place import ATTEMPT, PARTITION, RunPlace
from importers.staging.quarantine import Quarantine
from importers.staging.store import Entry, Store

ABANDONED_AFTER = timedelta(hours=6)
"""How long something half-written may rest while its run is live; the slowest source fills a row group in less."""


@dataclass(slots=True)
class SweepReport:
    """Files and bytes that went; files that stay, needed or not ours; the runs that couldn't be swept now."""

    deleted: int = 0
    bytes: int = 0
    kept: int = 0
    failed: list[RunPlace] = field(default_factory=list)


def sweep(
    staging: Staging,
    is_live: Callable[[RunPlace], bool],
    ttl: Callable[[RunPlace], timedelta],
    now: datetime,
) -> SweepReport:
    """Delete what no run needs.

    `is_live` says whether a run may still be loaded: open, its key not destroyed. A live run goes too once nothing
    was written to it for longer than `ttl`; within that, its attempts without a manifest go after `ABANDONED_AFTER`.
    """

    def doomed(run: RunPlace, entries: Sequence[Entry]) -> list[Entry]:
        if not is_live(run) or _newest(entries) < now - ttl(run):
            return list(entries)
        return _unfinished(entries, now - ABANDONED_AFTER)

    return _sweep(staging.store, rf"{PARTITION}/{ATTEMPT}/[^/]+", doomed, now - ABANDONED_AFTER)


def sweep_quarantine(
    quarantine: Quarantine,
    stays: Callable[[RunPlace, str], bool | None],
    is_live: Callable[[RunPlace], bool],
    now: datetime,
) -> SweepReport:
    """Delete quarantine files past their retention, and those that nobody can find.

    `stays` says whether the registry wants a URI kept, None if it doesn't know it. Once it has said no, nobody else
    finds the file: a sweep that dies before the deletion is told so again. What isn't known goes once its run isn't
    live; while it is, what is half-written goes after `ABANDONED_AFTER`.
    """

    def is_doomed(run: RunPlace, entry: Entry) -> bool:
        live = is_live(run)  # asked first: what a run registers before it ends is then seen to be registered
        kept = None if _is_temporary(entry) else stays(run, quarantine.store.uri_of(entry.path))
        if kept is not None:
            return not kept
        return not live or (_is_temporary(entry) and entry.modified < now - ABANDONED_AFTER)

    def doomed(run: RunPlace, entries: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in entries if is_doomed(run, entry)]

    file = rf"{PARTITION}-{ATTEMPT}\.parquet"
    return _sweep(quarantine.store, rf"{file}|\.{file}\.[0-9a-f]+\.tmp", doomed, now - ABANDONED_AFTER)


def _sweep(
    store: Store, layout: str, doomed: Callable[[RunPlace, Sequence[Entry]], list[Entry]], empty_since: datetime
) -> SweepReport:
    """Delete what `doomed` names of each run's files; `layout` is how their paths go on after the run's."""
    report = SweepReport()
    for run, entries in _by_run(store, re.compile(layout), report).items():
        going = doomed(run, entries)
        report.kept += len(entries) - len(going)
        try:
            with store.reaching(**run.where):
                for entry in going:
                    store.remove(entry.path)
                    report.deleted += 1
                    report.bytes += entry.bytes
                for directory in {run.path} if len(going) == len(entries) else {_directory(e) for e in going}:
                    store.prune(directory)
        except StagingError:
            report.failed.append(run)  # the other runs' data must not stay because of it
    with store.reaching():
        store.prune_old(empty_since)
    return report


def _by_run(store: Store, layout: re.Pattern[str], report: SweepReport) -> dict[RunPlace, list[Entry]]:
    runs = defaultdict(list)
    with store.reaching():
        for entry in store.walk():
            parts = entry.path.split("/", 4)
            run = RunPlace.parse("/".join(parts[:4]))
            if run is not None and layout.fullmatch("/".join(parts[4:])):
                runs[run].append(entry)
            else:
                report.kept += 1
    return runs


def _unfinished(entries: Iterable[Entry], before: datetime) -> list[Entry]:
    attempts = defaultdict(list)
    for entry in entries:
        attempts[_directory(entry)].append(entry)
    return [
        entry
        for directory, files in attempts.items()
        if all(file.path != f"{directory}/{manifest.NAME}" for file in files) and _newest(files) < before
        for entry in files
    ]


def _directory(entry: Entry) -> str:
    return entry.path.rpartition("/")[0]


def _newest(entries: Iterable[Entry]) -> datetime:
    return max(entry.modified for entry in entries)


def _is_temporary(entry: Entry) -> bool:
    return entry.path.endswith(".tmp")
