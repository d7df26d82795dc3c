"""One attempt at staging one partition."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import pyarrow as pa

from importers.core.coded import decoded_schema
from importers.core.model import Position, Reject, Staged
from importers.exceptions import ContractError, StagingError
from importers.keys.keyring import RunKey
from importers.staging import manifest as manifests
from importers.staging.frames import FramesWriter, digest
from importers.staging.manifest import Manifest, Part, widest
from importers.staging.place import Place
from importers.staging.store import Store

REJECTS = pa.schema([("_raw", pa.binary()), ("_location", pa.string()), ("_reason", pa.string())])
_REJECTS_FILE = "rejects.frames"


class StagedWriter:
    """Writes rows and rejects; `finish` makes them count. Left without it, it takes back what it wrote.

    Rows of one schema, `decoded`, share a file; another schema rolls to a new one. What is read back has the order of
    what was written. Every method raises StagingError when the place is full or out of reach.
    """

    def __init__(self, store: Store, place: Place, attempt: str, key: RunKey, *, lasting: bool = True) -> None:
        """What is `lasting` survives a power cut once it is finished; else it needn't wait for the disk."""
        self.place, self.attempt = place, attempt
        self._store, self._key, self._lasting = store, key, lasting
        self._directory = place.attempt(attempt)
        self._open: dict[str, FramesWriter] = {}
        self._parts: list[Part] = []
        self._rejects: Part | None = None
        self._current = ""
        self._announced: pa.Schema = pa.schema([])
        self._finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            self._take_back()

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows. A batch without rows says the schema of a partition that turns out empty."""
        schema = decoded_schema(batch.schema.remove_metadata())
        if batch.num_rows == 0:
            self._announced = schema
            return
        if not schema.names or len(set(schema.names)) < len(schema.names):
            raise ContractError(
                "rows need columns of different names", got=", ".join(schema.names) or "none", **self.place.where
            )
        with self._store.reaching(**self.place.where):
            if self._current and not self._open[self._current].schema.equals(schema):
                self._parts.append(self._close(self._current))
                self._current = ""
            if not self._current:
                self._current = self._create(f"part-{len(self._parts):05}.frames", schema)
            self._open[self._current].write(batch)

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Keep what could not become a row, encrypted like the rows."""
        if not rejects:
            return
        columns = [[r.raw for r in rejects], [r.location for r in rejects], [r.reason for r in rejects]]
        batch = pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, REJECTS, strict=True)], schema=REJECTS)
        with self._store.reaching(**self.place.where):
            if _REJECTS_FILE not in self._open:
                self._create(_REJECTS_FILE, REJECTS)
            self._open[_REJECTS_FILE].write(batch)

    def finish(self, position: Position | None = None) -> Staged:
        """Close the files, then write the manifest: from here on the attempt exists."""
        with self._store.reaching(**self.place.where):
            if self._current:
                self._parts.append(self._close(self._current))
            if _REJECTS_FILE in self._open:
                self._rejects = self._close(_REJECTS_FILE)
            manifest = Manifest(self._schema(), tuple(self._parts), self._rejects, position or {})
            self._check_all_there(manifest)
            path = f"{self._directory}/{manifests.NAME}"
            sealed = self._key.seal(manifest.encode(), path.encode())
            self._store.put(path, sealed)
        self._finished = True
        return manifest.staged(self.place.number, self.attempt, self._store.uri_of(self._directory), sealed)

    def _schema(self) -> pa.Schema:
        return widest(part.schema for part in self._parts) if self._parts else self._announced

    def _create(self, name: str, schema: pa.Schema) -> str:
        path = f"{self._directory}/{name}"
        sink = self._store.open_output(path)
        self._open[name] = FramesWriter(sink, schema, self._key, path, compress=not self._store.local)
        return name

    def _close(self, name: str) -> Part:
        writer = self._open[name]
        writer.close()
        del self._open[name]
        if self._lasting:
            self._store.settle(f"{self._directory}/{name}")
        return Part(name, writer.rows, writer.bytes, digest(writer.head), writer.schema)

    def _check_all_there(self, manifest: Manifest) -> None:
        """A sweeper that took this attempt for abandoned must not leave a manifest that speaks of nothing."""
        there = {entry.path: entry.bytes for entry in self._store.walk(self._directory)}
        if any(there.get(f"{self._directory}/{part.name}") != part.bytes for part in manifest.files):
            raise StagingError(
                "files of this attempt were deleted while it was written", do="run extract again", **self.place.where
            )

    def _take_back(self) -> None:
        """Best effort: what stays has no manifest, can't be read, and is the sweeper's."""
        for writer in self._open.values():
            writer.abandon()
        self._open.clear()
        with suppress(OSError):
            for entry in list(self._store.walk(self._directory)):
                self._store.remove(entry.path)
            self._store.prune(self._directory)
