"""The streams of a process: a thread each, which begins again after whatever ended it."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Event, Thread

from polars.exceptions import PanicException
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from importers.core.registry import source_class
from importers.core.settings import importer_settings, pipeline_of
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ImporterError, RunBusyError, TransientSourceError
from importers.pipeline.installation import Installation
from importers.pipeline.job import Job
from importers.pipeline.jobs import jobs
from importers.pipeline.lint import check
from importers.pipeline.stream import Beat, stream
from importers.pipeline.tenants import find_tenant, read_tenant, read_tenants
from importers.pipeline.unopened import Attempt

FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0  # seconds
KEY = "importers.server"
"""The key under which a stream that can't be followed is listed: each failure in place of the one before."""
LOOK = 5.0  # seconds between two looks at a tenant's file
_SPAN = 10  # seconds over which rows a second are counted
_log = logging.getLogger(__name__)


class State(StrEnum):
    """What a stream is doing."""

    STARTING = "starting"
    RUNNING = "running"
    WAITING = "waiting"
    """Another process has the stream."""
    FAILING = "failing"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Name:
    """What is followed. `stream` is empty for a pipeline that names none: its source has just one."""

    tenant: str
    pipeline: str
    stream: str = ""

    def __str__(self) -> str:
        return f"{self.tenant}.{self.pipeline}" + (f"/{self.stream}" if self.stream else "")


@dataclass(slots=True)
class Status:
    """How a stream is. Written by its own thread, read by others."""

    name: Name
    state: State = State.STARTING
    error: str = ""
    failures: int = 0
    commits: int = 0
    committed_at: float | None = None
    """Seconds since 1970 of the last commit."""
    total: Beat = field(default_factory=Beat)
    _seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_SPAN + 1))

    @property
    def healthy(self) -> bool:
        return self.state is not State.FAILING

    @property
    def rows_a_second(self) -> float:
        """Of the last seconds."""
        now, seen = time.monotonic(), [*self._seen]
        first = next((each for each in seen if each[0] > now - _SPAN - 1), None)
        return (self.total.rows - first[1]) / max(now - first[0], 1) if first else 0.0

    def note(self, beat: Beat) -> None:
        now = time.monotonic()
        if not self._seen or now - self._seen[-1][0] >= 1:
            self._seen.append((now, self.total.rows))
        self.total += beat
        if beat.rows:
            self.commits += 1
            self.committed_at = time.time()


def found(directory: Path, pipelines: Sequence[str]) -> list[Name]:
    """What is named, or all that a folder of tenants wants streamed. Raises ConfigError if that is nothing."""
    if pipelines:
        return [name for each in pipelines for name in _named(directory, each)]
    files, errors = read_tenants(directory)
    for error in errors:
        _log.warning("left out: %s", error)
    names = [name for file in files for name in _continuous(file.tenant)]
    if not names:
        do = 'set `schedule: "@continuous"` for a pipeline whose source can be followed, or name one'
        raise ConfigError(f"no tenant of {directory} has a pipeline to stream", do=do)
    return names


def _named(directory: Path, said: str) -> list[Name]:
    tenant, _, pipeline = said.partition(".")
    if not pipeline:
        raise ConfigError("a pipeline is named TENANT.PIPELINE", got=said[:80], do="such as acme.listening")
    return _names(read_tenant(find_tenant(directory, tenant)).tenant, pipeline)


def _continuous(tenant: Tenant) -> list[Name]:
    wanted = [pipeline for pipeline, spec in tenant.pipelines.items() if spec.schedule == "@continuous"]
    return [name for pipeline in wanted if _follows(tenant, pipeline) for name in _names(tenant, pipeline)]


def _follows(tenant: Tenant, pipeline: str) -> bool:
    try:
        return source_class(importer_settings(tenant, pipeline)[0]).follows
    except ImporterError as error:
        _log.warning("left out: %s", error.at(tenant=tenant.tenant, pipeline=pipeline))
        return False


def _names(tenant: Tenant, pipeline: str) -> list[Name]:
    streams = pipeline_of(tenant, pipeline).streams or [""]
    return [Name(tenant.tenant, pipeline, stream) for stream in streams]


class Streams:
    """Follows streams until `stop` is set."""

    def __init__(self, installation: Installation, directory: Path, names: Sequence[Name], stop: Event) -> None:
        self.statuses = [Status(name) for name in names]
        self._installation, self._directory, self._stop = installation, directory, stop

    def run(self) -> None:
        """Returns when all have ended, each after the transaction that was under way."""
        threads = [Thread(target=self._keep, args=(status,), name=str(status.name)) for status in self.statuses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _keep(self, status: Status) -> None:
        """Begins anew, from the tenant's file as it is then: a mistake that was mended counts from the next time on."""
        file = _File(self._directory, status.name.tenant)
        attempts = Retrying(
            retry=retry_if_exception_type((Exception, PanicException)),
            wait=_wait,
            sleep=lambda seconds: _rest(seconds, self._stop, file),
            stop=stop_when_event_set(self._stop),
            before_sleep=lambda state: self._failed(status, state),
            retry_error_callback=lambda _: None,
        )
        try:
            for attempt in attempts:
                with attempt:
                    while not self._stop.is_set():
                        file.note()
                        self._follow(status, attempt.retry_state, file)
        finally:
            status.state = State.ENDED if self._stop.is_set() else State.FAILING

    def _follow(self, status: Status, attempt: RetryCallState, file: _File) -> None:
        """Until the tenant's file changes: whoever tightens a policy must not wait for a failure."""

        def noted(beat: Beat) -> None:
            status.note(beat)
            if status.state is State.FAILING and beat.behind and not beat.rows:
                return  # what it fails of may be what comes next
            status.state, status.error = State.RUNNING, ""
            attempt.attempt_number = 1  # whatever goes wrong next, its first wait is short again

        status.state = State.STARTING if not status.failures else status.state
        with closing(self._job(status.name)) as job:
            stream(job, lambda: self._stop.is_set() or file.changed(), noted)

    def _job(self, name: Name) -> Job:
        """Raises ConfigError, by the file's line where that is known."""
        file = read_tenant(find_tenant(self._directory, name.tenant))
        for finding in check(file):
            raise finding
        made = jobs(self._installation, file.tenant, name.pipeline, [name.stream] if name.stream else [])
        if len(made) != 1:
            streams = ", ".join(job.stream.name for job in made)
            raise ConfigError("the source has several streams", got=streams, do="name them under `streams:`")
        return made[0]

    def _failed(self, status: Status, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.next_action.sleep if state.next_action else 0.0
        busy = isinstance(error, RunBusyError)
        status.state = State.WAITING if busy else State.FAILING
        status.failures += not busy
        # Of what nobody foresaw only its class: its text may hold a row.
        status.error = str(error) if isinstance(error, ImporterError) else type(error).__name__
        _log.log(logging.INFO if busy else logging.ERROR, "%s; again in %.0f s", status.error, seconds)
        if isinstance(error, ImporterError):
            self._list(status.name, error)

    def _list(self, name: Name, error: ImporterError) -> None:
        with suppress(ImporterError):  # of a file that can't be read: nothing is run
            tenant = read_tenant(find_tenant(self._directory, name.tenant)).tenant
            streams = [name.stream] if name.stream else []
            Attempt(self._installation, tenant, name.pipeline, streams, KEY).note(error, datetime.now(UTC))


class _File:
    """A tenant's file, and whether it is still what it was when it was noted; looks every few seconds."""

    def __init__(self, directory: Path, tenant: str) -> None:
        self._directory, self._tenant = directory, tenant
        self.note()

    def note(self) -> None:
        """Before it is read: what is changed later counts as changed."""
        self._before, self._looked = self._stamp(), time.monotonic()

    def changed(self) -> bool:
        if time.monotonic() - self._looked < LOOK:
            return False
        self._looked = time.monotonic()
        return self._stamp() != self._before

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            about = find_tenant(self._directory, self._tenant).stat()
        except (ConfigError, OSError):
            return None
        return about.st_mtime_ns, about.st_size, about.st_ino


def _rest(seconds: float, stop: Event, file: _File) -> None:
    """Wait, but no longer than until the file changes: who has mended it wants to see it go on."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if stop.wait(min(left, LOOK)) or file.changed():
            return


_backing_off = wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT)


def _wait(state: RetryCallState) -> float:
    """As long as the other side says; else twice as long each time, until something is committed."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, RunBusyError):
        return min(error.retry_after or FIRST_WAIT, LONGEST_WAIT)
    told = error.retry_after if isinstance(error, TransientSourceError) else None
    return max(told or 0.0, _backing_off(state))
