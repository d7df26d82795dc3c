"""The public face: an importer for one tenant, several side by side, and their health. Neither needs Airflow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from importers.api.bar import progress_bar
from importers.api.runner import replay_pipeline, run_pipeline
from importers.api.settings import tenant_of
from importers.core.connection import Connection
from importers.core.model import Health, Leaf, Position, Receipt, Window
from importers.core.names import StreamName
from importers.core.tenant import Tenant
from importers.exceptions import ConfigError, ImporterError
from importers.pipeline.connection import RESOLVER
from importers.pipeline.installation import Installation
from importers.pipeline.job import open_source
from importers.pipeline.run import Progress, Result

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did, over all its streams; `streams` has each one's own."""

    streams: tuple[Result, ...]

    @property
    def rows_read(self) -> int:
        return sum(stream.rows_read for stream in self.streams)

    @property
    def rows_loaded(self) -> int:
        return sum(stream.rows_loaded for stream in self.streams)

    @property
    def rows_quarantined(self) -> int:
        return sum(stream.rows_quarantined for stream in self.streams)

    @property
    def position(self) -> Position:
        """The one stream's lanes; of several streams, each one's lanes by its name."""
        if len(self.streams) == 1:
            return self.streams[0].position
        return {StreamName.of(stream.stream).stream: stream.position for stream in self.streams}

    @property
    def receipts(self) -> tuple[Receipt, ...]:
        return tuple(receipt for stream in self.streams for receipt in stream.receipts)

    @property
    def timings(self) -> dict[str, float]:
        """Seconds by step, by the clock: of several streams, which come one after the other, their sum."""
        steps = {step for stream in self.streams for step in stream.timings}
        return {step: sum(stream.timings.get(step, 0.0) for stream in self.streams) for step in sorted(steps)}

    @property
    def lineage(self) -> tuple[Leaf, ...]:
        return tuple(leaf for stream in self.streams for leaf in stream.lineage)


class Importer:
    """One importer of one tenant, with its settings, policy and rules."""

    def __init__(self, name: str, tenant: Tenant, pipeline: str, connection: Connection | None = None) -> None:
        self.name, self.tenant_id, self.pipeline = name, tenant.tenant, pipeline
        self._tenant, self._connection = tenant, connection

    def __repr__(self) -> str:
        return f"<Importer {self.name} of {self.tenant_id}>"

    async def import_data(
        self,
        *,
        key: str | None = None,
        window: Window | None = None,
        full_refresh: bool = False,
        streams: Sequence[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ImportResult:
        """Run the pipeline in a thread and processes of its own. The same `key` again is a no-op, or goes on.

        `progress` hears of each step; without it there is a bar where standard error is a terminal. Raises
        ImporterError; its subclass says whether to mend, to retry or to give up.
        """
        work = partial(run_pipeline, window=window, full_refresh=full_refresh)
        return await self._done(work, streams, key, progress)

    async def replay_quarantine(
        self,
        *,
        key: str | None = None,
        streams: Sequence[str] | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ImportResult:
        """Load what of the pipeline's quarantine is right by this importer's rules and policy; what isn't stays there.

        As `importers quarantine replay`, which needs a tenant file. The result has no streams where there is nothing
        to replay, and one for each window of what was appended. Raises ImporterError.
        """
        return await self._done(replay_pipeline, streams, key, progress)

    async def _done(
        self,
        work: Callable[..., list[Result]],
        streams: Sequence[str] | None,
        key: str | None,
        progress: Callable[[Progress], None] | None,
    ) -> ImportResult:
        def done() -> list[Result]:
            with progress_bar(progress) as watch:
                results = work(self._tenant, self.pipeline, streams, key, watch, connection=self._connection)
            for note in (note for result in results for note in result.notes):
                _log.warning("%s", note)
            return results

        return ImportResult(tuple(await asyncio.to_thread(done)))

    async def check_health(self) -> Health:
        """Whether the source and the warehouse answer. Never raises: who can't even be asked is unhealthy."""
        try:
            return await asyncio.to_thread(self._check)
        except ImporterError as error:
            return Health(False, str(error), 0.0)
        except Exception as error:  # noqa: BLE001 - its text may hold a secret, its class doesn't
            return Health(False, type(error).__name__, 0.0)

    def _check(self) -> Health:
        connection = self._connection or RESOLVER.get()(self._tenant, self.pipeline)
        with closing(open_source(self._tenant, self.pipeline, connection)) as opened:
            source = opened.check()
        if not source.ok:
            return source
        warehouse = Installation.from_environment().health(self.tenant_id, self.pipeline)
        detail = f"source: {source.detail}; warehouse: {warehouse.detail}"
        return Health(warehouse.ok, detail, source.seconds + warehouse.seconds)


def get_importer(
    name: str, tenant_id: str, config: Mapping[str, Any] | None = None, *, pipeline: str | None = None
) -> Importer:
    """The importer `name` for a tenant: `get_importer('csv', tenant_id='acme', config={'path': 'plays.csv', …})`.

    `config` holds the importer's settings, and `expect`, `privacy`, `load`, `quarantine` as in a tenant file. What it
    doesn't say comes from the tenant's file in `IMPORTERS_TENANTS` (default include/tenants), else from
    `IMPORTERS_<NAME>_<SETTING>`. A source that needs one takes its connection from `config['connection']`, such as
    `{'login': …, 'password': …}`, else from its variables. Rows are loaded under the pipeline's name, by default the
    importer's. Raises ConfigError.
    """
    called = pipeline or name
    settings = dict(config or {})
    said = settings.pop("connection", None)
    tenant = tenant_of(name, tenant_id, called, settings)
    open_source(tenant, called)  # a wrong setting is said now
    return Importer(name, tenant, called, _connection(said))


def _connection(said: Any) -> Connection | None:
    if said is None:
        return None
    if not isinstance(said, Mapping):
        do = "write {'login': …, 'password': …}"
        raise ConfigError("config connection: isn't a mapping", got=type(said).__name__, do=do)
    return Connection(said)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one importer: a result, or the error that ended it."""

    importer: Importer
    result: ImportResult | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        return self.error is None


async def orchestrate_import_pipeline(
    importers: Sequence[Importer], parallel: bool = True, max_concurrency: int = 5
) -> list[Outcome]:
    """Run importers, `max_concurrency` at a time or one after another; an outcome each, in their order.

    One that fails loses nothing of the others.
    """
    places = asyncio.Semaphore(max_concurrency if parallel else 1)

    async def one(importer: Importer) -> Outcome:
        async with places:
            try:
                return Outcome(importer, result=await importer.import_data())
            except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
                return Outcome(importer, error=error)

    return list(await asyncio.gather(*(one(importer) for importer in importers)))


class ImporterHealthCheck:
    """Health of importers, side by side."""

    async def check_all_importers_health(self, importers: Sequence[Importer]) -> dict[str, Health]:
        """By `tenant.pipeline`; an importer that can't even be asked is unhealthy."""
        healths = await asyncio.gather(*(importer.check_health() for importer in importers))
        names = [f"{importer.tenant_id}.{importer.pipeline}" for importer in importers]
        return dict(zip(names, healths, strict=True))
