"""The staging area: numbered partitions of a run at rest, each attempt in a place of its own."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator

import pyarrow as pa

from importers.core.model import Staged
from importers.exceptions import ConfigError
from importers.keys.keyring import RunKey
from importers.staging import frames
from importers.staging import manifest as manifests
from importers.staging.manifest import Manifest, Part
from importers.staging.place import ATTEMPT, Place, RunPlace, split_attempt
from importers.staging.store import open_store
from importers.staging.trouble import changed
from importers.staging.writer import StagedWriter

_MANIFEST = re.compile(rf"({ATTEMPT})/{manifests.NAME}")
_SIDE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Staging:
    """Everything below one root, on this machine's disk or in a bucket."""

    def __init__(self, root: str, warehouse: str = "") -> None:
        """`root` and `warehouse` as `open_store` takes them. Raises ConfigError or StagingError."""
        self.store = open_store(root, warehouse)

    def __repr__(self) -> str:
        return f"<Staging {self.store.uri}>"

    @property
    def local(self) -> bool:
        """Whether only this machine sees what is staged."""
        return self.store.local

    def writer(self, place: Place, key: RunKey, *, lasting: bool = True) -> StagedWriter:
        """A new attempt at a partition: `with staging.writer(…) as w: w.write(batch); staged = w.finish()`."""
        return StagedWriter(self.store, place, secrets.token_hex(16), key, lasting=lasting)

    def attempts(self, place: Place, key: RunKey) -> list[Staged]:
        """The complete attempts at a partition, the oldest first."""
        with self.store.reaching(**place.where):
            entries = sorted(self.store.walk(place.path), key=lambda entry: (entry.modified, entry.path))
        finished = (_MANIFEST.fullmatch(entry.path.removeprefix(f"{place.path}/")) for entry in entries)
        return [self.attempt(place, match[1], key) for match in finished if match]

    def attempt(self, place: Place, attempt: str, key: RunKey) -> Staged:
        """One attempt. Raises StagingError if it isn't complete, PrivacyError if the key isn't its."""
        directory = place.attempt(attempt)
        path = f"{directory}/{manifests.NAME}"
        with self.store.reaching(**place.where):
            sealed = self.store.get(path)
            manifest = Manifest.decode(key.open(sealed, path.encode()))
        return manifest.staged(place.number, attempt, self.store.uri_of(directory), sealed)

    def read(self, staged: Staged, key: RunKey) -> Iterator[pa.RecordBatch]:
        """The rows in the order in which they were written. A batch has the types it was written with.

        Raises StagingError for what is gone or can't be reached, ContractError for what was changed, PrivacyError
        for another key.
        """
        place, manifest = self._manifest(staged, key)
        for part in manifest.parts:
            yield from self._read_part(place, staged, part, key)

    def rejects(self, staged: Staged, key: RunKey) -> Iterator[pa.RecordBatch]:
        """What could not become a row, as `writer.REJECTS` has it."""
        place, manifest = self._manifest(staged, key)
        if manifest.rejects:
            yield from self._read_part(place, staged, manifest.rejects, key)

    def put(self, staged: Staged, name: str, data: bytes, key: RunKey) -> None:
        """Keep a small thing beside an attempt (a verdict, a bucket of key hashes); replaces what has the name."""
        place, path = self._side(staged, name)
        with self.store.reaching(**place.where):
            self.store.put(path, key.seal(data, path.encode()))

    def get(self, staged: Staged, name: str, key: RunKey) -> bytes:
        """What `put` kept. Raises StagingError if there is none, PrivacyError for another key or changed bytes."""
        place, path = self._side(staged, name)
        with self.store.reaching(**place.where):
            return key.open(self.store.get(path), path.encode())

    def has(self, staged: Staged, name: str) -> bool:
        """Whether `put` kept something under a name."""
        place, path = self._side(staged, name)
        with self.store.reaching(**place.where):
            return self.store.exists(path)

    def delete_run(self, run: RunPlace) -> int:
        """Delete everything that a run staged; returns how many files went."""
        deleted = 0
        with self.store.reaching(**run.where):
            for entry in list(self.store.walk(run.path)):
                self.store.remove(entry.path)
                deleted += 1
            self.store.prune(run.path)
        return deleted

    def _manifest(self, staged: Staged, key: RunKey) -> tuple[Place, Manifest]:
        place, attempt = split_attempt(self.store.path_of(staged.uri))
        path = f"{place.attempt(attempt)}/{manifests.NAME}"
        with self.store.reaching(**place.where):
            sealed = self.store.get(path)
            if hashlib.sha256(sealed).hexdigest() != staged.digest:
                raise changed(path)
            return place, Manifest.decode(key.open(sealed, path.encode()))

    def _read_part(self, place: Place, staged: Staged, part: Part, key: RunKey) -> Iterator[pa.RecordBatch]:
        path = f"{self.store.path_of(staged.uri)}/{part.name}"
        rows = 0
        with self.store.reading(path, **place.where), self.store.open_input(path) as source:
            if source.size() != part.bytes or frames.head(source) != part.head:
                raise changed(path)
            for batch in frames.read(source, key, path, prefetch=not self.local):
                rows += batch.num_rows
                yield batch
            if rows != part.rows:
                raise changed(path)

    def _side(self, staged: Staged, name: str) -> tuple[Place, str]:
        path = self.store.path_of(staged.uri)
        if not _SIDE_NAME.fullmatch(name):
            raise ConfigError("a side file can't be called that", got=repr(name), do=f"match {_SIDE_NAME.pattern}")
        return split_attempt(path)[0], f"{path}/{name}.sealed"
