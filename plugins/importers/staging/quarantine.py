"""Bad rows and what could not become one: encrypted under the tenant's quarantine key, which outlives the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types as t

from importers.core.model import SUBJECT, VERSION
from importers.core.names import shown_type
from importers.exceptions import ContractError
from importers.keys.keyring import RunKey
from importers.staging import encrypted
from importers.staging.manifest import widest
from importers.staging.place import Place, is_quarantined, split_quarantined
from importers.staging.store import Store, open_store, temporary_beside

RULES, LOCATION, REASON, RAW, ROW = "_rules", "_location", "_reason", "_raw", "_row"
ABOUT = pa.schema(
    [
        (RULES, pa.list_(pa.string())),
        (LOCATION, pa.string()),
        (REASON, pa.string()),
        (RAW, pa.binary()),
        (ROW, pa.int64()),
        (SUBJECT, pa.binary(16)),
        (VERSION, pa.int64()),
    ]
)
"""What we say of a row, before the stream's own columns.

`_location` is where it stood in the source, if the source has such places; a replay keeps it. `_row` counts from 0 in
the partition's staged rows; it and the stream's columns are null for a reject, `_raw` for a row. `_subject` is the
data subject's token, null where it isn't known; `_version` says how new the row is, so that a
replay overwrites nothing newer.
"""

Whose: TypeAlias = Callable[[pa.Array], pa.BooleanArray]
"""Which of the tokens in `_subject` are those of the persons in question; false for a null."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A finished quarantine file."""

    uri: str
    rows: int


@dataclass(frozen=True, slots=True)
class Left:
    """What a quarantine file has once subjects' rows are out: `rows` with its rejects, by rule or reason.

    Of so many `rejects` nobody knows whose they are, nor of the rows that are `nobody_s`: the column of the subject was
    empty.
    """

    erased: int
    rows: int
    rejects: int
    nobody_s: int
    reasons: Mapping[str, int]


class Quarantine:
    """Everything below one root: `{tenant}/{pipeline}/{stream}/{run}/{partition}-{attempt}.parquet`.

    What the gate found is in files of its own, `{partition}-gate-{attempt}.parquet`.
    """

    def __init__(self, root: str, warehouse: str = "") -> None:
        """`root` and `warehouse` as `open_store` takes them. Raises ConfigError or StagingError."""
        self.store = open_store(root, warehouse)

    def writer(self, place: Place, attempt: str, schema: pa.Schema, key: RunKey) -> QuarantineWriter:
        """For what is bad in one staged attempt, `schema` being what its rows are expected to have."""
        return QuarantineWriter(self.store, place, attempt, schema, key)

    def batches(self, uri: str, key: RunKey) -> Iterator[pa.RecordBatch]:
        """A file's rows. Raises StagingError, ContractError or PrivacyError as `Staging.read` does."""
        path = self.store.path_of(uri)
        place, _ = split_quarantined(path)
        with self.store.reading(path, **place.where), self.store.open_input(path) as source:
            yield from encrypted.read(source, key, path, prefetch=not self.store.local)

    def read(self, uri: str, key: RunKey) -> pa.Table:
        """All of a file; raises as `batches` does."""
        path = self.store.path_of(uri)
        place, _ = split_quarantined(path)
        with self.store.reading(path, **place.where), self.store.open_input(path) as source:
            return encrypted.read_table(source, key, path)

    def columns(self, uri: str, key: RunKey) -> pa.Schema:
        """What a file has of its stream's columns; raises as `batches` does."""
        path = self.store.path_of(uri)
        place, _ = split_quarantined(path)
        with self.store.reading(path, **place.where), self.store.open_input(path) as source:
            return pa.schema([f for f in encrypted.read_schema(source, key, path) if f.name not in ABOUT.names])

    def erase_subjects(self, uri: str, gone: Whose, key: RunKey, *, rewrite: bool = True) -> Left:
        """Rewrite a file without the subjects' rows, or only count them.

        The file is replaced atomically and stays, even empty. Two erasures of one file must not overlap: the caller
        holds the tenant's erasure lock. What has no subject only its retention ends.
        """
        path = self.store.path_of(uri)
        place, _ = split_quarantined(path)
        erased = rows = rejects = nobody_s = 0
        reasons = Counter[str]()
        with self.store.reading(path, **place.where), _Replacement(self.store, path, key) as file:
            for batch in self.batches(uri, key):
                kept = batch.filter(pc.invert(gone(batch[SUBJECT])))
                unsaid = kept.filter(pc.is_null(kept[SUBJECT]))[ROW]
                erased, rows = erased + batch.num_rows - kept.num_rows, rows + kept.num_rows
                rejects, nobody_s = rejects + unsaid.null_count, nobody_s + len(unsaid) - unsaid.null_count
                reasons += Counter(kept[RULES].flatten().to_pylist())
                reasons += Counter(kept[REASON].drop_null().to_pylist())
                if rewrite:
                    file.write(kept)
            if rewrite and erased:
                file.publish()
        return Left(erased, rows, rejects, nobody_s, dict(reasons))

    def files(self, tenant: str) -> tuple[list[str], list[str]]:
        """The URIs of all files that a tenant has in here, registered or not, and of what isn't whole.

        Raises StagingError.
        """
        with self.store.reaching(tenant=tenant):
            paths = [entry.path for entry in self.store.walk(tenant)]
        whole = [self.store.uri_of(path) for path in paths if is_quarantined(path)]
        return whole, [self.store.uri_of(path) for path in paths if not is_quarantined(path)]

    def is_here(self, uri: str) -> bool:
        """Whether it is the URI of a file in this place, be it there or not."""
        return uri.startswith(f"{self.store.uri}/")

    def has(self, uri: str) -> bool:
        """Whether the file is there. Raises StagingError."""
        with self.store.reaching():
            return self.store.exists(self.store.path_of(uri))

    def there(self, uris: Collection[str]) -> frozenset[str]:
        """Which files of several are there, by a listing for each stream: asking one by one, a bucket takes as many
        round trips. Raises as `has` does, and ConfigError for a URI of another place.
        """
        paths = {self.store.path_of(uri): uri for uri in uris}
        streams = {split_quarantined(path)[0].run.above for path in paths}
        with self.store.reaching():
            listed = {entry.path for stream in streams for entry in self.store.walk(stream)}
        return frozenset(uri for path, uri in paths.items() if path in listed)

    def delete(self, uri: str) -> None:
        """Delete a file; one that is gone already is fine."""
        path = self.store.path_of(uri)
        place, _ = split_quarantined(path)
        with self.store.reaching(**place.where):
            self.store.remove(path)
            self.store.prune(place.run.path)


class QuarantineWriter:
    """Collects what is bad in one staged attempt. Makes no file when nothing is; left without `finish`, none either.

    A column has the type that its first rows have, whatever is expected: what the expected type can't hold may be why
    they are bad. Rows of other types widen the whole file. Every method raises StagingError when the place is full or
    out of reach, and ContractError for a stream's column that has a name of ours.
    """

    def __init__(self, store: Store, place: Place, attempt: str, schema: pa.Schema, key: RunKey) -> None:
        self._store, self._place, self._key = store, place, key
        self._path = place.quarantined(attempt)
        self._schema = pa.schema([*ABOUT, *self._own(schema)])
        self._file = _Replacement(store, self._path, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def rows(
        self,
        batch: pa.RecordBatch,
        *,
        rules: pa.ListArray,
        rows: pa.Int64Array,
        places: pa.StringArray | None = None,
        subjects: pa.FixedSizeBinaryArray | None = None,
        versions: pa.Int64Array | None = None,
    ) -> None:
        """Bad rows, each with the rules that it broke, its number in the partition, where it stood in the source, its
        subject's token, its age.
        """
        known = {LOCATION: places, SUBJECT: subjects, VERSION: versions}
        about = {RULES: rules, ROW: rows} | {name: value for name, value in known.items() if value is not None}
        with self._store.reaching(**self._place.where):
            self._widen(self._own(batch.schema))
        self._write(batch.num_rows, about | dict(zip(batch.schema.names, batch.columns, strict=True)))

    def rejects(self, batch: pa.RecordBatch, subjects: pa.FixedSizeBinaryArray | None = None) -> None:
        """What could not become a row, as `Staging.rejects` gives it, and the subjects' tokens."""
        known = {} if subjects is None else {SUBJECT: subjects}
        self._write(batch.num_rows, {name: batch[name] for name in (LOCATION, REASON, RAW)} | known)

    def finish(self) -> Quarantined | None:
        """Give the file its name, replacing what an earlier validation of the same attempt wrote."""
        if not self._file.rows:
            return None
        with self._store.reaching(**self._place.where):
            self._file.publish()
        return Quarantined(self._store.uri_of(self._path), self._file.rows)

    def _own(self, schema: pa.Schema) -> pa.Schema:
        taken = sorted(set(schema.names) & set(ABOUT.names))
        if taken:
            raise ContractError(
                "columns have names that quarantine needs",
                got=", ".join(taken),
                do="rename them in the source, or drop them",
                **self._place.where,
            )
        return schema.remove_metadata()

    def _widen(self, came: pa.Schema) -> None:
        """Start again with a wider schema, and the rows so far."""
        schema = _both(self._schema, came) if self._file.rows else _instead(self._schema, came)
        if schema.equals(self._schema):
            return
        self._schema = schema
        with self._file as narrow:
            self._file = _Replacement(self._store, self._path, self._key)
            for batch in narrow.batches():
                self._write(batch.num_rows, dict(zip(batch.schema.names, batch.columns, strict=True)))

    def _write(self, length: int, columns: dict[str, pa.Array]) -> None:
        if not length:
            return
        with self._store.reaching(**self._place.where):
            arrays = [_as(columns.get(field.name), field, length) for field in self._schema]
            self._file.write(pa.record_batch(arrays, schema=self._schema))


class _Replacement:
    """A file written beside the one that it replaces; made at the first write, gone unless published."""

    def __init__(self, store: Store, path: str, key: RunKey) -> None:
        self.rows = 0
        self._store, self._path, self._key = store, path, key
        self._temporary = temporary_beside(path)
        self._writer: encrypted.EncryptedWriter | None = None
        self._made = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.abandon()
        if self._made:
            with suppress(OSError):
                self._store.remove(self._temporary)

    def write(self, batch: pa.RecordBatch) -> None:
        if self._writer is None:
            sink = self._store.open_output(self._temporary)
            self._made = True
            compress = not self._store.local
            self._writer = encrypted.EncryptedWriter(sink, batch.schema, self._key, self._path, compress=compress)
        self._writer.write(batch)
        self.rows += batch.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """What was written; nothing can be written after."""
        if self._close():
            with self._store.open_input(self._temporary) as source:
                yield from encrypted.read(source, self._key, self._path, prefetch=not self._store.local)

    def publish(self) -> None:
        if self._close():
            self._store.publish(self._temporary, self._path)
            self._made = False

    def _close(self) -> bool:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return self._made


def _instead(expected: pa.Schema, came: pa.Schema) -> pa.Schema:
    """The expected columns and all that came, as it came."""
    fields = {field.name: field for field in expected}
    return pa.schema(list((fields | {field.name: field for field in came}).values()))


def _both(schema: pa.Schema, came: pa.Schema) -> pa.Schema:
    """What holds the values of both: their text, where the wider type would round some. Raises ContractError."""
    wide = widest([schema, came])
    for place, field in enumerate(wide):
        kinds = [each.field(field.name).type for each in (schema, came) if field.name in each.names]
        if any(_rounds(kind, field.type) for kind in kinds):
            wide = wide.set(place, field.with_type(pa.string()))
    return wide


def _rounds(kind: pa.DataType, wide: pa.DataType) -> bool:
    """Whether not every value of the type is one of the wider."""
    if t.is_timestamp(kind) and t.is_timestamp(wide):
        return bool(wide.unit == "ns" and kind.unit != "ns")  # those end in 2262
    long = t.is_int64(kind) or t.is_uint64(kind) or t.is_decimal(kind)
    return bool(long and t.is_floating(wide))


def _as(column: pa.Array | None, field: pa.Field, length: int) -> pa.Array:
    """A column as the file has it. Its own error isn't kept: Arrow's says the value that doesn't fit."""
    if column is None:
        return pa.nulls(length, field.type)
    try:
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise ContractError(
            f"column '{field.name}' holds what its quarantine can't",
            got=f"{shown_type(column.type)}, not {shown_type(field.type)}",
        ) from None
