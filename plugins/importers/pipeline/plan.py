"""plan: fix what a run reads, before anything is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from importers.core.model import LoadMode, Plan, Position, Reads, Run, RunKind, RunState, Stream, Window
from importers.core.parts import Place
from importers.core.settings import importer_settings
from importers.exceptions import ConfigError
from importers.pipeline import contract, extract, replay, treatments, unseen, whose, writers
from importers.pipeline.domains import settle
from importers.pipeline.job import Job
from importers.pipeline.lint_notes import AND_SO, EACH_A_VERSION, rereads


def plan(
    job: Job,
    key: str,
    kind: RunKind = RunKind.INCREMENTAL,
    window: Window | None = None,
    *,
    lease: float | None = None,
    full_refresh: bool = False,
) -> Run:
    """Open the run that `key` names, or return it as it is stored.

    Policy and rules are made first: a column that nobody classified stops the run before a byte is read. With
    `full_refresh` an incremental run reads everything again, which only merge and replace can do without doubling.
    A replay's partitions are the quarantine files that no other replay has claimed; there may be none. An open
    run whose partitions another version of the source has planned, or another source, is aborted and planned anew.
    Raises ConfigError, PrivacyError, RunBusyError, and what the source raises.
    """
    window = window or Window()
    with job.at():
        job = treatments.told(_held(job, kind, window, full_refresh=full_refresh))
        asked = job.requested  # policy and rules

        def sealed(position: Position) -> Plan:
            planned = _planned(job, kind, window, position, full_refresh=full_refresh)
            settle(job.destination, job.policy.domains)  # last: another pipeline's first run waits for this one's
            return planned

        if kind is not RunKind.REPLAY:
            job.source.subscribe(asked)
        _, sealed_key = job.keys.new_run_key()
        run = job.destination.open(job.stream, key, kind, window, sealed, sealed_key, lease)
        if kind is RunKind.REPLAY or _is_readable(job, run):
            return run
        job.destination.abort(run, job.stream)
        return job.destination.open(job.stream, key, kind, window, sealed, sealed_key, lease)


def _is_readable(job: Job, run: Run) -> bool:
    """Whether what is still to be read of an open run was planned by such a source as will read it, by its settings."""
    unread = [part for number, part in enumerate(run.plan.partitions) if number not in run.receipts]
    if run.state is not RunState.OPEN or not unread:
        return True
    return extract.settings_hold(job, run) and all(map(job.source.knows, unread))


def foresee(job: Job, window: Window | None = None, *, full_refresh: bool = False) -> Plan:
    """What a run that starts now would read: nothing is opened or written. A bounded window makes it a backfill.

    Raises what `plan` raises, but for runs that are in the way: those may be over by then.
    """
    window = window or Window()
    kind = RunKind.WINDOW if window.bounded else RunKind.INCREMENTAL
    with job.at():
        job = treatments.told(_held(job, kind, window, full_refresh=full_refresh))
        return _planned(job, kind, window, position_of(job, window), full_refresh=full_refresh)


def _held(job: Job, kind: RunKind, window: Window, *, full_refresh: bool) -> Job:
    """The job of what such a run may bring: a stream that can be loaded so, and of it what was agreed."""
    _check(job, kind, full_refresh)
    if kind is RunKind.REPLAY:
        _check_replay(job, window, full_refresh)
        return _replayed(job)
    return agreed(job, window, position_of(job, window, full_refresh=full_refresh))


def _planned(job: Job, kind: RunKind, window: Window, position: Position, *, full_refresh: bool) -> Plan:
    """What such a run reads that finds its table at `position`, and what is to be said of it."""
    asked = job.requested
    job.destination.suits(job.stream, job.policy.table(job.asked.schema))
    treatments.refuse_unfit(job)
    others = whose.changed(job)
    treatments.refuse_other_keys(job)
    more: Sequence[str] = ()
    if kind is RunKind.REPLAY:
        begun, planned = Start({}, (), False), replay.plan_of(job)
    else:
        begun = start(job, kind, position, full_refresh=full_refresh)
        planned = job.source.plan(asked, window, begun.position)
        more = (*_each_a_version(job), *_unseen(job, planned))
    changed = () if full_refresh else treatments.changed(job)
    notes = (*planned.notes, *begun.notes, *others, *changed, *more)
    known = contract.remembering(job.stream, planned)
    if not job.destination.is_new():
        writers.check(job)  # last: until the run is open nobody else's of the table can be
    said = "" if kind is RunKind.REPLAY else job.source.config.fingerprint
    planned = replace(planned, refresh=full_refresh, dropped=begun.dropped, seen=None, settings=said)
    return replace(planned, stream=known, notes=notes)


class Start(NamedTuple):
    """Where a run begins to read, what is to be said of it, and whether its table was dropped."""

    position: Position
    notes: Sequence[str]
    dropped: bool


def start(job: Job, kind: RunKind, position: Position, *, full_refresh: bool = False) -> Start:
    """Where a run begins to read that finds its table at `position`.

    A table that the stream has never loaded is read from the beginning, as by a full refresh, whatever is in others;
    and so is one that was dropped.
    """
    new = job.destination.is_new()
    former = None if new or position or not job.stream.resumes(kind) else job.destination.former(job.stream)
    if former is None:
        only = _only_this_window(job) if kind is RunKind.WINDOW and not new else ()
        return Start(job.source.refreshed(position) if full_refresh else position, only, False)
    table, there = former
    dropped = table == job.stream.target
    why = "was dropped" if dropped else "is new to this pipeline"
    note = f"{_table(job)} {why}: what the source has is read from the beginning"
    if table and not dropped:
        note += f". {job.tenant.tenant}.{table}, which it loaded before, stays as it is"
    return Start(job.source.refreshed(there), (note,), dropped)


def _only_this_window(job: Job) -> Sequence[str]:
    before = next((stream for stream in job.destination.remembered() if stream.name == job.stream.name), None)
    if before is None or before.target == job.stream.target or job.destination.loaded_as(job.stream):
        return ()
    return (
        f"{_table(job)} is new to this pipeline, and gets this interval. Load those that are in "
        f"{job.tenant.tenant}.{before.target} again by a backfill",
    )


def _table(job: Job) -> str:
    return f"{job.tenant.tenant}.{job.stream.target}"


def agreed(job: Job, window: Window | None = None, position: Position | None = None) -> Job:
    """The job with as much of its stream as the schema contract lets in. Raises ContractError if columns have gone.

    With a `position` what a run reads from there on is held to the contract, without it all that the source offers.
    """
    known, window = _known(job), window or Window()
    load, offered = job.settings.load, job.stream
    parts: Callable[[], Sequence[Place]] = tuple
    if position is not None:
        loaded = position or (_loaded(job, known) if known else {})
        offered = replace(job.source.delivered(offered, window, position), loaded=loaded)
        offered = contract.marked(offered, known, load)
        parts = partial(job.source.parts, offered, window, position)
    if known is None:
        return job if position is None else job.of(offered)
    dropped = contract.dropped(job.settings.privacy, known)
    settled = contract.settled(offered.columns, job.settings)
    stream = contract.agreed(
        offered, known, load, sparse=job.source.sparse(), dropped=dropped, settled=settled, parts=parts
    )
    job = job.of(stream)
    if job.stream.columns == offered.columns:
        return job
    wide = contract.widened(job.stream, offered, job.asked)
    return job if wide is job.stream else job.of(wide)


def _loaded(job: Job, known: Stream) -> Position:
    """What of the source is in the table; nothing of one whose parts have the same columns, as nobody will ask."""
    differ = any(column.since for column in known.columns)
    return (job.destination.position(job.stream) or known.loaded) if differ else {}


def _known(job: Job) -> Stream | None:
    """The stream as its last committed run was planned with it."""
    streams = () if job.destination.is_new() else job.destination.remembered()
    return next((stream for stream in streams if stream.name == job.stream.name), None)


def _replayed(job: Job) -> Job:
    """The job of what is in quarantine: held to what was agreed, and to no file or server of today."""
    known = _known(job)
    if known is None:
        return job
    return job.of(contract.replayed(job.stream, known, job.settings, replay.columns(job)))


def position_of(job: Job, window: Window, *, full_refresh: bool = False) -> Position:
    """Where such a run starts; nothing if it reads from the beginning, or a window."""
    kind = RunKind.WINDOW if window.bounded else RunKind.INCREMENTAL
    if full_refresh or not job.stream.resumes(kind) or job.destination.is_new():
        return {}
    return job.destination.position(job.stream)


def _each_a_version(job: Job) -> Sequence[str]:
    """Said in each run: how a table grows is seen late."""
    stream = job.stream
    unversioned = stream.load_mode is LoadMode.HISTORY and stream.cursor is None
    if not unversioned or not rereads(importer_settings(job.tenant, job.pipeline)[0], stream.reads):
        return ()
    return (f"{EACH_A_VERSION}. {AND_SO[0].upper()}{AND_SO[1:]}",)


def _unseen(job: Job, planned: Plan) -> Sequence[str]:
    known = None if planned.seen is None else _known(job)
    return () if known is None or planned.seen is None else unseen.notes(known, planned.seen, job.settings)


def _check(job: Job, kind: RunKind, full_refresh: bool) -> None:
    mode, reads = job.stream.load_mode, job.stream.reads
    job.source.suits(mode)
    if mode not in job.destination.modes:
        allowed = ", ".join(sorted(job.destination.modes))
        raise ConfigError(f"{job.destination.title} can't load in mode '{mode}' yet", do=f"allowed: {allowed}")
    if kind is RunKind.WINDOW and (mode is LoadMode.REPLACE or reads is Reads.SNAPSHOT):
        raise ConfigError("a snapshot can't be backfilled: it is what the source has now", do="run it without a window")
    if kind is RunKind.WINDOW and mode is LoadMode.APPEND and reads is Reads.POSITION:
        raise ConfigError(
            "a backfill would append rows that an incremental run loads as well",
            do="set load.mode: merge with a primary_key, then backfill",
        )
    if kind is RunKind.INCREMENTAL and mode is LoadMode.APPEND and reads is Reads.WINDOW:
        raise ConfigError(
            "rows are appended by interval, and without one nothing says which of them are in already",
            do="say from when to when, by --from and --to or in the trigger form; or set load.mode: merge with a "
            "primary_key",
        )
    if kind is not RunKind.REPLAY and mode is LoadMode.APPEND and (reads is Reads.SNAPSHOT or full_refresh):
        raise ConfigError(
            "appending everything again would double its rows",
            do="set load.mode: replace, or merge with a primary_key; and a new load.table if rows are in the old one",
        )


def _check_replay(job: Job, window: Window, full_refresh: bool) -> None:
    if job.stream.load_mode is LoadMode.REPLACE:
        raise ConfigError(
            "a snapshot's quarantine isn't replayed: the next run reads everything again",
            do="run the pipeline, then discard the quarantine",
        )
    if window.bounded or full_refresh:
        raise ConfigError("a replay reads quarantine, not the source", do="leave out the window and the full refresh")
