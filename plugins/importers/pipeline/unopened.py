"""A run that fails before it is opened is in the ledger, too: people look there, and would see the last good one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from importers.core.destination import Destination
from importers.core.model import Reads, RunKind, Stream, Window
from importers.core.settings import effective
from importers.core.tenant import Tenant
from importers.exceptions import ImporterError, RunAbortedError, RunBusyError
from importers.pipeline.installation import Installation


@dataclass(frozen=True)
class Attempt:
    """At the run that `key` names: of the `streams`, or of all that the pipeline has if none are named."""

    installation: Installation
    tenant: Tenant
    pipeline: str
    streams: Sequence[str]
    key: str
    kind: RunKind = RunKind.INCREMENTAL
    window: Window = field(default_factory=Window)

    @contextmanager
    def listed(self) -> Iterator[None]:
        """What fails in here is noted. Raises what it raised."""
        began = datetime.now(UTC)
        try:
            yield
        except ImporterError as error:
            self.note(error, began)
            raise

    def note(self, error: ImporterError, began: datetime) -> None:
        """List the run as one that failed, by the error's class. What fails here isn't what the reader needs.

        It is one of each stream that has been loaded before, else of the pipeline as a whole: what its source has may
        not have been told. Another run in the way is no failure, and listed itself.
        """
        if isinstance(error, (RunBusyError, RunAbortedError)):
            return
        with suppress(ImporterError):
            keys = self.installation.keyring().tenant(self.tenant.tenant)
            with closing(self.installation.open_destination(self.pipeline, keys)) as destination:
                for stream in self._streams(destination, error):
                    destination.unopened(stream, self.key, self.kind, self.window, type(error).__name__, began)

    def _streams(self, destination: Destination, error: ImporterError) -> Iterator[Stream]:
        known = {stream.name: stream for stream in destination.remembered()}
        sure = error.where.get("stream")
        names = [sure] if sure else [name for name in self.streams or known if name in known]
        for name in names or [""]:
            load = effective(self.tenant, self.pipeline, name).load
            stream = known.get(name, Stream(name, (), Reads.POSITION))
            yield replace(stream, load_mode=load.mode or stream.load_mode, table=load.table or stream.table)
