"""sweep: end what failed, crashed or forgotten runs have left, and what is kept no longer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from importers.core.destination import Destination
from importers.core.model import QuarantineFile, Reads, Run, RunState, Stream
from importers.core.names import StreamName
from importers.core.retention import Expired, Expirer
from importers.core.settings import kept_in_quarantine
from importers.core.tenant import Pipeline, Tenant, period
from importers.exceptions import ImporterError, RunAbortedError
from importers.pipeline.installation import Installation
from importers.pipeline.retention import expire, keeps_for_a_time
from importers.staging.area import Staging
from importers.staging.place import RunPlace
from importers.staging.quarantine import Quarantine
from importers.staging.sweeper import SweepReport, sweep_quarantine
from importers.staging.sweeper import sweep as sweep_staging

_DEFAULTS = Pipeline(importer="none")
_NOBODY = RunPlace("sweep", "sweep", "sweep", 0)  # asks what doesn't depend on a tenant
_FOREVER = timedelta(days=36_500)


@dataclass(frozen=True, slots=True)
class Swept:
    """What went from staging, from quarantine and from tables; `failed` says why rows are there that should be gone."""

    staging: SweepReport
    quarantine: SweepReport
    rows: tuple[Expired, ...] = ()
    failed: tuple[ImporterError, ...] = ()


def sweep(
    installation: Installation,
    tenants: Mapping[str, Tenant],
    now: datetime | None = None,
    *,
    spare: Collection[str] = (),
) -> Swept:
    """Destroy the keys and delete the files of runs that are over, or that nobody took up within their `staging_ttl`.

    Another warehouse's are left alone: its runs have the same numbers. Quarantine goes when its retention is over, and
    so do rows. A pipeline that no file describes any more is swept by its tenant's words, else by the defaults, which
    keep rows. `spare` are tenants whose files can't be read now: what they keep, and how long, isn't known.
    `now` is the warehouse's, which runs, rows and quarantine are dated by: a worker's clock may be years ahead. Files
    are dated by whoever has the disk, and are as old as the earlier of the two clocks says.
    Raises StagingError, TransientSourceError.
    """
    with ExitStack() as stack:
        runs = _Runs(installation, stack)
        clock = runs.now()
        now = now or clock
        late = now - clock
        of_files = min(clock, datetime.now(UTC)) + late

        def ttl(place: RunPlace) -> timedelta:
            return _FOREVER if place.tenant in spare else period(_pipeline(tenants, place).staging_ttl)

        def is_live(place: RunPlace) -> bool:
            return runs.is_live(place, ttl(place) - late)

        def is_kept(place: RunPlace, uri: str) -> bool | None:
            file = runs.registered(place, uri)
            if file is None or file.expired or place.tenant in spare:
                return None if file is None else not file.expired
            kept = kept_in_quarantine(tenants.get(place.tenant), place.pipeline, place.stream)
            if file.since is None or file.since >= now - kept.time:
                return True
            if file.claimed_by is not None:
                is_live(replace(place, run=file.claimed_by))  # a replay that died gives it back
            return not runs.expire(place, uri, kept.said)

        staging = sweep_staging(Staging(installation.staging, runs.warehouse), is_live, ttl, of_files)
        files = Quarantine(installation.quarantine, runs.warehouse)
        quarantine = sweep_quarantine(files, is_kept, is_live, of_files)
        rows, failed = list[Expired](), list[ImporterError]()
        for name in sorted(tenants.keys() - set(spare)):
            if keeps_for_a_time(tenants[name]):
                expirer = runs.expirer(name)
                for open_run in expirer.unfinished():  # one that died, and left no file by which it would be found
                    _, pipeline, stream = StreamName.of(open_run.stream)
                    is_live(RunPlace(name, pipeline, stream, open_run.run))
                gone, stays = expire(expirer, tenants[name], now)
                rows, failed = rows + gone, failed + stays
        return Swept(staging, quarantine, tuple(rows), tuple(failed))


def _pipeline(tenants: Mapping[str, Tenant], place: RunPlace) -> Pipeline:
    tenant = tenants.get(place.tenant)
    return tenant.pipelines.get(place.pipeline, _DEFAULTS) if tenant else _DEFAULTS


class _Runs:
    """What the warehouse knows of runs, asked once for each."""

    def __init__(self, installation: Installation, stack: ExitStack) -> None:
        self._installation, self._stack = installation, stack
        self._keyring = installation.keyring()
        self._destinations: dict[tuple[str, str], Destination] = {}
        self._asked: Destination | None = None
        self._live: dict[RunPlace, bool] = {}

    def now(self) -> datetime:
        return self._destination(_NOBODY).now()

    @cached_property
    def warehouse(self) -> str:
        return self._destination(_NOBODY).warehouse_id()

    def is_live(self, place: RunPlace, ttl: timedelta) -> bool:
        """Whether the run may still be loaded. One that nobody took up in time is aborted, so that it isn't."""
        if place not in self._live:
            self._live[place] = self._ask(place, ttl)
        return self._live[place]

    def _ask(self, place: RunPlace, ttl: timedelta) -> bool:
        destination = self._destination(place)
        try:
            run = destination.find(place.run)
        except RunAbortedError:  # nobody knows it
            return False
        if run.state is RunState.OPEN and destination.idle(run) > ttl:
            destination.abort(run, _stream_of(run))
            return False
        if run.state is not RunState.OPEN and run.sealed_key is not None:
            destination.destroy_key(run)
        return run.state is RunState.OPEN

    def registered(self, place: RunPlace, uri: str) -> QuarantineFile | None:
        files = self._destination(place).quarantine().of_run(place.run, ended=False)
        return next((file for file in files if file.uri == uri), None)

    def expire(self, place: RunPlace, uri: str, kept_for: str) -> bool:
        return self._destination(place).quarantine().expire(uri, kept_for)

    def expirer(self, tenant: str) -> Expirer:
        return self._destination(replace(_NOBODY, tenant=tenant)).expirer()

    def _destination(self, place: RunPlace) -> Destination:
        key = place.tenant, place.pipeline
        if key not in self._destinations:
            opened = self._installation.open_destination(place.pipeline, self._keyring.tenant(place.tenant))
            self._destinations[key] = self._stack.enter_context(closing(opened))
        destination = self._destinations[key]
        if self._asked is not None and self._asked is not destination:
            self._asked.close()  # opens again when it is asked again: one connection at a time, however many pipelines
        self._asked = destination
        return destination


def _stream_of(run: Run) -> Stream:
    """As much of the stream as abort needs."""
    return Stream(StreamName.of(run.stream).stream, (), Reads.POSITION, load_mode=run.mode, table=run.table)
